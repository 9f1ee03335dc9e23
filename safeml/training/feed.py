"""From the pixels and labels of the data to the inputs and targets of a model.

The architectures here take pixels in 0..1 and give logits; a model from a file may want other values, another size, and
its classes in another order. Legend: B images, H W C pixels, K classes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf

from safeml.classifiers.base import InputSpec
from safeml.classifiers.contract import model_values


@dataclass(frozen=True)
class Feed:
    """What a model is trained with.

    images: float32 pixels [B, H, W, C] in 0..1 -> the values that the model takes; differentiable.
    labels: one-hot [B, K] in the order of the classes -> in the order of the outputs.
    logits: whether the outputs are logits; otherwise they are probabilities.
    """

    images: Callable[[Any], Any] = lambda pixels: pixels
    labels: Callable[[Any], Any] = lambda labels: labels
    logits: bool = True

    def loss(self, targets: Any, outputs: Any) -> Any:
        """Return the cross-entropy of each image, float32 [B]. targets: one-hot [B, K] in the order of the outputs."""
        if self.logits:
            return tf.nn.softmax_cross_entropy_with_logits(targets, outputs)
        return keras.losses.categorical_crossentropy(targets, outputs)


PLAIN = Feed()


def build_metrics(model: keras.Model, feed: Feed, classes: int) -> None:
    """Make the variables of the metrics of a compiled model; made inside the training step, they have the step traced twice.

    classes: K, of the labels.
    """
    model.compute_metrics(None, feed.labels(tf.zeros([1, classes])), tf.zeros([1, *model.output_shape[1:]]))
    model.reset_metrics()


def feed_of(spec: InputSpec) -> Feed:
    """Return the feed of a model with the input contract `spec`."""
    order = spec.class_order
    return Feed(
        images=lambda pixels: model_values(pixels, spec),
        labels=(lambda labels: labels)
        if order is None
        else (lambda labels: tf.gather(labels, order, axis=1)),
        logits=spec.outputs == "logits",
    )
