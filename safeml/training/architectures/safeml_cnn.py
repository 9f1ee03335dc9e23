"""The convolutional network of the SafeML II study of GTSRB."""

from __future__ import annotations

import keras
from keras import layers

from safeml.training.architectures.parts import image_input


def safeml_cnn(
    height: int, width: int, classes: int, *, base: int, dropout: float, bn_momentum: float
) -> keras.Model:
    """Build the network of K. Aslansefat et al., "Toward improving confidence in autonomous vehicle software: a study on traffic sign recognition", 2021.

    Three convolutions without padding, two poolings, one hidden layer; the study has base 32 and images of 30 pixels.
    base: channels of the first convolution, half of those of the next two and an eighth of the hidden layer. Dropout
    follows each pooling at half its rate. bn_momentum has no effect.
    """
    inputs = image_input(height, width)
    x = layers.Conv2D(base, 5, activation="relu", name="conv1")(inputs)
    x = layers.Conv2D(2 * base, 3, activation="relu", name="conv2")(x)
    x = layers.MaxPooling2D(name="pool1")(x)
    x = layers.Dropout(dropout / 2, name="dropout1")(x)
    x = layers.Conv2D(2 * base, 3, activation="relu", name="conv3")(x)
    x = layers.MaxPooling2D(name="pool2")(x)
    x = layers.Dropout(dropout / 2, name="dropout2")(x)
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dense(8 * base, activation="relu", name="dense1")(x)
    x = layers.Dropout(dropout, name="dropout3")(x)
    return keras.Model(inputs, layers.Dense(classes, name="logits")(x), name="safeml_cnn")
