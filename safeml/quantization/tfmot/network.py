"""A fake-quantized Keras 3 model written down as a plan, and built again with trained weights and ranges."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import keras
import numpy as np

from safeml.errors import InputRefused
from safeml.int8.codes import ACTIVATION_CODES
from safeml.int8.layers import ActivationQuantizer, QuantizedKernel
from safeml.quantization.graph import Part, Step, Value, read, to_model
from safeml.quantization.rewrite import QUANTIZED, quantizers, set_bias_floors
from safeml.quantization.tfmot.plan import RANGE, REMEDY, CallPlan, LayerPlan, NetworkPlan

# The layers whose kernel TFMOT quantizes, and their kind in Keras 2. TFMOT has no per-channel form of an EinsumDense.
KERNELS = {
    quantized: kind.__name__ for kind, quantized in QUANTIZED.items() if kind is not keras.layers.EinsumDense
}
# Operations of keras.ops that read tensors alone, and the layer of Keras 2 of the same outputs.
OPERATIONS = {"Add": "Add", "Multiply": "Multiply", "Concatenate": "Concatenate", "Relu": "ReLU"}
# Options of a call that the fit sets itself, and the place of a shared quantizer.
IGNORED = ("training", "site")


def plan_of(quantized: keras.Model, where: str) -> tuple[NetworkPlan, dict[str, np.ndarray]]:
    """Return the plan of a fake-quantized model, and its arrays: weights by `LayerPlan.array_names`, ranges by the layer's name.

    where: the name of the model in messages. A range is the largest magnitude, 127 times the scale.
    Raises InputRefused, with the layer and the remedy, where Keras 2 has no such layer.
    """
    graph = read(quantized, where)
    numbers: dict[Value, int] = {graph.image: 0}
    layers: dict[str, LayerPlan] = {}
    calls: list[CallPlan] = []
    arrays: dict[str, np.ndarray] = {}
    for step in graph.steps:
        part = step.part
        inputs, as_list = _inputs(step, where)
        if part.name not in layers:
            layer = layers[part.name] = _layer(part, where)
            arrays.update(zip(layer.array_names(), part.weights, strict=False))
        numbers[step.outputs[0]] = len(numbers)
        calls.append(
            CallPlan(part.name, [numbers[value] for value in inputs], numbers[step.outputs[0]], as_list)
        )
    arrays.update(ranges_of(quantized))
    shape = list(graph.image.shape[1:])
    return NetworkPlan(where, shape, list(layers.values()), calls, numbers[graph.output]), arrays


def ranges_of(quantized: keras.Model) -> dict[str, np.ndarray]:
    """Return the largest magnitude of each quantizer, float32 scalars by its name."""
    return {
        quantizer.name: np.float32(ACTIVATION_CODES[1]) * np.asarray(quantizer.scale, np.float32)
        for quantizer in quantizers(quantized)
    }


def with_trained(quantized: keras.Model, plan: NetworkPlan, arrays: Mapping[str, np.ndarray]) -> keras.Model:
    """Return a copy of `quantized` with the weights and ranges of `arrays`; its kernels' floors follow from them."""
    graph = read(quantized, quantized.name)
    plans = {layer.name: layer for layer in plan.layers}
    parts = {}
    for part in dict.fromkeys(step.part for step in graph.steps):
        trained = [arrays[key] for key in plans[part.name].array_names()]
        if trained:
            parts[part] = replace(part, weights=(*trained, *_floors(part)))
    model = to_model(graph.replaced(parts))
    for quantizer in quantizers(model):
        quantizer.set_scale(float(arrays[quantizer.name]) / ACTIVATION_CODES[1])
    set_bias_floors(model)
    return model


def _floors(part: Part) -> tuple[np.ndarray, ...]:
    return (np.zeros_like(part.weights[-1]),) if issubclass(part.kind, QuantizedKernel) else ()


def _layer(part: Part, where: str) -> LayerPlan:
    kind = part.kind
    config = _plain(part, where)
    if kind is ActivationQuantizer:
        return LayerPlan(part.name, RANGE, config, sites=part.config["sites"])
    if kind in KERNELS:
        axis = kind.kernel_axis % part.weights[0].ndim
        return LayerPlan(part.name, KERNELS[kind], config, len(part.weights) - 1, axis)
    if issubclass(kind, keras.layers.Layer) and kind.__module__.startswith("keras."):
        return LayerPlan(part.name, kind.__name__, config, len(part.weights))
    if not issubclass(kind, keras.layers.Layer) and kind.__name__ in OPERATIONS:
        return LayerPlan(part.name, OPERATIONS[kind.__name__], config)
    what = "layer" if issubclass(kind, keras.layers.Layer) else "operation"
    name = kind.__name__.removeprefix("Quantized")
    raise InputRefused(
        f'{where}: the {what} "{part.name}" ({name}) has no form in Keras 2 that TFMOT quantizes; {REMEDY}, or build '
        "it of layers of Keras."
    )


def _plain(part: Part, where: str) -> dict[str, Any]:
    try:
        config: dict[str, Any] = json.loads(json.dumps(part.config))
    except (TypeError, ValueError) as error:
        raise InputRefused(
            f'{where}: the layer "{part.name}" has a configuration that is not plain data, and cannot be sent to TFMOT; '
            f"{REMEDY}."
        ) from error
    return config


def _inputs(step: Step, where: str) -> tuple[list[Value], bool]:
    """Return the tensors that a step reads, and whether as one list. Raises InputRefused for any other argument."""
    args = list(step.args)
    is_layer = issubclass(step.part.kind, keras.layers.Layer)
    as_list = len(args) == 1 and isinstance(args[0], list | tuple)
    inputs = list(args[0]) if as_list else args
    options = [name for name, value in step.kwargs.items() if value is not None and name not in IGNORED]
    if (
        options
        or not all(isinstance(value, Value) for value in inputs)
        or len(step.outputs) != 1
        or (is_layer and not as_list and len(inputs) != 1)
    ):
        raise InputRefused(
            f'{where}: the call of "{step.part.name}" ({step.part.kind.__name__}) has arguments beside its tensors, which '
            f"have no form in Keras 2; {REMEDY}, or write it as a layer of Keras."
        )
    return inputs, len(inputs) > 1
