"""The kernels of a model as matrices whose smallest weights can be pruned, and the two patterns of pruning.

References:
    M. Zhu, S. Gupta, "To prune, or not to prune: exploring the efficacy of pruning for model compression", 2017 (schedule).
    A. Mishra et al., "Accelerating sparse deep neural networks", 2021 (2:4).

Legend: P positions of a kernel (height times width), I input channels, O output channels.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from safeml.config.quantization import PruneSettings
from safeml.errors import ConfigError
from safeml.int8.einsum import as_product

LAYERS = keras.layers
GROUP, KEPT = 4, 2
ONE_INPUT = "each output channel reads one input channel"
DEPTHWISE = (LAYERS.DepthwiseConv1D, LAYERS.DepthwiseConv2D)
CONVOLUTIONS = (LAYERS.Conv1D, LAYERS.Conv2D, LAYERS.Conv3D)
TRANSPOSED = (LAYERS.Conv1DTranspose, LAYERS.Conv2DTranspose, LAYERS.Conv3DTranspose)
SEPARABLE = (LAYERS.SeparableConv1D, LAYERS.SeparableConv2D)


@dataclass(frozen=True, eq=False)
class Slot:
    """A kernel of a layer.

    name: of the layer. kind: its class. kernel: the variable.
    inputs: number of leading axes of a kernel of products that are summed; 0 for a convolution.
    outputs_first: the last two axes of a convolution are outputs and inputs.
    """

    name: str
    kind: str
    kernel: Any
    inputs: int = 0
    outputs_first: bool = False

    def matrix(self, values: np.ndarray) -> np.ndarray:
        """Return an array of the kernel's shape as [P, I, O]; the opposite of `shaped`."""
        if self.inputs:
            return values.reshape(1, math.prod(values.shape[: self.inputs]), -1)
        values = values.reshape(-1, *values.shape[-2:])
        return values.swapaxes(1, 2) if self.outputs_first else values

    def shaped(self, matrix: np.ndarray) -> np.ndarray:
        """Return an array [P, I, O] in the shape of the kernel."""
        return (matrix.swapaxes(1, 2) if self.outputs_first else matrix).reshape(self.kernel.shape)

    def values(self) -> np.ndarray:
        """Return the weights, float32 [P, I, O]."""
        return self.matrix(self.kernel.numpy())


@dataclass(frozen=True)
class Choice:
    """Whether a kernel is pruned. reason: why it is not; "" if it is."""

    slot: Slot
    reason: str = ""


def slots(model: keras.Model) -> list[Slot]:
    """Return the kernels of a model from its input on, each once; those of depthwise layers are not among them."""
    by_kernel = {id(slot.kernel): slot for name, layer in _leaves(model) for slot in _slots_of(name, layer)}
    return list(by_kernel.values())


def depthwise_layers(model: keras.Model) -> list[tuple[str, str]]:
    """Return the name and the kind of each layer in which an output channel reads one input channel."""
    return [
        (f"{name}_depthwise" if isinstance(layer, SEPARABLE) else name, type(layer).__name__)
        for name, layer in _leaves(model)
        if isinstance(layer, (*DEPTHWISE, *SEPARABLE))
    ]


def choices(model: keras.Model, settings: PruneSettings, where: str) -> list[Choice]:
    """Return each kernel of a model with the decision whether it is pruned.

    where: the name of the model in messages.
    Raises ConfigError if `keep_dense` names no layer, or no kernel can be pruned.
    """
    every = slots(model)
    names = {slot.name for slot in every}
    for name in settings.keep_dense:
        if name not in names:
            near = difflib.get_close_matches(name, names, 1)
            hint = f'did you mean "{near[0]}"?' if near else "expected the name of a layer with a kernel."
            raise ConfigError(f'prune.keep_dense: {where} has no layer "{name}" to prune; {hint}')
    chosen = [Choice(slot, _reason(slot, place, len(every), settings)) for place, slot in enumerate(every)]
    if all(choice.reason for choice in chosen):
        listed = (
            "; ".join(f"{choice.slot.name}: {choice.reason}" for choice in chosen[:4]) or "it has no kernels"
        )
        raise ConfigError(
            f"{where}: no layer can be pruned ({listed}); remove the table [prune], or set ends = true."
        )
    return chosen


def _reason(slot: Slot, place: int, count: int, settings: PruneSettings) -> str:
    """Return why a kernel is not pruned, or ""."""
    inputs = slot.values().shape[1]
    if slot.name in settings.keep_dense:
        return "listed in keep_dense"
    if inputs == 1:
        return ONE_INPUT
    if settings.kind == "2:4":
        if slot.outputs_first:
            return "TensorRT documents sparse kernels for convolutions and matrix products, not for transposed convolutions"
        if inputs % GROUP:
            return f"its {inputs} input channels are no multiple of {GROUP}"
    if not settings.ends and place in (0, count - 1):
        return "the first layer reads the pixels" if place == 0 else "the last layer gives the logits"
    return ""


def zeros_by_magnitude(matrix: np.ndarray, share: float) -> np.ndarray:
    """Return which weights are pruned, bool [P, I, O]: the `share` (0..1) of the smallest magnitudes, the first of equal ones.

    Pruned weights are 0 and so stay among the smallest as the share rises.
    """
    pruned = np.zeros(matrix.size, bool)
    order = np.argsort(np.abs(matrix), axis=None, kind="stable")
    pruned[order[: round(share * matrix.size)]] = True
    return pruned.reshape(matrix.shape)


def zeros_2_of_4(matrix: np.ndarray, share: float) -> np.ndarray:
    """Return which weights are pruned, bool [P, I, O]: the two smallest of each four consecutive inputs.

    share: of the groups, 0..1, those first that lose the least magnitude. I is a multiple of 4.
    """
    P, inputs, outputs = matrix.shape
    groups = np.abs(matrix).reshape(P, inputs // GROUP, GROUP, outputs)
    order = np.argsort(groups, axis=2, kind="stable")
    smallest = order[:, :, : GROUP - KEPT]
    lost = np.take_along_axis(groups, smallest, 2).sum(axis=2)
    count = round(share * lost.size)
    due = np.zeros(lost.size, bool)
    due[np.argsort(lost, axis=None, kind="stable")[:count]] = True
    pruned = np.zeros(groups.shape, bool)
    np.put_along_axis(pruned, smallest, due.reshape(lost.shape)[:, :, None], 2)
    return pruned.reshape(matrix.shape)


def zeros(matrix: np.ndarray, settings: PruneSettings, progress: float) -> np.ndarray:
    """Return which weights are pruned, bool [P, I, O]. progress: share of the full sparsity, 0..1."""
    if settings.kind == "2:4":
        return zeros_2_of_4(matrix, progress)
    return zeros_by_magnitude(matrix, settings.sparsity * progress)


def violations(matrix: np.ndarray) -> int:
    """Count the groups of four consecutive inputs with more than two weights that are not 0, of an array [P, I, O].

    The last group is filled up with zeros where I is no multiple of 4.

    >>> violations(np.array([1, 0, 0, 2, 3, 4, 5, 0, 6]).reshape(1, 9, 1))
    1
    """
    P, inputs, outputs = matrix.shape
    filled = np.zeros((P, -(-inputs // GROUP) * GROUP, outputs), bool)
    filled[:, :inputs] = matrix != 0
    return int(np.sum(filled.reshape(P, -1, GROUP, outputs).sum(axis=2) > KEPT))


def progress(step: int, first: int, last: int) -> float:
    """Return the share of the full sparsity after `step` steps, 0..1: 0 until `first`, and 1 from `last` on, by Zhu and Gupta's cubic.

    >>> [round(progress(step, 0, 10), 3) for step in (0, 1, 5, 10, 11)]
    [0.0, 0.271, 0.875, 1.0, 1.0]
    """
    if step >= last:
        return 1.0
    return 1.0 - (1.0 - max(0, step - first) / (last - first)) ** 3


def _leaves(model: keras.Model) -> Iterator[tuple[str, Any]]:
    """Yield each layer from the input on with its name, those of nested models too, and in place of a layer those inside it."""
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from _leaves(layer)
            continue
        inner = [each for each in layer._flatten_layers(include_self=False) if each.weights]
        if inner:
            named = [(f"{layer.name}_{each.name}", each) for each in inner]
            yield from sorted(named, key=lambda pair: pair[0])
        else:
            yield layer.name, layer


def _slots_of(name: str, layer: Any) -> list[Slot]:
    """Return the kernels of one layer."""
    kind = type(layer).__name__
    if isinstance(layer, DEPTHWISE) or not layer.weights:
        return []
    if isinstance(layer, SEPARABLE):
        return [Slot(name, kind, layer.pointwise_kernel)]
    if isinstance(layer, TRANSPOSED):
        return [Slot(name, kind, layer.kernel, outputs_first=True)]
    if isinstance(layer, CONVOLUTIONS):
        return [Slot(name, kind, layer.kernel)]
    if isinstance(layer, LAYERS.Dense):
        return [Slot(name, kind, layer.kernel, inputs=1)]
    if isinstance(layer, LAYERS.EinsumDense):
        product = as_product(layer.equation, len(layer.equation.partition(",")[0]))
        return [Slot(name, kind, layer.kernel, inputs=product.contracted)] if product else []
    return []
