"""Small image classifiers for 32-pixel traffic signs. All take float32 [N, H, W, 3] in 0..1 and give logits [N, K].

`bn_momentum` is 0.9 for short fits: with Keras' default of 0.99 their moving statistics are still those of the first steps.
"""

from __future__ import annotations

from collections.abc import Callable

import keras
from keras import layers


def lenet(
    height: int, width: int, classes: int, *, base: int, dropout: float, bn_momentum: float
) -> keras.Model:
    """LeNet-5 with ReLU and max-pooling (LeCun et al., Gradient-based learning applied to document recognition, 1998).

    base: channels of the first convolution; the second has twice as many. There is nothing for bn_momentum to change.
    """
    inputs = keras.Input((height, width, 3), name="image")
    x = layers.Conv2D(base, 5, padding="same", activation="relu", name="conv1")(inputs)
    x = layers.MaxPooling2D(name="pool1")(x)
    x = layers.Conv2D(2 * base, 5, padding="same", activation="relu", name="conv2")(x)
    x = layers.MaxPooling2D(name="pool2")(x)
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dense(120, activation="relu", name="dense1")(x)
    x = layers.Dropout(dropout, name="dropout1")(x)
    x = layers.Dense(84, activation="relu", name="dense2")(x)
    return keras.Model(inputs, layers.Dense(classes, name="logits")(x), name="lenet")


def resnet18(
    height: int, width: int, classes: int, *, base: int, dropout: float, bn_momentum: float
) -> keras.Model:
    """ResNet-18 with a 3x3 stem for small images (He et al., Deep residual learning for image recognition, 2016).

    base: channels of the first of four stages; each further stage doubles them and halves the resolution.
    """
    inputs = keras.Input((height, width, 3), name="image")
    x = _conv_bn(inputs, base, 3, 1, bn_momentum, "stem")
    x = layers.ReLU(name="stem_relu")(x)
    for stage in range(4):
        for block in range(2):
            stride = 2 if stage > 0 and block == 0 else 1
            x = _residual_block(x, base * 2**stage, stride, bn_momentum, f"stage{stage + 1}_block{block + 1}")
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    x = layers.Dropout(dropout, name="dropout")(x)
    return keras.Model(inputs, layers.Dense(classes, name="logits")(x), name="resnet18")


def _residual_block(
    x: keras.KerasTensor, channels: int, stride: int, momentum: float, name: str
) -> keras.KerasTensor:
    shortcut = x
    if stride != 1 or x.shape[-1] != channels:
        shortcut = _conv_bn(x, channels, 1, stride, momentum, f"{name}_shortcut")
    x = layers.ReLU(name=f"{name}_relu1")(_conv_bn(x, channels, 3, stride, momentum, f"{name}_conv1"))
    x = _conv_bn(x, channels, 3, 1, momentum, f"{name}_conv2")
    return layers.ReLU(name=f"{name}_relu2")(layers.Add(name=f"{name}_add")([x, shortcut]))


def _conv_bn(
    x: keras.KerasTensor, channels: int, size: int, stride: int, momentum: float, name: str
) -> keras.KerasTensor:
    x = layers.Conv2D(
        channels, size, stride, padding="same", use_bias=False, kernel_initializer="he_normal", name=name
    )(x)
    return layers.BatchNormalization(momentum=momentum, name=f"{name}_bn")(x)


ARCHITECTURES: dict[str, Callable[..., keras.Model]] = {"lenet": lenet, "resnet18": resnet18}
