"""Rewriting of a float Keras model into a fake-quantized one. Minimal: plain Functional, Conv2D, DepthwiseConv2D, Dense, Add."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from safeml.int8.layers import (
    ActivationQuantizer,
    QuantizedConv2D,
    QuantizedDense,
    QuantizedDepthwiseConv2D,
)

LAYERS = keras.layers
QUANTIZED: dict[Any, Any] = {
    LAYERS.Conv2D: QuantizedConv2D,
    LAYERS.DepthwiseConv2D: QuantizedDepthwiseConv2D,
    LAYERS.Dense: QuantizedDense,
}


def fold(model: keras.Model) -> keras.Model:
    """Return the model with each BatchNormalization folded into the convolution before it; the outputs stay the same."""
    pairs = {}
    for layer in model.layers:
        if type(layer) is LAYERS.BatchNormalization:
            (node,) = layer._inbound_nodes
            before = node.input_tensors[0]._keras_history.operation
            linear = getattr(before, "activation", None) is keras.activations.linear
            if type(before) in QUANTIZED and linear and len(before._outbound_nodes) == 1:
                pairs[before.name] = layer
    folded = {layer.name for layer in pairs.values()}

    def clone(layer: Any) -> Any:
        if layer.name in folded:
            return lambda x, **options: x
        config = layer.get_config()
        return type(layer).from_config({**config, "use_bias": True} if layer.name in pairs else config)

    new = keras.Model(
        model.inputs, model._run_through_graph(model.inputs, operation_fn=clone), name=model.name
    )
    for layer in new.layers:
        old = model.get_layer(layer.name)
        if layer.name not in pairs:
            layer.set_weights(old.get_weights())
            continue
        norm = pairs[layer.name]
        mean, variance = np.asarray(norm.moving_mean), np.asarray(norm.moving_variance)
        factor = (np.asarray(norm.gamma) if norm.scale else 1.0) / np.sqrt(variance + norm.epsilon)
        weights = old.get_weights()
        bias = weights[1] if len(weights) > 1 else 0.0
        beta = np.asarray(norm.beta) if norm.center else 0.0
        shape = (1, 1, -1, 1) if type(layer) is LAYERS.DepthwiseConv2D else (-1,)
        layer.set_weights([weights[0] * factor.reshape(shape), (bias - mean) * factor + beta])
    return new


def with_quantizers(folded: keras.Model) -> keras.Model:
    """Return the fake-quantized model; its scales are 1 until it is calibrated."""
    done: dict[int, Any] = {}

    def quantize(tensor: Any, name: str) -> Any:
        if id(tensor) not in done:
            done[id(tensor)] = (ActivationQuantizer(name=name)(tensor), tensor)
        return done[id(tensor)][0]

    def clone(layer: Any) -> Any:
        kind = QUANTIZED.get(type(layer))
        new = (kind or type(layer)).from_config(layer.get_config())
        if kind is None and not isinstance(layer, LAYERS.Add):
            return new

        def call(*args: Any, **options: Any) -> Any:
            if kind is not None:
                return new(quantize(args[0], f"{layer.name}_input"), **options)
            first, second = args[0]
            return new([quantize(first, f"{layer.name}_identity"), second], **options)

        return call

    outputs = folded._run_through_graph(folded.inputs, operation_fn=clone)
    new = keras.Model(folded.inputs, outputs, name=folded.name)
    for layer in folded.layers:
        weights = layer.get_weights()
        if weights:
            new.get_layer(layer.name).set_weights(
                [*weights, *new.get_layer(layer.name).get_weights()[len(weights) :]]
            )
    return new
