"""Whether a small step gains as much as the gradient predicts. Where it does not, no gradient attack is reliable.

A. Athalye, N. Carlini, D. Wagner, "Obfuscated gradients give a false sense of security", 2018 (shattered gradients).

Legend: N images, H W C pixels.
"""

from __future__ import annotations

import numpy as np

from safeml import framework
from safeml.attacks.losses import margin
from safeml.attacks.norms import NORMS
from safeml.classifiers.base import DifferentiableClassifier


def promise_kept(
    classifier: DifferentiableClassifier,
    images: np.ndarray,
    labels: np.ndarray,
    norm: str,
    step: float,
    batch: int,
) -> np.ndarray:
    """Return the gain in margin of one step along the steepest direction, as a share of the gain that the gradient predicts: float32 [N].

    images: float32 [N, H, W, C], 0..1. labels: int [N]. step: length of the step in `norm`, in pixel units.
    About 1 where the model is nearly linear over the step; 0 where the gradient is zero or not finite.
    """
    import tensorflow as tf

    kept = []
    for start in range(0, len(images), batch):
        with framework.memory_errors():
            pixels = tf.constant(images[start : start + batch])
            answers = tf.constant(labels[start : start + batch].astype(np.int32))
            with tf.GradientTape() as tape:
                tape.watch(pixels)
                before = margin(classifier.logits(pixels), answers, answers)
            gradient = tape.gradient(before, pixels, unconnected_gradients="zero")
            moved = tf.clip_by_value(pixels + step * NORMS[norm].normalise(gradient), 0.0, 1.0)
            said = tf.reduce_sum(gradient * (moved - pixels), axis=[1, 2, 3]).numpy()
            gained = (margin(classifier.logits(moved), answers, answers) - before).numpy()
        honest = np.isfinite(said) & np.isfinite(gained) & (said > 0)
        kept.append(np.divide(gained, said, out=np.zeros_like(said), where=honest))
    return np.concatenate(kept) if kept else np.zeros(0, np.float32)
