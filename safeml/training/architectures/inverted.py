"""MobileNetV2 and EfficientNet, both built of inverted residual blocks, at the resolution of small images.

The published networks divide the resolution by 32, which leaves one pixel of a 32-pixel sign; here it is divided by 8.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import keras
from keras import layers

from safeml.training.architectures.parts import conv_bn, image_input, pooled_logits


class Row(NamedTuple):
    """A row of `repeats` blocks; the first has `stride`.

    expansion: of the channels inside a block.
    channels: in multiples of base.
    """

    expansion: int
    channels: float
    repeats: int
    stride: int
    size: int


MOBILENET_V2 = (
    Row(1, 1, 1, 1, 3),
    Row(4, 1.5, 2, 2, 3),
    Row(4, 2, 2, 2, 3),
    Row(4, 4, 2, 2, 3),
    Row(4, 6, 2, 1, 3),
)
EFFICIENTNET = (
    Row(1, 1, 1, 1, 3),
    Row(4, 1.5, 2, 2, 3),
    Row(4, 2.5, 2, 2, 5),
    Row(4, 5, 2, 2, 3),
    Row(4, 7, 1, 1, 5),
)


def mobilenet_v2(
    height: int, width: int, classes: int, *, base: int, dropout: float, bn_momentum: float
) -> keras.Model:
    """Build MobileNetV2. M. Sandler et al., "MobileNetV2: inverted residuals and linear bottlenecks", 2018.

    base: channels of the stem. ReLU6, as published: its range suits eight-bit integers.
    """
    return _network(
        "mobilenet_v2", MOBILENET_V2, "relu6", 0.0, height, width, classes, base, dropout, bn_momentum
    )


def efficientnet(
    height: int, width: int, classes: int, *, base: int, dropout: float, bn_momentum: float
) -> keras.Model:
    """Build EfficientNet. M. Tan, Q. Le, "EfficientNet: rethinking model scaling for convolutional neural networks", 2019.

    base: channels of the stem. Swish, and squeeze-and-excitation to a quarter of each block's input channels.
    """
    return _network(
        "efficientnet", EFFICIENTNET, "silu", 0.25, height, width, classes, base, dropout, bn_momentum
    )


def _network(
    name: str,
    rows: tuple[Row, ...],
    activation: str,
    squeeze: float,
    height: int,
    width: int,
    classes: int,
    base: int,
    dropout: float,
    momentum: float,
) -> keras.Model:
    inputs = image_input(height, width)
    x = conv_bn(inputs, base, 3, 1, momentum, "stem", activation)
    for stage, row in enumerate(rows, start=1):
        for block in range(row.repeats):
            x = _block(
                x,
                row._replace(stride=row.stride if block == 0 else 1),
                round(base * row.channels),
                activation,
                squeeze,
                momentum,
                f"stage{stage}_block{block + 1}",
            )
    x = conv_bn(x, base * 16, 1, 1, momentum, "top", activation)
    return keras.Model(inputs, pooled_logits(x, classes, dropout), name=name)


def _block(
    x: Any, row: Row, channels: int, activation: str, squeeze: float, momentum: float, name: str
) -> Any:
    """Add an inverted residual block: expansion, depthwise convolution, squeeze-and-excitation, linear projection."""
    shortcut, inside = x, x.shape[-1] * row.expansion
    if row.expansion > 1:
        x = conv_bn(x, inside, 1, 1, momentum, f"{name}_expand", activation)
    x = layers.DepthwiseConv2D(
        row.size,
        row.stride,
        padding="same",
        use_bias=False,
        depthwise_initializer="he_normal",
        name=f"{name}_depthwise",
    )(x)
    x = layers.BatchNormalization(momentum=momentum, name=f"{name}_depthwise_bn")(x)
    x = layers.Activation(activation, name=f"{name}_depthwise_{activation}")(x)
    if squeeze:
        weights = layers.GlobalAveragePooling2D(keepdims=True, name=f"{name}_squeeze")(x)
        narrow = max(1, round(shortcut.shape[-1] * squeeze))
        weights = layers.Conv2D(narrow, 1, activation=activation, name=f"{name}_reduce")(weights)
        weights = layers.Conv2D(inside, 1, activation="sigmoid", name=f"{name}_excite")(weights)
        x = layers.Multiply(name=f"{name}_weigh")([x, weights])
    x = conv_bn(x, channels, 1, 1, momentum, f"{name}_project")
    if row.stride == 1 and shortcut.shape[-1] == channels:
        x = layers.Add(name=f"{name}_add")([x, shortcut])
    return x
