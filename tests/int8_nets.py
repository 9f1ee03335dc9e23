"""Small fake-quantized Keras networks with every structure that export and linter meet. Legend: K classes."""

from __future__ import annotations

from typing import Any

import numpy as np

SIDE, CLASSES = 8, 5


def tiny(head: str = "logits", seed: int = 0) -> Any:
    """A stem, a depthwise and a pointwise convolution, a residual addition, a concatenation of one scale, and a dense layer.

    head: "logits", "softmax" or "softmax layer".
    """
    import keras

    from safeml.int8.layers import (
        ActivationQuantizer,
        QuantizedConv2D,
        QuantizedDense,
        QuantizedDepthwiseConv2D,
    )

    layers = keras.layers
    image = keras.Input((SIDE, SIDE, 3), name="image")
    x = ActivationQuantizer(name="stem_input")(image)
    x = QuantizedConv2D(8, 3, padding="same", name="stem")(x)
    stem = layers.ReLU(name="stem_relu")(x)
    x = ActivationQuantizer(name="depthwise_input")(stem)
    identity = x
    x = QuantizedDepthwiseConv2D(3, padding="same", name="depthwise")(x)
    x = layers.ReLU(6.0, name="depthwise_relu6")(x)
    x = ActivationQuantizer(name="project_input")(x)
    x = QuantizedConv2D(8, 1, name="project")(x)
    x = layers.Add(name="add")([identity, x])
    x = layers.ReLU(name="add_relu")(x)
    shared = ActivationQuantizer(name="both_input")
    first = QuantizedConv2D(4, 3, strides=2, padding="same", name="first")(shared(x))
    second = QuantizedConv2D(4, 3, strides=2, padding="same", dilation_rate=1, use_bias=False, name="second")(
        shared(x)
    )
    one_scale = ActivationQuantizer(name="concat_input")
    x = layers.Concatenate(name="concat")([one_scale(first), one_scale(second)])
    x = layers.MaxPooling2D(2, name="maxpool")(x)
    x = layers.Flatten(name="flatten")(QuantizedConv2D(6, 2, padding="same", name="last")(x))
    x = ActivationQuantizer(name="logits_input")(x)
    x = QuantizedDense(CLASSES, name="logits", activation="softmax" if head == "softmax" else None)(x)
    if head == "softmax layer":
        x = layers.Softmax(name="softmax")(x)
    return calibrated(keras.Model(image, x, name="tiny"), seed)


def calibrated(model: Any, seed: int = 0) -> Any:
    """The model with the scales of one random batch, and random weights that do not depend on the state of Keras."""
    import keras

    from safeml.int8.layers import ActivationQuantizer

    generator = np.random.default_rng(seed)
    quantizers = [layer for layer in model.layers if isinstance(layer, ActivationQuantizer)]
    for layer in model.layers:
        if hasattr(layer, "kernel"):
            shape = layer.kernel.shape
            inputs = np.prod(shape[:2] if isinstance(layer, keras.layers.DepthwiseConv2D) else shape[:-1])
            layer.kernel.assign(generator.normal(0, (2 / inputs) ** 0.5, shape))
            if layer.use_bias:
                layer.bias.assign(generator.normal(0, 0.1, layer.bias.shape))
    for layer in quantizers:
        layer.momentum = 0.0
        layer.observing.assign(1.0)
    model(images(64, seed + 1), training=True)
    for layer in quantizers:
        layer.observing.assign(0.0)
    return model


def images(count: int, seed: int = 7, shape: tuple[int, ...] = (SIDE, SIDE, 3)) -> np.ndarray:
    """float32 [count, *shape] in 0..1."""
    return np.random.default_rng(seed).random((count, *shape), np.float32)
