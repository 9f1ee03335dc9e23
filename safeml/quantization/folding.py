"""Batch normalizations folded into the layer before or after them, exactly; arithmetic in float64."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import keras
import numpy as np

from safeml.quantization.graph import Graph, Part, Step
from safeml.quantization.splitting import WEIGHTED

LAYERS = keras.layers
# The axis of the output channels in the kernel; of an EinsumDense, the last.
OUTPUT_AXES: dict[type, int] = {
    LAYERS.Conv2D: 3,
    LAYERS.DepthwiseConv2D: 2,
    LAYERS.Conv2DTranspose: 2,
    LAYERS.Dense: 1,
}


def fold(graph: Graph) -> Graph:
    """Return the graph with each batch normalization folded into the layer with a kernel before or after it.

    One remains where its neighbour is called twice, where another step reads the tensor between them, or where
    the neighbour pads with zeros. It keeps its statistics: `trainable` is off.
    """
    graph = _fold_backward(graph)
    graph = _fold_forward(graph)
    return graph.replaced({step.part: _trained(step.part) for step in graph.steps})


def _trained(part: Part) -> Part:
    """The part as one to train, whatever froze it in the source. A batch normalization that remains keeps its statistics."""
    if not issubclass(part.kind, LAYERS.Layer):
        return part
    return replace(part, config={**part.config, "trainable": part.kind is not LAYERS.BatchNormalization})


def _fold_backward(graph: Graph) -> Graph:
    """Fold into the layer before."""
    producers, readers, calls = graph.producers(), graph.readers(), graph.calls()
    parts: dict[Part, Part] = {}
    removed: dict[Step, Any] = {}
    for step in graph.steps:
        if not _is_norm(step, calls):
            continue
        value = step.inputs[0]
        before = producers.get(value)
        if before is None or before.part.kind not in WEIGHTED or value is graph.output:
            continue
        if calls[before.part] > 1 or len(readers[value]) > 1 or before.part in parts:
            continue
        folded = _scaled_outputs(before.part, *affine(step.part))
        if folded is not None:
            parts[before.part] = folded
            removed[step] = value
    return graph.without(removed).replaced(parts)


def _fold_forward(graph: Graph) -> Graph:
    """Fold into the layer after: a 1x1 convolution, one without padding, or a dense layer."""
    readers, calls = graph.readers(), graph.calls()
    parts: dict[Part, Part] = {}
    removed: dict[Step, Any] = {}
    for step in graph.steps:
        if not _is_norm(step, calls) or step.outputs[0] is graph.output or len(readers[step.outputs[0]]) != 1:
            continue
        after = readers[step.outputs[0]][0]
        if calls[after.part] > 1 or after.part in parts:
            continue
        folded = _scaled_inputs(after.part, *affine(step.part))
        if folded is not None:
            parts[after.part] = folded
            removed[step] = step.inputs[0]
    return graph.without(removed).replaced(parts)


def _is_norm(step: Step, calls: dict[Part, int]) -> bool:
    if step.part.kind is not LAYERS.BatchNormalization or calls[step.part] > 1:
        return False
    axis, rank = step.part.config["axis"], len(step.outputs[0].shape)
    axis = axis[0] if isinstance(axis, list | tuple) else axis
    return axis % rank == rank - 1


def affine(part: Part) -> tuple[np.ndarray, np.ndarray]:
    """Return factor and shift of a batch normalization at inference, float64 [C] each: factor x + shift."""
    config = part.config
    arrays = [np.asarray(array, np.float64) for array in part.weights]
    mean, variance = arrays[-2:]
    gamma = arrays.pop(0) if config["scale"] else np.ones_like(mean)
    beta = arrays.pop(0) if config["center"] else np.zeros_like(mean)
    factor = gamma / np.sqrt(variance + config["epsilon"])
    return factor, beta - mean * factor


def _with(part: Part, kernel: np.ndarray, bias: np.ndarray, **config: Any) -> Part:
    """The part with other weights, float32, and without constraints, which would undo the factor in training."""
    free = {key: None for key in part.config if key.endswith("_constraint")}
    weights = (kernel.astype(np.float32), bias.astype(np.float32))
    return replace(part, config={**part.config, **free, **config}, weights=weights)


def _scaled_outputs(part: Part, factor: np.ndarray, shift: np.ndarray) -> Part | None:
    kernel = np.asarray(part.weights[0], np.float64)
    bias = np.asarray(part.weights[1], np.float64) if len(part.weights) > 1 else np.zeros(1)
    if part.kind is LAYERS.EinsumDense:
        kernel_letters, _, output = part.config["equation"].partition(",")[2].partition("->")
        last, axes = output.strip()[-1], part.config["bias_axes"]
        if not kernel_letters.strip().endswith(last) or (axes is not None and last not in axes):
            return None
        return _with(part, kernel * factor, bias * factor + shift, bias_axes=axes or last)
    axis = OUTPUT_AXES[part.kind]
    shape = [-1 if other == axis else 1 for other in range(kernel.ndim)]
    return _with(part, kernel * factor.reshape(shape), bias * factor + shift, use_bias=True)


def _scaled_inputs(part: Part, factor: np.ndarray, shift: np.ndarray) -> Part | None:
    if part.kind is LAYERS.Conv2D:
        pads = part.config["padding"] != "valid" and tuple(part.config["kernel_size"]) != (1, 1)
        if pads or part.config["groups"] != 1:
            return None
        axes: tuple[int, ...] = (0, 1, 2)
    elif part.kind is LAYERS.Dense:
        axes = (0,)
    else:
        return None
    kernel = np.asarray(part.weights[0], np.float64)
    bias = np.asarray(part.weights[1], np.float64) if len(part.weights) > 1 else 0.0
    shape = (-1, 1)
    bias = bias + (kernel * shift.reshape(shape)).sum(axis=axes)
    return _with(part, kernel * factor.reshape(shape), bias, use_bias=True)
