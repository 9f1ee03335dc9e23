"""Classifiers with known answers: what an audit says of them is known before it runs. Legend: N images, K classes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from safeml.classifiers.base import InputSpec


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
