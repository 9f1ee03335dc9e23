"""A network of the common layers with fixed weights, and images for it."""

from __future__ import annotations

import numpy as np

NAMES = ("a", "b", "c", "d", "e")
SIDE = 16


def network(head: str | None = "softmax"):
    import keras

    keras.utils.set_random_seed(5)
    layers = keras.layers
    inputs = keras.Input((SIDE, SIDE, 3))
    x = layers.Rescaling(2.0, -1.0)(inputs)
    x = layers.Conv2D(8, 3, padding="same", activation="relu")(x)
    x = layers.BatchNormalization()(x)
    x = layers.MaxPooling2D()(x)
    x = layers.DepthwiseConv2D(3)(x)
    x = layers.Activation("silu")(x)
    x = layers.Dropout(0.5)(x)
    x = layers.GlobalAveragePooling2D()(x)
    x = layers.Dense(12, activation="relu")(x)
    model = keras.Model(inputs, layers.Dense(len(NAMES), activation=head)(x))
    generator = np.random.default_rng(0)
    model.set_weights(
        [np.abs(generator.normal(0.5, 0.3, w.shape)) * np.sign(w + 0.1) for w in model.get_weights()]
    )
    return model


def images(count: int = 70) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (count, SIDE, SIDE, 3), dtype=np.uint8)
