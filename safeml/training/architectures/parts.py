"""What the architectures share. They are made of Keras' own layers only: a file with others would not pass the scan."""

from __future__ import annotations

from typing import Any

import keras
from keras import layers


def conv_bn(
    x: Any, channels: int, size: int, stride: int, momentum: float, name: str, activation: str = ""
) -> Any:
    """A convolution without bias, batch normalisation, and `activation` as a layer of its own where one is named."""
    x = layers.Conv2D(
        channels, size, stride, padding="same", use_bias=False, kernel_initializer="he_normal", name=name
    )(x)
    x = layers.BatchNormalization(momentum=momentum, name=f"{name}_bn")(x)
    return layers.Activation(activation, name=f"{name}_{activation}")(x) if activation else x


def pooled_logits(x: Any, classes: int, dropout: float) -> Any:
    """Global average, dropout, one logit a class."""
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    x = layers.Dropout(dropout, name="dropout")(x)
    return layers.Dense(classes, name="logits")(x)


def image_input(height: int, width: int) -> keras.KerasTensor:
    return keras.Input((height, width, 3), name="image")
