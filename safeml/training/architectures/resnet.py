"""ResNet-18 with a 3x3 stem for small images."""

from __future__ import annotations

from typing import Any

import keras
from keras import layers

from safeml.training.architectures.parts import conv_bn, image_input, pooled_logits


def resnet18(
    height: int, width: int, classes: int, *, base: int, dropout: float, bn_momentum: float
) -> keras.Model:
    """Build ResNet-18. K. He et al., "Deep residual learning for image recognition", 2016.

    base: channels of the first of four stages; each further stage doubles them and halves the resolution.
    """
    inputs = image_input(height, width)
    x = conv_bn(inputs, base, 3, 1, bn_momentum, "stem", "relu")
    for stage in range(4):
        for block in range(2):
            stride = 2 if stage > 0 and block == 0 else 1
            x = _residual_block(x, base * 2**stage, stride, bn_momentum, f"stage{stage + 1}_block{block + 1}")
    return keras.Model(inputs, pooled_logits(x, classes, dropout), name="resnet18")


def _residual_block(x: Any, channels: int, stride: int, momentum: float, name: str) -> Any:
    shortcut = x
    if stride != 1 or x.shape[-1] != channels:
        shortcut = conv_bn(x, channels, 1, stride, momentum, f"{name}_shortcut")
    x = conv_bn(x, channels, 3, stride, momentum, f"{name}_conv1", "relu")
    x = conv_bn(x, channels, 3, 1, momentum, f"{name}_conv2")
    return layers.ReLU(name=f"{name}_relu")(layers.Add(name=f"{name}_add")([x, shortcut]))
