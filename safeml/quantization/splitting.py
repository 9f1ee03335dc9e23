"""Layers split into the products that INT8 kernels know, without a change of the outputs.

SeparableConv2D: a depthwise and a 1x1 convolution. DepthwiseConv2D with a depth multiplier: a grouped convolution. An
activation inside a layer: a layer. MultiHeadAttention: its projections, two matrix products and a softmax.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import keras
import numpy as np

from safeml.int8.layers import MatrixProduct
from safeml.quantization.graph import Graph, Part, Step, Value

LAYERS = keras.layers
# The layers with a kernel: what they compute is quantized, and a batch normalization after them is folded.
WEIGHTED = (LAYERS.Conv2D, LAYERS.DepthwiseConv2D, LAYERS.Conv2DTranspose, LAYERS.Dense, LAYERS.EinsumDense)
# The suffixes of the layers that one layer is split into; `keep_float` takes the name before them.
SUFFIXES = (
    "_depthwise",
    "_pointwise",
    "_query",
    "_key",
    "_value",
    "_output",
    "_scores",
    "_softmax",
    "_context",
)


def split(graph: Graph) -> Graph:
    """Return the graph with each layer of the table split, layers without effect removed and activations apart."""
    graph = graph.without(
        {step: step.inputs[0] for step in graph.steps if _idle(step.part) and len(step.inputs) == 1}
    )
    for divide in (_attention, _separable, _grouped, _activation):
        graph = graph.expanded(partial(divide, graph, memo={}))
    return graph


def _idle(part: Part) -> bool:
    if part.kind is LAYERS.Identity:
        return True
    return part.kind is LAYERS.Activation and _is_linear(part.config)


def _is_linear(config: dict[str, Any]) -> bool:
    return config.get("activation", "linear") in (None, "linear")


def _once(memo: dict[Part, Any], part: Part, make: Callable[[], Any]) -> Any:
    if part not in memo:
        memo[part] = make()
    return memo[part]


def _part(
    graph: Graph, name: str, kind: Any, options: dict[str, Any], weights: tuple[np.ndarray, ...] = ()
) -> Part:
    return Part(graph.unique(name), kind, _whole(kind, options), weights)


def _whole(kind: Any, options: dict[str, Any]) -> dict[str, Any]:
    """The configuration of a layer, defaults included: later passes read it."""
    return {key: value for key, value in kind(**options).get_config().items() if key != "name"}


def _separable(graph: Graph, step: Step, memo: dict[Part, Any]) -> list[Step] | None:
    part = step.part
    if part.kind is not LAYERS.SeparableConv2D:
        return None

    def make() -> tuple[Part, Part]:
        config, (depthwise, pointwise, *bias) = part.config, part.weights
        first = {key: config[key] for key in ("kernel_size", "strides", "padding", "dilation_rate", "dtype")}
        first |= {"depth_multiplier": config["depth_multiplier"], "use_bias": False}
        first |= {"depthwise_regularizer": config["depthwise_regularizer"]}
        second = {key: config[key] for key in ("filters", "use_bias", "activation", "dtype")}
        second |= {"kernel_size": 1, "kernel_regularizer": config["pointwise_regularizer"]}
        second |= {"bias_regularizer": config["bias_regularizer"]}
        return (
            _part(graph, f"{part.name}_depthwise", LAYERS.DepthwiseConv2D, first, (depthwise,)),
            _part(graph, f"{part.name}_pointwise", LAYERS.Conv2D, second, (pointwise, *bias)),
        )

    depthwise, pointwise = _once(memo, part, make)
    channels = step.inputs[0].shape[-1]
    assert channels is not None  # the layer has a kernel for each
    spatial = step.outputs[0].shape[:-1]
    middle = Value((*spatial, channels * part.config["depth_multiplier"]), "float32", depthwise.name)
    return [Step(depthwise, step.args, {}, (middle,)), Step(pointwise, (middle,), {}, step.outputs)]


def _grouped(graph: Graph, step: Step, memo: dict[Part, Any]) -> list[Step] | None:
    part = step.part
    if part.kind is not LAYERS.DepthwiseConv2D or part.config["depth_multiplier"] == 1:
        return None

    def make() -> Part:
        config, (kernel, *bias) = part.config, part.weights
        height, width, channels, multiplier = kernel.shape
        keys = ("kernel_size", "strides", "padding", "dilation_rate", "activation", "use_bias", "dtype")
        new = {key: config[key] for key in (*keys, "bias_regularizer")}
        new |= {"filters": channels * multiplier, "groups": channels}
        new["kernel_regularizer"] = config["depthwise_regularizer"]
        weights = (kernel.reshape(height, width, 1, channels * multiplier), *bias)
        return Part(part.name, LAYERS.Conv2D, _whole(LAYERS.Conv2D, new), weights)

    return [replace(step, part=_once(memo, part, make))]


def _activation(graph: Graph, step: Step, memo: dict[Part, Any]) -> list[Step] | None:
    part = step.part
    if part.kind not in WEIGHTED or _is_linear(part.config):
        return None

    def make() -> tuple[Part, Part]:
        function = part.config["activation"]
        word = function if isinstance(function, str) else "activation"
        config = {"activation": function, "dtype": part.config["dtype"]}
        return (
            replace(part, config={**part.config, "activation": "linear"}),
            _part(graph, f"{part.name}_{word}", LAYERS.Activation, config),
        )

    linear, activation = _once(memo, part, make)
    before = Value(step.outputs[0].shape, step.outputs[0].dtype, part.name)
    return [replace(step, part=linear, outputs=(before,)), Step(activation, (before,), {}, step.outputs)]


def _attention(graph: Graph, step: Step, memo: dict[Part, Any]) -> list[Step] | None:
    part = step.part
    if part.kind is not LAYERS.MultiHeadAttention or not _is_plain(step):
        return None
    query, value = step.args[0], step.args[1]
    key = step.kwargs.get("key", step.args[2] if len(step.args) > 2 else None) or value
    # With the number of tokens, where it is the same in every call, the shape of the result is known as that of the source is.
    lengths = (query.shape[1], value.shape[1]) if graph.calls()[part] == 1 else (None, None)
    parts = _once(memo, part, lambda: _attention_parts(graph, part, *lengths))
    training = {word: step.kwargs[word] for word in ("training",) if step.kwargs.get(word) is not None}
    heads, width, inner = (part.config[word] for word in ("num_heads", "key_dim", "value_dim"))
    steps: list[Step] = []

    def call(word: str, args: tuple[Any, ...], shape: tuple[int | None, ...], **kwargs: Any) -> Value:
        output = Value(shape, "float32", parts[word].name)
        steps.append(Step(parts[word], args, kwargs, (output,)))
        return output

    batch, targets, sources = query.shape[0], query.shape[1], value.shape[1]
    queries = call("query", (query,), (batch, targets, heads, width))
    keys = call("key", (key,), (batch, sources, heads, width))
    values = call("value", (value,), (batch, sources, heads, inner))
    queries = call("query_heads", (queries,), (batch, heads, targets, width))
    keys = call("key_heads", (keys,), (batch, heads, width, sources))
    values = call("value_heads", (values,), (batch, heads, sources, inner))
    scores = call("scores", ([queries, keys],), (batch, heads, targets, sources))
    weights = call("softmax", (scores,), (batch, heads, targets, sources))
    if "dropout" in parts:
        weights = call("dropout", (weights,), weights.shape, **training)
    context = call("context", ([weights, values],), (batch, heads, targets, inner))
    context = call("context_heads", (context,), (batch, targets, heads, inner))
    steps.append(Step(parts["output"], (context,), {}, step.outputs))
    return steps


def _is_plain(step: Step) -> bool:
    """Whether an attention is over one axis, without a mask, a gate or its scores as an output."""
    source = step.part.source
    options = {key for key, value in step.kwargs.items() if value is not None and value is not False}
    tensors = [value for value in (*step.args, step.kwargs.get("key")) if isinstance(value, Value)]
    return (
        source is not None
        and options <= {"training", "key"}
        and 2 <= len(step.args) <= 3
        and len(step.outputs) == 1
        and all(len(tensor.shape) == 3 for tensor in tensors)
        and tuple(source.attention_axes) == (1,)
        and not step.part.config.get("sliding_window")
        and not step.part.config.get("use_gate")
    )


def _attention_parts(graph: Graph, part: Part, targets: int | None, sources: int | None) -> dict[str, Part]:
    layer = part.source
    dense = {
        "query": layer.query_dense,
        "key": layer.key_dense,
        "value": layer.value_dense,
        "output": layer.output_dense,
    }
    parts: dict[str, Part] = {}
    for word, projection in dense.items():
        weights = tuple(np.array(array) for array in projection.get_weights())
        if word == "query":
            # The division of the scores by the root of the width, moved into the projection.
            weights = tuple((array / math.sqrt(layer.key_dim)).astype(array.dtype) for array in weights)
        config = {key: value for key, value in projection.get_config().items() if key != "name"}
        length = targets if word in ("query", "output") else sources
        config["output_shape"] = (length, *projection.partial_output_shape[1:])
        parts[word] = Part(graph.unique(f"{part.name}_{word}"), LAYERS.EinsumDense, config, weights)
    orders = {
        "query_heads": (2, 1, 3),
        "key_heads": (2, 3, 1),
        "value_heads": (2, 1, 3),
        "context_heads": (2, 1, 3),
    }
    for word, order in orders.items():
        parts[word] = _part(graph, f"{part.name}_{word}", LAYERS.Permute, {"dims": order})
    for word in ("scores", "context"):
        parts[word] = _part(graph, f"{part.name}_{word}", MatrixProduct, {})
    parts["softmax"] = _part(graph, f"{part.name}_softmax", LAYERS.Softmax, {"axis": -1})
    if layer.dropout:
        options = {"rate": layer.dropout, "seed": layer.seed}
        parts["dropout"] = _part(graph, f"{part.name}_dropout", LAYERS.Dropout, options)
    return parts
