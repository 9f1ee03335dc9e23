"""The one loop behind every method by gradients: points of all images in full batches, one compiled graph.

Legend: N images, S points of each image, B points of a batch, H W C pixels, K classes.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any

import numpy as np

from safeml import framework
from safeml.classifiers.base import Classifier, is_differentiable
from safeml.classifiers.batches import BatchSize, until_it_fits
from safeml.explainers.base import NotApplicable

# (rows int [B], draws int [B]) -> the points float32 [B, H, W, C], and a factor of each gradient, or None for 1.
Points = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray | None]]


def summed_gradients(
    classifier: Classifier,
    points: Points,
    shape: tuple[int, ...],
    classes: np.ndarray,
    count: int,
    batch: BatchSize,
) -> np.ndarray:
    """Return the sum over S points of factor times the gradient of one logit of each image, float64 [N, H, W, C].

    points: gives the point and the factor for each pair of an image and a number 0..S-1.
    shape: H, W, C.
    classes: int64 [N], which logit.
    count: S.

    Memory does not grow with S: a batch holds points of several images.
    Raises NotApplicable where the classifier has no gradient.
    """
    if not is_differentiable(classifier):
        raise NotApplicable("the model gives no gradient")
    total = np.zeros((len(classes), *shape))
    start, whole = 0, len(classes) * count
    while start < whole:
        start = until_it_fits(batch, partial(_add, classifier, points, total, classes, count, start))
    return total


def _add(
    classifier: Any,
    points: Points,
    total: np.ndarray,
    classes: np.ndarray,
    count: int,
    start: int,
    size: int,
) -> int:
    """Add the gradients of the next `size` points to `total`, and return where the next batch starts."""
    import tensorflow as tf

    pairs = np.arange(start, min(start + size, len(classes) * count))
    rows, draws = pairs // count, pairs % count
    values, factors = points(rows, draws)
    padding = size - len(pairs)
    with framework.memory_errors(), framework.expected_tracing():
        gradient = _compiled(classifier, total.shape[1:], size)(
            tf.constant(np.concatenate([values, np.zeros((padding, *values.shape[1:]), np.float32)])),
            tf.constant(np.concatenate([classes[rows], np.zeros(padding, np.int64)]).astype(np.int32)),
        ).numpy()[: len(pairs)]
    product = gradient if factors is None else gradient * factors
    first = np.flatnonzero(np.diff(rows, prepend=-1))
    total[rows[first]] += np.add.reduceat(product, first, axis=0, dtype=np.float64)
    return start + size


# The model under test and one with shuffled weights are used by turns; more would only keep old models in memory.
@lru_cache(maxsize=2)
def _compiled(classifier: Any, shape: tuple[int, ...], size: int) -> Callable[..., Any]:
    """Return points [B, H, W, C], classes [B] -> the gradient of those logits by the points [B, H, W, C], as one graph."""
    import tensorflow as tf

    signature = [tf.TensorSpec([size, *shape], tf.float32), tf.TensorSpec([size], tf.int32)]

    def gradient(points: Any, classes: Any) -> Any:
        logits = tf.gather(classifier.logits(points), classes, axis=1, batch_dims=1)
        # Symbolic gradients, unlike a tape's, see operations that a SavedModel imports.
        return tf.gradients(logits, [points], unconnected_gradients="zero")[0]

    compiled: Callable[..., Any] = tf.function(gradient, autograph=False, input_signature=signature)
    return compiled
