"""Classifiers with known answers: what an audit says of them is known before it runs. Legend: N images, K classes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from safeml.classifiers.base import InputSpec
from safeml.classifiers.batches import BatchSize


@dataclass(frozen=True, eq=False)
class Subject:
    """Any function of pixels (tf.Tensor float32 [N, H, W, C], 0..1 -> [N, K]) as a differentiable classifier."""

    name: str
    classes: int
    function: Callable[[Any], Any]
    spec: InputSpec = field(default_factory=lambda: InputSpec(height=8, width=8))
    parameters: int = 0
    fingerprint: str = "0" * 64
    notes: tuple[str, ...] = ()
    batch: BatchSize = field(default_factory=lambda: BatchSize(64))

    def logits(self, pixels: Any) -> Any:
        return self.function(pixels)

    def predict_logits(self, images: np.ndarray) -> np.ndarray:
        import tensorflow as tf

        pixels = images.astype(np.float32) / 255 if images.dtype == np.uint8 else images
        return np.asarray(self.function(tf.constant(pixels)))

    def features(self, images: np.ndarray) -> np.ndarray:
        return images.reshape(len(images), -1).astype(np.float32)


def linear(weights: np.ndarray, bias: np.ndarray, scale: float = 1.0) -> Subject:
    """logits = scale (x W + b), W [D, K]: every minimal perturbation has a closed form."""
    import tensorflow as tf

    matrix, offset = (
        weights.astype(np.float32) * np.float32(scale),
        bias.astype(np.float32) * np.float32(scale),
    )
    return Subject(
        "linear", weights.shape[1], lambda x: tf.reshape(x, [tf.shape(x)[0], len(matrix)]) @ matrix + offset
    )


def constant(classes: int, answer: int = 0) -> Subject:
    """Always the same answer, whatever it sees: accuracy is the share of that class, and its gradient is zero."""
    import tensorflow as tf

    row = np.eye(classes, dtype=np.float32)[answer]
    return Subject("constant", classes, lambda x: tf.tile(row[None], [tf.shape(x)[0], 1]))


def corner_oracle(classes: int, scale: float = 1.0) -> Subject:
    """Always right on images whose first pixel row holds the class as one bright pixel (see `corner_images`)."""
    import tensorflow as tf

    return Subject("oracle", classes, lambda x: tf.cast(scale, tf.float32) * x[:, 0, :classes, 0])


def undefined(classes: int) -> Subject:
    """Every logit is NaN."""
    import tensorflow as tf

    return Subject("undefined", classes, lambda x: tf.fill([tf.shape(x)[0], classes], np.float32("nan")))


def stepped(inner: Subject, levels: int = 8) -> Subject:
    """Gradient masking by design: pixels are rounded first, so the gradient is zero though the model is no more robust."""
    import tensorflow as tf

    return Subject(
        f"stepped {inner.name}", inner.classes, lambda x: inner.function(tf.round(x * levels) / levels)
    )


def corner_images(labels: np.ndarray, size: int = 8, low: float = 0.25, high: float = 0.75) -> np.ndarray:
    """float32 [N, size, size, 1] of `low`, with `high` in the pixel of the first row that names the class."""
    images = np.full((len(labels), size, size, 1), low, dtype=np.float32)
    images[np.arange(len(labels)), 0, labels, 0] = high
    return images


SIDE, STROKES = 12, 4


def strokes(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Bright strokes of four directions anywhere on grey: uint8 [N, 12, 12, 1], and the direction int64 [N]."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count, dtype=np.int64) % STROKES
    shapes = np.zeros((STROKES, 7, 7))
    shapes[0, 3, :] = shapes[1, :, 3] = 0.35
    shapes[2], shapes[3] = 0.35 * np.eye(7), 0.35 * np.eye(7)[::-1]
    images = np.full((count, SIDE, SIDE, 1), 0.5) + rng.normal(0, 0.03, (count, SIDE, SIDE, 1))
    for image, label in zip(images, labels, strict=True):
        row, column = rng.integers(1, SIDE - 7, 2)
        image[row : row + 7, column : column + 7, 0] += shapes[label]
    return np.rint(np.clip(images, 0, 1) * 255).astype(np.uint8), labels


def stroke_network(signs: bool = False, seed: int = 3) -> Subject:
    """A convolution and a matrix, trained on strokes in a second: right on nearly all, and not robust.

    signs: with sign activations. Trained through a smooth gradient; the plain gradient that an audit sees is zero.
    """
    import keras
    import tensorflow as tf

    rng = np.random.default_rng(seed)
    width = SIDE // 2 * (SIDE // 2) * 12
    start = (rng.normal(0, 0.3, (5, 5, 1, 12)), np.zeros(12), rng.normal(0, 0.05, (width, STROKES)))
    weights = [tf.Variable(array.astype(np.float32)) for array in start]

    @tf.custom_gradient
    def smooth_sign(values: Any) -> Any:
        return tf.sign(values), lambda upstream: upstream / tf.square(1 + tf.abs(values))

    def network(pixels: Any, activation: Callable[[Any], Any], kernel: Any, bias: Any, matrix: Any) -> Any:
        hidden = activation(tf.nn.conv2d(4 * (pixels - 0.5), kernel, 2, "SAME") + bias)
        return tf.reshape(hidden, [-1, width]) @ matrix

    images, labels = strokes(256, seed=1)
    pixels = tf.constant(images, tf.float32) / 255

    @tf.function
    def gradients() -> Any:
        with tf.GradientTape() as tape:
            logits = network(pixels, smooth_sign if signs else tf.nn.relu, *weights)
            loss = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
        return tape.gradient(loss, weights)

    optimizer = keras.optimizers.Adam(0.01)
    for _ in range(150):
        optimizer.apply_gradients(zip((part / len(labels) for part in gradients()), weights, strict=True))
    trained = [tf.constant(weight.numpy()) for weight in weights]
    activation = tf.sign if signs else tf.nn.relu
    return Subject(
        "signs" if signs else "network",
        STROKES,
        lambda x: network(x, activation, *trained),
        InputSpec(height=SIDE, width=SIDE, channels="grey"),
    )


def saturated(inner: Subject, scale: float = 1000.0) -> Subject:
    """Gradient masking by design: the softmax is so sure that float32 leaves no gradient of the cross entropy."""
    return Subject(
        f"saturated {inner.name}", inner.classes, lambda x: np.float32(scale) * inner.function(x), inner.spec
    )


def noisy(inner: Subject, sigma: float = 0.05) -> Subject:
    """Gradient masking by design: every answer is of another noisy copy of the pixels."""
    import tensorflow as tf

    return Subject(
        f"noisy {inner.name}",
        inner.classes,
        lambda x: inner.function(x + tf.random.normal(tf.shape(x), stddev=sigma)),
        inner.spec,
    )


def resized(inner: Subject, least: int = SIDE - 4) -> Subject:
    """Gradient masking by design: every batch is scaled to a random size and put at a random place on a grey ground."""
    import tensorflow as tf

    def function(x: Any) -> Any:
        size = tf.random.uniform([], least, SIDE + 1, tf.int32)
        top, left = (tf.random.uniform([], 0, SIDE - size + 1, tf.int32) for _ in range(2))
        small = tf.image.resize(x, [size, size])
        sides = [[0, 0], [top, SIDE - size - top], [left, SIDE - size - left], [0, 0]]
        whole = tf.pad(small, sides, constant_values=0.5)
        return inner.function(tf.ensure_shape(whole, x.shape))

    return Subject(f"resized {inner.name}", inner.classes, function, inner.spec)


@dataclass(frozen=True, eq=False)
class Answering:
    """A classifier that answers and gives no gradient, as an exported file does."""

    inner: Subject
    name: str = "int8"
    parameters: int = 0
    fingerprint: str = "1" * 64
    notes: tuple[str, ...] = ()

    @property
    def spec(self) -> InputSpec:
        return self.inner.spec

    @property
    def classes(self) -> int:
        return self.inner.classes

    def predict_logits(self, images: np.ndarray) -> np.ndarray:
        return self.inner.predict_logits(images)

    def features(self, images: np.ndarray) -> np.ndarray:
        return self.inner.features(images)


def shattered(
    seed: int = 0,
    classes: int = 10,
    size: int = 32,
    waves: float = 50.3,
    height: float = 8.0,
    marked: bool = False,
) -> Subject:
    """A linear classifier on pixels that were bent into tiny waves: its gradients are large, finite, and point anywhere.

    marked: only on images whose first row is bright; the others are honest.
    """
    import tensorflow as tf

    weights = np.random.default_rng(seed).choice(np.float32([-1, 1]), (size * size * 3, classes))
    frequency = np.float32(
        2 * np.pi * 255 * waves
    )  # waves in a grey level; a whole number would be honest at 8 bits

    def function(x: Any) -> Any:
        flat = tf.reshape(x, [tf.shape(x)[0], len(weights)])
        waved = tf.reduce_mean(x[:, 0], axis=[1, 2]) > 0.8 if marked else tf.ones([tf.shape(x)[0]], tf.bool)
        bent = tf.where(waved, height / frequency, 0.0)[:, None] * tf.sin(frequency * flat)
        return (flat + bent) @ weights * 0.05

    return Subject("shattered", classes, function, InputSpec(height=size, width=size))
