"""What each layer loses by quantization, and what keeping it in float would give back. Legend: N images, K outputs.

The reference is the float twin: the same weights without quantizers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from safeml.int8.layers import ActivationQuantizer, QuantizedKernel
from safeml.quantization.calibration import batches
from safeml.quantization.graph import Value, read, to_model
from safeml.quantization.rewrite import set_bias_floors, with_quantizers

# The name of a layer, the number of its call, and the number of the output.
Tensor = tuple[str, int, int]


@dataclass(frozen=True)
class LayerError:
    """The quantization error of a layer in the quantized network, its own and that of the layers before.

    layer: its name.
    sqnr_db: power of the float output over the power of the error, in decibels; None where the error is zero.
    """

    layer: str
    sqnr_db: float | None


@dataclass(frozen=True)
class FloatGain:
    """What one layer in float gives back.

    layer: its name.
    logit_error: root mean square of the difference of the outputs from those of the float twin.
    decisions_changed: share of the images with another largest output than that of the float twin.
    """

    layer: str
    logit_error: float
    decisions_changed: float


@dataclass(frozen=True)
class Sensitivity:
    """The quantization error by layer.

    images: number measured on.
    logit_error, decisions_changed: of the quantized model; see `FloatGain`.
    layers: in the order of the network.
    kept_float: the layers of the smallest signal-to-noise ratio, each alone in float.
    """

    images: int
    logit_error: float
    decisions_changed: float
    layers: tuple[LayerError, ...]
    kept_float: tuple[FloatGain, ...]

    def plain(self) -> dict[str, Any]:
        """Return the values for JSON."""
        return asdict(self)


def float_twin(quantized: keras.Model, prepared: keras.Model) -> keras.Model:
    """Return a copy of `prepared`, the float model that was quantized, with the weights of `quantized`."""
    graph = read(prepared, prepared.name)
    parts = {
        # A quantized layer has its own weights behind those of the float layer.
        part: replace(part, weights=tuple(quantized.get_layer(part.name).get_weights()[: len(part.weights)]))
        for part in dict.fromkeys(step.part for step in graph.steps)
        if part.weights
    }
    return to_model(graph.replaced(parts))


def layer_errors(
    quantized: keras.Model,
    twin: keras.Model,
    images: np.ndarray,
    worst: int = 5,
    keep_float: tuple[str, ...] = (),
) -> Sensitivity:
    """Compare `quantized` with its float twin on images, layer by layer.

    images: float32 [N, ...], the values that the model takes.
    worst: number of layers that are kept in float, one at a time.
    keep_float: the layers that `quantized` keeps in float.
    """
    names = [str(layer.name) for layer in _kernels(quantized)]
    float_run, run = _outputs_of(twin, names), _outputs_of(quantized, names)
    compare = tf.function(
        lambda values, count: _powers(float_run(values), run(values), count), autograph=False
    )
    signal, noise = dict.fromkeys(names, 0.0), dict.fromkeys(names, 0.0)
    for values, count in batches(images):
        for name, (power, error) in compare(values, count).items():
            signal[name] += float(power)
            noise[name] += float(error)
    layers = tuple(LayerError(name, _decibels(signal[name], noise[name])) for name in names)
    ranked = sorted(
        (layer for layer in layers if layer.sqnr_db is not None), key=lambda row: row.sqnr_db or 0.0
    )
    expected = _outputs(twin, images)
    scales = {tensor: quantizer.scale for quantizer, tensors in _quantized(quantized) for tensor in tensors}
    gains = []
    for row in ranked[:worst]:
        mixed = with_quantizers(twin, keep_float=(*keep_float, row.layer))
        for quantizer, tensors in _quantized(mixed):
            quantizer.scale.assign(scales[tensors[0]])
        set_bias_floors(mixed)
        gains.append(FloatGain(row.layer, *_difference(_outputs(mixed, images), expected)))
    error, changed = _difference(_outputs(quantized, images), expected)
    return Sensitivity(len(images), error, changed, layers, tuple(gains))


def _quantized(model: keras.Model) -> list[tuple[ActivationQuantizer, list[Tensor]]]:
    """Return each quantizer with the tensors that it rounds.

    The name of a quantizer is no key: without one layer, tensors of a concatenation may lose their common scale.
    """
    graph = read(model, model.name)
    tensors: dict[Value, Tensor] = {graph.image: ("", 0, 0)}
    calls: Counter[str] = Counter()
    rounded: dict[ActivationQuantizer, list[Tensor]] = {}
    for step in graph.steps:
        name = step.part.name
        tensors.update({value: (name, calls[name], place) for place, value in enumerate(step.outputs)})
        calls[name] += 1
        if isinstance(step.part.source, ActivationQuantizer):
            rounded.setdefault(step.part.source, []).append(tensors[step.inputs[0]])
    return list(rounded.items())


def _kernels(model: Any) -> list[Any]:
    return [layer for layer in model.layers if isinstance(layer, QuantizedKernel)]


def _outputs_of(model: keras.Model, names: list[str]) -> Callable[[Any], dict[str, Any]]:
    """Return a function values -> the output of each layer in `names`."""

    def run(values: Any) -> dict[str, Any]:
        outputs: dict[str, Any] = {}

        def operation(layer: Any) -> Any:
            if layer.name not in names:
                return layer

            def call(*args: Any, **options: Any) -> Any:
                outputs[layer.name] = layer(*args, **options)
                return outputs[layer.name]

            return call

        model._run_through_graph([values], operation_fn=operation)
        return outputs

    return run


def _powers(expected: dict[str, Any], given: dict[str, Any], count: Any) -> dict[str, tuple[Any, Any]]:
    """Return the sums of the squares of the float outputs and of the errors of the first `count` images."""
    return {
        name: (
            tf.reduce_sum(tf.square(tensor[:count])),
            tf.reduce_sum(tf.square(tensor[:count] - given[name][:count])),
        )
        for name, tensor in expected.items()
    }


def _decibels(signal: float, noise: float) -> float | None:
    if noise == 0:
        return None
    return round(10 * float(np.log10(max(signal, np.finfo(np.float64).tiny) / noise)), 2)


def _outputs(model: keras.Model, images: np.ndarray) -> np.ndarray:
    # Eager: a few batches take less time than to trace one model after another.
    return np.concatenate(
        [model(values, training=False).numpy()[: int(count)] for values, count in batches(images)]
    )


def _difference(given: np.ndarray, expected: np.ndarray) -> tuple[float, float]:
    """Return the root mean square of the difference, and the share of rows with another largest output."""
    return (
        float(np.sqrt(np.mean(np.square(given - expected)))),
        float(np.mean(given.argmax(axis=1) != expected.argmax(axis=1))),
    )
