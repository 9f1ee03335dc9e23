"""LeNet-5 with ReLU and max-pooling."""

from __future__ import annotations

import keras
from keras import layers

from safeml.training.architectures.parts import image_input


def lenet(
    height: int, width: int, classes: int, *, base: int, dropout: float, bn_momentum: float
) -> keras.Model:
    """Build LeNet-5. Y. LeCun et al., "Gradient-based learning applied to document recognition", 1998.

    base: channels of the first convolution; the second has twice as many. bn_momentum has no effect.
    """
    inputs = image_input(height, width)
    x = layers.Conv2D(base, 5, padding="same", activation="relu", name="conv1")(inputs)
    x = layers.MaxPooling2D(name="pool1")(x)
    x = layers.Conv2D(2 * base, 5, padding="same", activation="relu", name="conv2")(x)
    x = layers.MaxPooling2D(name="pool2")(x)
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dense(120, activation="relu", name="dense1")(x)
    x = layers.Dropout(dropout, name="dropout1")(x)
    x = layers.Dense(84, activation="relu", name="dense2")(x)
    return keras.Model(inputs, layers.Dense(classes, name="logits")(x), name="lenet")
