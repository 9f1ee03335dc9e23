"""Membership inference: scores of images, and how well a score separates training images from others.

A score is larger for an image that an attack takes for a member of the training data. Legend: N images, K classes, M members,
O non-members, S shadow models, R resamples, F false positive rates.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Rates(NamedTuple):
    """How well a score separates members from non-members.

    auc: area under the ROC curve, 0..1; ties count one half.
    tpr: float [F], the true positive rate at each false positive rate.
    """

    auc: float
    tpr: np.ndarray


def true_class_score(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the log odds of the true class, float64 [N]: log p / (1 - p). It orders images as the negative loss does.

    logits: float [N, K], finite, K >= 2.
    labels: int [N], 0..K-1.

    Computed from the logits, because a probability near 1 is rounded to 1. Source: N. Carlini, S. Chien, M. Nasr, S. Song,
    A. Terzis, F. Tramèr, "Membership inference attacks from first principles", 2022.

    >>> true_class_score(np.array([[0.0, 0.0], [2.0, 0.0]]), np.array([0, 1])).tolist()
    [0.0, -2.0]
    """
    values = np.asarray(logits, np.float64)
    rows = np.arange(len(values))
    others = values.copy()
    others[rows, labels] = -np.inf
    return np.asarray(values[rows, labels] - _log_sum(others))


def confidence_score(logits: np.ndarray) -> np.ndarray:
    """Return the log odds of the predicted class, float64 [N]; it needs no label. logits: float [N, K], finite, K >= 2."""
    return true_class_score(logits, np.asarray(logits).argmax(axis=1))


def margin_score(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the logit of the true class minus the largest other logit, float64 [N].

    logits: float [N, K], finite, K >= 2.
    labels: int [N], 0..K-1.
    """
    values = np.asarray(logits, np.float64)
    rows = np.arange(len(values))
    others = values.copy()
    others[rows, labels] = -np.inf
    return np.asarray(values[rows, labels] - others.max(axis=1))


def class_medians(scores: np.ndarray, labels: np.ndarray, own: np.ndarray) -> np.ndarray:
    """Return the median score of each class in `own`, and that of all images for the other classes, float64 [K].

    scores: float [N].
    labels: int [N], 0..K-1.
    own: bool [K]; each such class has an image.
    """
    medians = np.full(len(own), float(np.median(scores)))
    for label in np.flatnonzero(own):
        medians[label] = float(np.median(scores[labels == label]))
    return medians


def best_threshold(members: np.ndarray, others: np.ndarray) -> tuple[float, float]:
    """Return the threshold with the largest advantage, and that advantage (TPR - FPR, 0..1).

    members: float [M]. others: float [O]. An image is taken for a member if its score is at least the threshold. The threshold
    lies halfway between two observed scores, and the larger of equally good ones is used; infinity if no threshold is better
    than none.

    >>> best_threshold(np.array([2.0, 3.0]), np.array([0.0, 1.0]))
    (1.5, 1.0)
    """
    values, positive, negative = _by_score(members, others)
    gain = np.cumsum(positive[::-1]) / len(members) - np.cumsum(negative[::-1]) / len(others)
    best = int(gain.argmax())
    if gain[best] <= 0:
        return np.inf, 0.0
    last = len(values) - 1 - best
    below = values[last - 1] if last else values[last] - 1
    return float((values[last] + below) / 2), float(gain[best])


def separation(members: np.ndarray, others: np.ndarray, rates: tuple[float, ...]) -> Rates:
    """Return the area under the ROC curve, and the true positive rate at each false positive rate of `rates`.

    members: float [M]. others: float [O]. The true positive rate is that of the lowest threshold whose false positive rate is
    not above the given one.

    >>> separation(np.array([1.0, 3.0]), np.array([0.0, 2.0]), (0.5,))
    Rates(auc=0.75, tpr=array([1.]))
    """
    _, positive, negative = _by_score(members, others)
    return _rates(positive[::-1].astype(float), negative[::-1].astype(float), rates)


def resampled_separation(
    members: np.ndarray,
    others: np.ndarray,
    member_counts: np.ndarray,
    other_counts: np.ndarray,
    rates: tuple[float, ...],
) -> tuple[np.ndarray, np.ndarray]:
    """Return the area, float [R], and the true positive rates, float [R, F], of each resample.

    members, others: float [M] and [O].
    member_counts, other_counts: float [R, M] and [R, O], how often each image is in each resample.
    """
    values, codes = np.unique(np.concatenate([members, others]), return_inverse=True)
    own, other = codes[: len(members)], codes[len(members) :]
    found = [
        _rates(
            np.bincount(own, weights=positive, minlength=len(values))[::-1],
            np.bincount(other, weights=negative, minlength=len(values))[::-1],
            rates,
        )
        for positive, negative in zip(member_counts, other_counts, strict=True)
    ]
    return np.array([one.auc for one in found]), np.array([one.tpr for one in found]).reshape(
        len(found), len(rates)
    )


def lira_scores(observed: np.ndarray, shadows: np.ndarray, outside: np.ndarray) -> np.ndarray:
    """Return the offline likelihood-ratio score of each image, float64 [N].

    observed: float [N], log odds of the true class under the model.
    shadows: float [S, N], the same under each shadow model.
    outside: bool [S, N], whether the shadow model was trained without the image; at least one is for each image.

    The score is (observed - mean over the shadow models without the image) / standard deviation, with one standard deviation
    for all images, which is the better estimate with fewer than 64 shadow models. It is the one-sided test of the paper: how
    unlikely the observed value is for a model that was not trained on the image.

    Source: N. Carlini, S. Chien, M. Nasr, S. Song, A. Terzis, F. Tramèr, "Membership inference attacks from first principles",
    2022 (offline attack, fixed variance).

    >>> lira_scores(np.array([3.0]), np.array([[0.0], [2.0], [9.0]]), np.array([[True], [True], [False]])).round(3).tolist()
    [1.414]
    """
    count = outside.sum(axis=0)
    means = np.where(outside, shadows, 0.0).sum(axis=0) / count
    residuals = np.where(outside, shadows - means, 0.0)
    freedom = float(np.maximum(count - 1, 0).sum())
    spread = float(np.sqrt((residuals**2).sum() / freedom)) if freedom else 0.0
    return np.asarray((observed - means) / (spread or 1.0), np.float64)


def _rates(positive: np.ndarray, negative: np.ndarray, rates: tuple[float, ...]) -> Rates:
    """positive, negative: float [T], members and non-members at each distinct score, largest score first."""
    true, false = np.cumsum(positive), np.cumsum(negative)
    members, others = true[-1], false[-1]
    if not members or not others:
        return Rates(np.nan, np.full(len(rates), np.nan))
    area = float((negative * (true - positive / 2)).sum() / (members * others))
    last = np.searchsorted(false / others, np.array(rates) * (1 + 1e-12), side="right")
    return Rates(area, np.concatenate([[0.0], true])[last] / members)


def _by_score(members: np.ndarray, others: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the distinct scores, float [T] ascending, and how many members and non-members have each, int [T]."""
    values, codes = np.unique(np.concatenate([members, others]), return_inverse=True)
    positive = np.bincount(codes[: len(members)], minlength=len(values))
    negative = np.bincount(codes[len(members) :], minlength=len(values))
    return values, positive, negative


def _log_sum(values: np.ndarray) -> np.ndarray:
    """Return log(sum(exp(values))) of each row; float64 [N, K], with at least one finite value in each row."""
    largest = values.max(axis=1)
    return np.asarray(largest + np.log(np.exp(values - largest[:, None]).sum(axis=1)))
