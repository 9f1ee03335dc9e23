"""The order in which a targeted attack tries the incorrect classes. Legend: N images, H W C pixels, K classes, C candidates."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np

from safeml import framework
from safeml.attacks.norms import Norm
from safeml.classifiers.base import DifferentiableClassifier
from safeml.classifiers.judged import judge_of, predict, width_of

CANDIDATES = (
    100  # incorrect classes with the highest logits; with more classes, the others are never a target
)


def runners_up(logits: np.ndarray, labels: np.ndarray, count: int) -> np.ndarray:
    """Return int32 [N, count]: the incorrect classes of each image, by falling logit [N, K]. Undefined logits come last."""
    scores = np.where(np.isfinite(logits), logits, -np.inf).astype(np.float64)
    order = np.argsort(-scores, axis=1, kind="stable")
    wrong = order[order != labels[:, None]].reshape(len(labels), logits.shape[1] - 1)
    return wrong[:, :count].astype(np.int32)


def nearest_classes(
    classifier: DifferentiableClassifier,
    images: np.ndarray,
    labels: np.ndarray,
    norm: Norm,
    count: int,
    batch: int,
) -> tuple[np.ndarray, int]:
    """Return int32 [N, count], the incorrect classes by their distance in the linearised model, and the gradients an image took.

    The distance is the gap of the logits over the dual norm of its gradient (L1 for L-inf, L2 for L2): how far the image must
    move for the class to win, if the logits were linear. A class without a usable gradient comes last; equal ones come by
    falling logit.

    images: float32 [N, H, W, C], 0..1; labels: int [N].
    O. Melamed, G. Yehudai, A. Shamir, "MALT powers up adversarial attacks", 2024.
    """
    candidates = runners_up(*predict(classifier, images, labels), min(CANDIDATES, classifier.classes - 1))
    distance = np.full(candidates.shape, np.inf)
    measured = _compiled(classifier, norm)  # type: ignore[arg-type]  # hashed by identity
    for start in range(0, len(images), batch):
        rows = slice(start, start + batch)
        for rank in range(candidates.shape[1]):
            distance[rows, rank] = measured(images[rows], labels[rows], candidates[rows, rank])
    order = np.argsort(np.where(np.isnan(distance), np.inf, distance), axis=1, kind="stable")
    return np.take_along_axis(candidates, order, axis=1)[:, :count], candidates.shape[1]


def given_type(truths: np.ndarray) -> type:
    """Return the type in which a graph takes labels or targets."""
    return np.int32 if np.issubdtype(truths.dtype, np.integer) else np.float32


@lru_cache(maxsize=8)
def _compiled(classifier: DifferentiableClassifier, norm: Norm) -> Callable[..., np.ndarray]:
    """Return the function (images, labels, targets) -> float32 [N]: the linearised distance to each image's target."""
    import tensorflow as tf

    judge, width = judge_of(classifier), width_of(classifier)

    def distance(images: Any, truths: Any, targets: Any) -> Any:
        logits, labels = judge(tf.ensure_shape(classifier.logits(images), [None, width]), truths)
        gap = tf.gather(logits, labels, axis=1, batch_dims=1) - tf.gather(
            logits, targets, axis=1, batch_dims=1
        )
        [gradient] = tf.gradients(tf.reduce_sum(gap), [images], unconnected_gradients="zero")
        slope = tf.reduce_sum(norm.normalise(gradient) * gradient, axis=[1, 2, 3])
        return gap / slope

    traced: list[Any] = []

    def run(images: np.ndarray, labels: np.ndarray, targets: np.ndarray) -> np.ndarray:
        with framework.memory_errors():
            if not traced:
                integers = tf.TensorSpec([None], tf.int32)
                given = tf.TensorSpec([None, *labels.shape[1:]], tf.float32) if labels.ndim > 1 else integers
                signature = [tf.TensorSpec([None, *images.shape[1:]], tf.float32), given, integers]
                traced.append(tf.function(distance, autograph=False, input_signature=signature))
            return np.asarray(traced[0](images, labels.astype(given_type(labels)), targets))

    return run
