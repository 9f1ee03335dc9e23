"""Small networks with every kind of layer that is quantized, and what the tests ask of them."""

from __future__ import annotations

from typing import Any

import numpy as np


def randomise(model: Any, seed: int = 0) -> Any:
    """Random weights, and statistics of batch normalizations far from 0 and 1, with factors of both signs."""
    import keras

    rng = np.random.default_rng(seed)
    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.BatchNormalization):
            for name, low, high in (
                ("gamma", 0.5, 1.5),
                ("beta", -0.5, 0.5),
                ("moving_mean", -0.5, 0.5),
                ("moving_variance", 0.5, 2.0),
            ):
                variable = getattr(layer, name, None)
                if variable is not None:
                    sign = np.where(rng.random(variable.shape) < 0.3, -1, 1) if name == "gamma" else 1
                    variable.assign(sign * rng.uniform(low, high, variable.shape))
        elif getattr(layer, "bias", None) is not None:
            layer.bias.assign(rng.normal(0, 0.1, layer.bias.shape))
    return model


def norm(x: Any, **options: Any) -> Any:
    import keras

    return keras.layers.BatchNormalization(**options)(x)


def image(channels: int = 3, size: int = 8) -> Any:
    import keras

    return keras.Input((size, size, channels), name="image")


def head(x: Any) -> Any:
    import keras

    return keras.layers.Dense(3, name="logits")(keras.layers.GlobalAveragePooling2D(name="pool")(x))


def convolution() -> Any:
    import keras

    inputs = image()
    x = norm(keras.layers.Conv2D(4, 3, padding="same", use_bias=False)(inputs))
    return keras.Model(inputs, head(keras.layers.ReLU()(x)))


def outputs(model: Any, seed: int = 3, count: int = 4) -> np.ndarray:
    shape = [size or 8 for size in model.inputs[0].shape[1:]]
    return np.asarray(model(np.random.default_rng(seed).random((count, *shape), np.float32), training=False))


def assert_same(first: np.ndarray, second: np.ndarray, share: float = 1e-5) -> None:
    np.testing.assert_allclose(first, second, rtol=0, atol=share * np.abs(first).max())


def calibrated(prepared: Any, keep_float: tuple[str, ...] = (), count: int = 16) -> Any:
    from safeml.quantization.rewrite import quantizers, set_bias_floors, set_observing, with_quantizers

    model = with_quantizers(prepared, keep_float)
    shape = [size or 8 for size in model.inputs[0].shape[1:]]
    for quantizer in quantizers(model):
        quantizer.momentum = 0.0
    set_observing(model, True)
    model(np.random.default_rng(0).random((count, *shape), np.float32), training=True)
    set_observing(model, False)
    set_bias_floors(model)
    return model
