"""Whether a small step gains as much as the gradient predicts. Where it does not, no gradient attack is reliable.

A. Athalye, N. Carlini, D. Wagner, "Obfuscated gradients give a false sense of security", 2018 (shattered gradients).

Legend: N images, H W C pixels.
"""

from __future__ import annotations

import numpy as np

from safeml import framework
from safeml.attacks.losses import margin
from safeml.attacks.norms import NORMS
from safeml.attacks.targets import given_type
from safeml.classifiers.base import DifferentiableClassifier
from safeml.classifiers.judged import judge_of


def linearity(
    classifier: DifferentiableClassifier,
    images: np.ndarray,
    labels: np.ndarray,
    norm: str,
    step: float,
    batch: int,
) -> np.ndarray:
    """Return the gain in margin of one step along the steepest direction, as a share of the gain that the gradient predicts.

    images: float32 [N, H, W, C], 0..1.
    labels: int [N]; of a judged regression model the targets, float32 [N, T].
    step: length of the step in `norm`, in pixel units.
    Returns float32 [N]: about 1 where the model is nearly linear over the step; 0 where the gradient is zero or not finite.
    """
    import tensorflow as tf

    judge, shares = judge_of(classifier), []
    for start in range(0, len(images), batch):
        with framework.memory_errors():
            pixels = tf.constant(images[start : start + batch])
            truths = tf.constant(labels[start : start + batch].astype(given_type(labels)))
            with tf.GradientTape() as tape:
                tape.watch(pixels)
                logits, classes = judge(classifier.logits(pixels), truths)
                before = margin(logits, classes, classes)
            gradient = tape.gradient(before, pixels, unconnected_gradients="zero")
            moved = tf.clip_by_value(pixels + step * NORMS[norm].normalise(gradient), 0.0, 1.0)
            predicted = tf.reduce_sum(gradient * (moved - pixels), axis=[1, 2, 3]).numpy()
            gain = (margin(judge(classifier.logits(moved), truths)[0], classes, classes) - before).numpy()
        usable = np.isfinite(predicted) & np.isfinite(gain) & (predicted > 0)
        shares.append(np.divide(gain, predicted, out=np.zeros_like(predicted), where=usable))
    return np.concatenate(shares) if shares else np.zeros(0, np.float32)
