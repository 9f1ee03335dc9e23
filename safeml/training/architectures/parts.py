"""Common parts of the architectures, built only of Keras' layers, because the scan refuses a file with others."""

from __future__ import annotations

from typing import Any

import keras
from keras import layers


def conv_bn(
    x: Any, channels: int, size: int, stride: int, momentum: float, name: str, activation: str = ""
) -> Any:
    """Add a convolution without bias, batch normalisation, and `activation`, if any, as a separate layer."""
    x = layers.Conv2D(
        channels, size, stride, padding="same", use_bias=False, kernel_initializer="he_normal", name=name
    )(x)
    x = layers.BatchNormalization(momentum=momentum, name=f"{name}_bn")(x)
    return layers.Activation(activation, name=f"{name}_{activation}")(x) if activation else x


def pooled_logits(x: Any, classes: int, dropout: float) -> Any:
    """Add global average pooling, dropout, and one logit per class."""
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    x = layers.Dropout(dropout, name="dropout")(x)
    return layers.Dense(classes, name="logits")(x)


def image_input(height: int, width: int) -> keras.KerasTensor:
    return keras.Input((height, width, 3), name="image")
