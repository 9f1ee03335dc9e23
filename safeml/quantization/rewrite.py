"""A float Keras model rewritten into a fake-quantized one: prepare it, insert quantizers, fix their scales.

A calibration sets the scales in between.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from typing import Any

import keras
import numpy as np

from safeml.errors import ConfigError, InputRefused
from safeml.int8.codes import WEIGHT_CODES
from safeml.int8.einsum import as_product
from safeml.int8.layers import (
    ActivationQuantizer,
    QuantizedConv2D,
    QuantizedConv2DTranspose,
    QuantizedDense,
    QuantizedDepthwiseConv2D,
    QuantizedEinsumDense,
    QuantizedKernel,
)
from safeml.quantization.folding import fold
from safeml.quantization.graph import Graph, Part, Step, Value, read, to_model
from safeml.quantization.placement import Rule, groups, placements, rule_of
from safeml.quantization.splitting import SUFFIXES, split

LAYERS = keras.layers
QUANTIZED: dict[type, type[QuantizedKernel]] = {
    LAYERS.Conv2D: QuantizedConv2D,
    LAYERS.DepthwiseConv2D: QuantizedDepthwiseConv2D,
    LAYERS.Conv2DTranspose: QuantizedConv2DTranspose,
    LAYERS.Dense: QuantizedDense,
    LAYERS.EinsumDense: QuantizedEinsumDense,
}
# Layers with weights that stay in float wherever they are: normalizations, tables and learned slopes.
IN_FLOAT = (
    LAYERS.BatchNormalization,
    LAYERS.LayerNormalization,
    LAYERS.GroupNormalization,
    LAYERS.RMSNormalization,
    LAYERS.UnitNormalization,
    LAYERS.Normalization,
    LAYERS.PReLU,
    LAYERS.Embedding,
)
# The largest difference of a rewritten model, as a share of its largest output.
TOLERANCE = 1e-3
# The largest bias in units of input scale times weight scale: half of int32, because the products are added to it.
LARGEST_BIAS = 2.0**30


def prepare(model: keras.Model, where: str) -> keras.Model:
    """Return the model as a flat Functional one, layers split and batch normalizations folded, of the same outputs.

    Every layer is new and trainable. where: the name of the model in messages.
    Raises InputRefused, with the layer and the remedy, where it cannot be rewritten.
    """
    prepared = to_model(fold(split(read(model, where))))
    difference = largest_difference(model, prepared)
    if not difference <= TOLERANCE:
        raise InputRefused(
            f"{where}: the model with its layers split and its batch normalizations folded differs by {difference:.2g} "
            f"of its largest output on random images; expected at most {TOLERANCE:g}: check it for layers whose "
            "output is random or not finite at inference."
        )
    return prepared


def largest_difference(model: keras.Model, other: keras.Model, images: int = 2) -> float:
    """Return the largest difference of two models on random images in 0..1, as a share of the largest output."""
    shape = [size or 64 for size in model.inputs[0].shape[1:]]
    pixels = np.random.default_rng(0).random((images, *shape), np.float32).astype(model.inputs[0].dtype)
    first, second = (
        np.asarray(keras.tree.flatten(each(pixels, training=False))[0]) for each in (model, other)
    )
    return float(np.abs(first - second).max() / max(np.abs(first).max(), 1e-30))


def with_quantizers(prepared: keras.Model, keep_float: Sequence[str] = ()) -> keras.Model:
    """Return the fake-quantized model; its scales are 1 until it is calibrated.

    keep_float: names of layers that stay in float, of the prepared model or of its source.
    Raises ConfigError where there is no such layer, and InputRefused where a layer has no INT8 form.
    """
    graph = read(prepared, prepared.name)
    names = _kept(graph, keep_float)
    _check_kinds(graph, names)
    reads = placements(graph, names)
    graph = _inserted(graph, reads)
    quantized = {
        step.part: _quantized_part(step.part)
        for step in graph.steps
        if rule_of(step) is Rule.KERNEL and step.part.name not in names
    }
    return to_model(graph.replaced(quantized))


def float_layers(model: keras.Model) -> dict[str, str]:
    """Return the layers with weights of a quantized model that compute in float, by name, each with its kind."""
    return {
        layer.name: type(layer).__name__
        for layer in model.layers
        if layer.weights and not isinstance(layer, QuantizedKernel | ActivationQuantizer)
    }


def quantizers(model: keras.Model) -> list[ActivationQuantizer]:
    """Return the quantizers of a model, each once, in the order in which they are called."""
    sources = dict.fromkeys(step.part.source for step in read(model, model.name).steps)
    return [source for source in sources if isinstance(source, ActivationQuantizer)]


def set_observing(model: keras.Model, on: bool) -> None:
    """Let training move the scales of a model, or freeze them on the grid of ONNX."""
    for quantizer in quantizers(model):
        quantizer.observing.assign(float(on))
        if not on:
            quantizer.set_scale(float(np.asarray(quantizer.scale)))


def set_bias_floors(model: keras.Model) -> None:
    """Raise the weight scale of each channel whose bias would leave int32, such as one with kernel 0.

    The scales of the model are calibrated before. A channel whose scale is raised loses precision in its kernel only.
    """
    graph = read(model, model.name)
    producers = graph.producers()
    floors: dict[Any, np.ndarray] = {}
    for step in graph.steps:
        layer = step.part.source
        before = producers.get(step.inputs[0]) if step.inputs else None
        if not isinstance(layer, QuantizedKernel) or before is None:
            continue
        scale = float(np.asarray(before.part.source.scale))
        floor = layer.bias_sizes().astype(np.float64) * WEIGHT_CODES[1] / (scale * LARGEST_BIAS)
        floors[layer] = np.maximum(floors.get(layer, 0.0), floor)
    for layer, floor in floors.items():
        layer.floor.assign(floor.astype(np.float32))


def _kept(graph: Graph, keep_float: Iterable[str]) -> set[str]:
    """The names of the parts that `keep_float` names, those split from one layer by its name."""
    known = {step.part.name for step in graph.steps}
    kept: set[str] = set()
    for name in keep_float:
        names = {name, *(f"{name}{suffix}" for suffix in SUFFIXES)} & known
        if not names:
            near = difflib.get_close_matches(name, known, 1)
            hint = f'; did you mean "{near[0]}"?' if near else "; expected the name of a layer of the model."
            raise ConfigError(f'keep_float: the model has no layer "{name}"{hint}')
        kept |= names
    return kept


def _check_kinds(graph: Graph, keep_float: Collection[str]) -> None:
    for step in graph.steps:
        part = step.part
        if part.name in keep_float or not part.weights or issubclass(part.kind, IN_FLOAT):
            continue
        reason = "has no INT8 form"
        if part.kind in QUANTIZED:
            if part.kind is not LAYERS.EinsumDense or as_product(
                part.config["equation"], len(step.inputs[0].shape)
            ):
                continue
            reason = f"has the equation {part.config['equation']}, which is not one matrix product"
        if issubclass(part.kind, QuantizedKernel | ActivationQuantizer):
            raise InputRefused(
                f'{graph.name}: the layer "{part.name}" is fake-quantized already; start from the float model.'
            )
        raise InputRefused(
            f'{graph.name}: the layer "{part.name}" ({part.kind.__name__}) {reason}; leave it in float with '
            f'keep_float = ["{part.name}"], or replace it.'
        )


def _inserted(graph: Graph, reads: dict[Step, tuple[Value, ...]]) -> Graph:
    """The graph with one quantizer per tensor, or per group of tensors that share a scale."""
    members = groups(graph, reads)
    read_values = {value for values in reads.values() for value in values}
    parts: dict[int, Part] = {}
    sites: dict[Value, int] = {}
    done: dict[Value, Value] = {}
    steps: list[Step] = []

    def quantizer(value: Value) -> Part:
        group = members[value]
        if id(group) not in parts:
            tensors = [member for member in group if member in read_values]
            sites.update({member: site for site, member in enumerate(tensors)})
            name = graph.unique(f"{tensors[0].name}_quantizer")
            parts[id(group)] = Part(name, ActivationQuantizer, {"sites": len(tensors)})
        return parts[id(group)]

    for step in graph.steps:
        for value in reads.get(step, ()):
            if value not in done:
                part = quantizer(value)
                done[value] = replace(value, name=part.name)
                options = {"site": sites[value]} if part.config["sites"] > 1 else {}
                steps.append(Step(part, (value,), options, (done[value],)))
        steps.append(step.reading({value: done[value] for value in reads.get(step, ())}))
    return replace(graph, steps=tuple(steps))


def _quantized_part(part: Part) -> Part:
    kind = QUANTIZED[part.kind]
    kernel = part.weights[0]
    if part.kind is LAYERS.EinsumDense:
        contracted = sum(letter in part.config["equation"].split(",")[0] for letter in _kernel_letters(part))
        channels = int(np.prod(kernel.shape[contracted:]))
    else:
        channels = kernel.shape[kind.kernel_axis]
    return replace(part, kind=kind, weights=(*part.weights, np.zeros(channels, np.float32)))


def _kernel_letters(part: Part) -> str:
    return str(part.config["equation"].partition(",")[2].partition("->")[0].strip())
