"""A model, images and settings that are quantized in seconds: which quarter of an image is bright."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

SIDE, K = 16, 4
SETTINGS = """name = "tiny-int8"
epochs = 0
batch = 32
worst_layers = 1
[model]
path = "model.keras"
[calibration]
images = 48
[data.train]
kind = "npz"
path = "train.npz"
[data.valid]
kind = "npz"
path = "valid.npz"
"""


def pictures(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return uint8 [count, 16, 16, 3] of noise, each with one bright quarter, and the number of the quarter."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % K
    images = rng.integers(90, 166, (count, SIDE, SIDE, 3), dtype=np.uint8)
    for image, (row, column) in zip(images, (divmod(int(label), 2) for label in labels), strict=True):
        image[8 * row : 8 * row + 8, 8 * column : 8 * column + 8] += 45
    return images, labels


def write_data(folder: Path, **counts: int) -> None:
    """Write NAME.npz of so many images each, every image another sign."""
    for seed, (name, count) in enumerate(counts.items()):
        images, labels = pictures(count, seed)
        np.savez(
            folder / f"{name}.npz", images=images, labels=labels, track_id=1000 * seed + np.arange(count)
        )


def network(dead: bool = True) -> Any:
    """Return a convolution, its batch normalization and a dense layer that answer with the brightest quarter.

    dead: one channel has no kernel and a bias, which needs a floor of its scale to stay inside int32.
    """
    import keras

    layers = keras.layers
    inputs = keras.Input((SIDE, SIDE, 3), name="image")
    x = layers.Conv2D(6, 3, strides=2, padding="same", use_bias=False, name="conv")(inputs)
    x = layers.ReLU(name="relu")(layers.BatchNormalization(name="norm")(x))
    x = layers.Flatten(name="flat")(layers.AveragePooling2D(2, name="pool")(x))
    model = keras.Model(inputs, layers.Dense(K, name="logits")(x), name="tiny")
    rng = np.random.default_rng(5)
    kernel = rng.uniform(0.02, 0.1, (3, 3, 3, 6)).astype(np.float32)
    if dead:
        kernel[..., 5] = 0
    model.get_layer("conv").set_weights([kernel])
    ones = np.ones(6, np.float32)
    model.get_layer("norm").set_weights([ones, 0.3 * ones, 0.5 * ones, 0.8 * ones])
    weights = np.zeros((4, 4, 6, K), np.float32)
    for label, (row, column) in enumerate(divmod(label, 2) for label in range(K)):
        weights[2 * row : 2 * row + 2, 2 * column : 2 * column + 2, :, label] = 1.0
    weights += rng.normal(0, 0.02, weights.shape).astype(np.float32)
    model.get_layer("logits").set_weights([weights.reshape(96, K), np.zeros(K, np.float32)])
    return model


def write_project(folder: Path) -> Path:
    """Write model.keras, the images of three splits and quantize.toml into `folder`, and return the settings file."""
    write_data(folder, train=96, valid=48, test=120)
    network().save(folder / "model.keras")
    file = folder / "quantize.toml"
    file.write_text(SETTINGS, encoding="utf-8")
    return file
