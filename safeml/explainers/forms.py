"""Predictions for many changed forms of each image, in full batches. Legend: N images, F forms of each, B of a batch, K classes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from safeml.classifiers.base import Classifier
from safeml.metrics.classification import softmax

# (rows int [B], forms int [B]) -> float32 [B, H, W, C], 0..1.
Forms = Callable[[np.ndarray, np.ndarray], np.ndarray]


def form_logits(classifier: Classifier, classes: np.ndarray, count: int, forms: Forms) -> np.ndarray:
    """Return the logit of one class of each image in F forms, float64 [N, F]. classes: int64 [N]."""
    return _scores(classifier, classes, count, forms, lambda logits: logits.astype(np.float64))


def form_probabilities(classifier: Classifier, classes: np.ndarray, count: int, forms: Forms) -> np.ndarray:
    """Return the probability (softmax) of one class of each image in F forms, float64 [N, F]; NaN where a logit is not finite."""

    def scored(logits: np.ndarray) -> np.ndarray:
        finite = np.isfinite(logits).all(axis=1, keepdims=True)
        return np.where(finite, softmax(logits), np.nan)

    return _scores(classifier, classes, count, forms, scored)


def _scores(
    classifier: Classifier,
    classes: np.ndarray,
    count: int,
    forms: Forms,
    scored: Callable[[np.ndarray], np.ndarray],
) -> np.ndarray:
    whole = len(classes) * count
    scores = np.empty(whole)
    start = 0
    while start < whole:
        size = classifier.batch.size
        pairs = np.arange(start, min(start + size, whole))
        rows = pairs // count
        logits = np.asarray(classifier.predict_logits(forms(rows, pairs % count)))
        scores[pairs] = scored(logits)[np.arange(len(pairs)), classes[rows]]
        start += size
    return scores.reshape(len(classes), count)
