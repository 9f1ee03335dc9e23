"""A small vision transformer with a convolutional stem."""

from __future__ import annotations

from typing import Any

import keras
from keras import layers

from safeml.training.architectures.parts import conv_bn, image_input

DEPTH = 4
HEAD_WIDTH = 16
MLP_RATIO = 2


def vit(
    height: int, width: int, classes: int, *, base: int, dropout: float, bn_momentum: float
) -> keras.Model:
    """Build a vision transformer. A. Dosovitskiy et al., "An image is worth 16x16 words: transformers for image recognition at scale", 2021.

    The stem of two strided convolutions is that of T. Xiao et al., "Early convolutions help transformers see better",
    2021: with it a transformer learns from tens of thousands of images. Tokens are 4x4 pixels; their mean is classified.
    base: the width of a token, a multiple of 16.
    """
    inputs = image_input(height, width)
    x = conv_bn(inputs, base // 2, 3, 2, bn_momentum, "stem1", "relu")
    x = conv_bn(x, base, 3, 2, bn_momentum, "stem2", "relu")
    x = layers.Reshape((x.shape[1] * x.shape[2], base), name="tokens")(x)
    # The bias of this projection, one vector per position, is the learned position embedding.
    x = layers.EinsumDense("ntd,de->nte", (x.shape[1], base), bias_axes="te", name="embedding")(x)
    for block in range(DEPTH):
        x = _block(x, base, dropout, f"block{block + 1}")
    x = layers.LayerNormalization(epsilon=1e-6, name="norm")(x)
    x = layers.GlobalAveragePooling1D(name="pool")(x)
    x = layers.Dropout(dropout, name="dropout")(x)
    return keras.Model(inputs, layers.Dense(classes, name="logits")(x), name="vit")


def _block(x: Any, base: int, dropout: float, name: str) -> Any:
    normal = layers.LayerNormalization(epsilon=1e-6, name=f"{name}_norm1")(x)
    attended = layers.MultiHeadAttention(
        max(1, base // HEAD_WIDTH), HEAD_WIDTH, dropout=dropout, name=f"{name}_attention"
    )(normal, normal)
    x = layers.Add(name=f"{name}_add1")([x, attended])
    y = layers.LayerNormalization(epsilon=1e-6, name=f"{name}_norm2")(x)
    y = layers.Dense(base * MLP_RATIO, activation="gelu", name=f"{name}_dense1")(y)
    y = layers.Dense(base, name=f"{name}_dense2")(y)
    y = layers.Dropout(dropout, name=f"{name}_dropout")(y)
    return layers.Add(name=f"{name}_add2")([x, y])
