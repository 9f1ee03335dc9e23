"""How much of the gradient the operations without a gradient hide: the model's own gradient against the straight-through one.

A. Athalye, N. Carlini, D. Wagner, "Obfuscated gradients give a false sense of security", 2018 (BPDA).

Legend: N images, H W C pixels, K classes.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from safeml import framework
from safeml.attacks.views import View
from safeml.classifiers.base import DifferentiableClassifier
from safeml.classifiers.judged import width_of


def hidden_gradient(
    classifier: DifferentiableClassifier, view: View, images: np.ndarray, batch: int
) -> np.ndarray:
    """Return the distance between the gradient of `classifier` and that of `view`, relative to the longer of the two.

    Both are gradients of the same random combination of all logits, so that no class is left out. Operations without a
    gradient inside a formula whose gradient is exact (moments, logsumexp) give 0.

    images: float32 [N, H, W, C], 0..1.
    view: the straight-through view of the same classifier.
    Returns float32 [N], 0..2; 1 where one of them is zero; 2 where one of them is not finite.
    """
    import tensorflow as tf

    weights = np.random.default_rng(0).standard_normal(width_of(classifier)).astype(np.float32)

    def gradient(logits: Any, pixels: Any) -> Any:
        (slope,) = tf.gradients(
            tf.linalg.matvec(logits, weights), [pixels], unconnected_gradients=tf.UnconnectedGradients.ZERO
        )
        return tf.reshape(slope, [tf.shape(slope)[0], -1])

    def gradients(pixels: Any) -> tuple[Any, Any]:
        return gradient(classifier.logits(pixels), pixels), gradient(view.logits(pixels), pixels)

    both = tf.function(gradients, autograph=False, reduce_retracing=True)
    distances = []
    for start in range(0, len(images), batch):
        with framework.memory_errors():
            own, through = (
                np.asarray(part, np.float64) for part in both(tf.constant(images[start : start + batch]))
            )
        length = np.maximum(np.linalg.norm(own, axis=1), np.linalg.norm(through, axis=1))
        with np.errstate(invalid="ignore"):
            distance = np.linalg.norm(own - through, axis=1)
        relative = np.divide(distance, length, out=np.zeros_like(distance), where=length > 0)
        distances.append(np.where(np.isfinite(relative), relative, 2.0))
    return np.concatenate(distances).astype(np.float32) if distances else np.zeros(0, np.float32)
