"""Predictions and their scores. Legend: N images, K classes.

Definitions follow the field's use: M. Sokolova, G. Lapalme, "A systematic analysis of performance measures for
classification tasks", Information Processing & Management 45 (2009). What is undefined is NaN here, never 0.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

NO_ANSWER = -1
"""The prediction for an image whose logits are not finite: an answer that is always wrong."""


@dataclass(frozen=True, eq=False)
class Predictions:
    """What a model answers.

    classes: int64 [N], 0..K-1, or NO_ANSWER where a logit is not finite.
    probabilities: float64 [N, K], the softmax of the logits; NaN in rows without an answer.
    ties: bool [N], more than one class has the largest logit; the lowest class id is the answer then.
    """

    classes: np.ndarray
    probabilities: np.ndarray
    ties: np.ndarray

    @property
    def answered(self) -> np.ndarray:
        """bool [N], the rows with finite logits."""
        answered: np.ndarray = self.classes != NO_ANSWER
        return answered


def predictions(logits: np.ndarray) -> Predictions:
    """Turn logits (float [N, K], any values) into predictions; a NaN or an infinity anywhere in a row voids the row."""
    finite = np.isfinite(logits).all(axis=1)
    usable = np.where(finite[:, None], logits, 0.0)
    probabilities = softmax(usable)
    probabilities[~finite] = np.nan
    ties = (usable == usable.max(axis=1, keepdims=True)).sum(axis=1) > 1
    return Predictions(
        classes=np.where(finite, usable.argmax(axis=1), NO_ANSWER).astype(np.int64),
        probabilities=probabilities,
        ties=ties & finite,
    )


def right_answers(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """bool [N]: the largest logit is the label's. Logits that are not finite are never right."""
    return np.asarray(np.isfinite(logits).all(axis=1) & (logits.argmax(axis=1) == labels))


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities float64 [..., K] of logits [..., K], stable for logits of any size; 1/K where a row is not finite."""
    finite = np.isfinite(logits).all(axis=-1, keepdims=True)
    safe = np.where(finite, logits, 0.0).astype(np.float64)
    powers = np.exp(safe - safe.max(axis=-1, keepdims=True))
    probabilities: np.ndarray = powers / powers.sum(axis=-1, keepdims=True)
    return probabilities


def confusion_matrix(labels: np.ndarray, classes: np.ndarray, K: int) -> np.ndarray:
    """Counts int64 [K, K + 1]: row = true class, column = predicted class, the last column = NO_ANSWER.

    labels: int [N], 0..K-1. classes: int [N], 0..K-1 or NO_ANSWER. Neither range is checked.
    """
    columns = np.where(classes == NO_ANSWER, K, classes)
    return np.bincount(labels * (K + 1) + columns, minlength=K * (K + 1)).reshape(K, K + 1)


@dataclass(frozen=True, eq=False)
class ClassScores:
    """Scores by class, float64 [K] in 0..1 with NaN where undefined, and support int64 [K].

    precision is undefined for a class that is never predicted, recall for a class without images,
    F1 = 2 TP / (2 TP + FP + FN) for a class that is neither.
    """

    precision: np.ndarray
    recall: np.ndarray
    f1: np.ndarray
    support: np.ndarray


def class_scores(confusion: np.ndarray) -> ClassScores:
    """Scores of each class from the counts int [K, K + 1] of `confusion_matrix`."""
    K = len(confusion)
    hits = np.diagonal(confusion[:, :K])
    support = confusion.sum(axis=1)
    predicted = confusion[:, :K].sum(axis=0)
    return ClassScores(
        precision=_ratio(hits, predicted),
        recall=_ratio(hits, support),
        f1=_ratio(2 * hits, support + predicted),
        support=support,
    )


def macro_recall_score(confusion: np.ndarray) -> float:
    """Mean recall (0..1) over the classes that have images: balanced accuracy. NaN without any image."""
    return _mean_over_supported(class_scores(confusion).recall, confusion)


def macro_f1_score(confusion: np.ndarray) -> float:
    """Mean F1 (0..1) over the classes that have images. NaN without any image."""
    return _mean_over_supported(class_scores(confusion).f1, confusion)


def _mean_over_supported(scores: np.ndarray, confusion: np.ndarray) -> float:
    supported = confusion.sum(axis=1) > 0
    return float(scores[supported].mean()) if supported.any() else float("nan")


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    ratio: np.ndarray = np.divide(part, whole, out=np.full(len(part), np.nan), where=whole > 0)
    return ratio
