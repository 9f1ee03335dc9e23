"""How well a score separates what a monitor should reject from what it should trust. Legend: N images, R resamples.

A score is higher where a prediction deserves more trust. *Positive* are the images to reject: incorrect predictions, or images from
outside. Equal scores count half.
"""

from __future__ import annotations

import numpy as np

from safeml.metrics.calibration.selective import coverage_at_risk

ACCEPTED = 0.95


def auroc_score(scores: np.ndarray, reject: np.ndarray) -> float:
    """Return the chance that an image to reject has a lower score than one to trust, 0..1; NaN without both kinds.

    scores: float [N], no NaN. reject: bool [N].
    """
    return float(auroc_draws(scores, reject, np.ones((1, len(scores))))[0])


def auroc_draws(scores: np.ndarray, reject: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Return the AUROC of each resample, float64 [R]; NaN for one without both kinds.

    counts: float [R, N], how often each image is in each resample.
    """
    order = np.argsort(scores, kind="stable")
    ordered = scores[order]
    starts = np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1])) if len(scores) else np.zeros(0, int)
    if not len(starts):
        return np.full(len(counts), np.nan)
    taken = counts[:, order]
    bad = np.add.reduceat(taken * reject[order], starts, axis=1)
    good = np.add.reduceat(taken * ~reject[order], starts, axis=1)
    above = good.sum(axis=1, keepdims=True) - np.cumsum(good, axis=1) + good / 2
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray((bad * above).sum(axis=1) / (bad.sum(axis=1) * good.sum(axis=1)))


def average_precision_score(scores: np.ndarray, reject: np.ndarray, positive_rejected: bool = True) -> float:
    """Return the area under the precision-recall curve by steps, 0..1; NaN without a positive.

    positive_rejected: the images to reject are the positives and have low scores; else those to trust, with high scores.
    """
    positive = reject if positive_rejected else ~reject
    rank = -scores if positive_rejected else scores
    if not positive.any():
        return float("nan")
    order = np.argsort(-rank, kind="stable")
    last = np.append(rank[order][1:] != rank[order][:-1], True)
    hits = np.cumsum(positive[order])[last]
    seen = np.flatnonzero(last) + 1
    return float((np.diff(np.append(0, hits)) * hits / seen).sum() / hits[-1])


def fpr_at_95_error(scores: np.ndarray, reject: np.ndarray) -> float:
    """Return the share of images to reject that are trusted at the threshold that trusts 95 % of the others, 0..1; NaN without both kinds."""
    good, bad = scores[~reject], scores[reject]
    if not len(good) or not len(bad):
        return float("nan")
    return float((bad >= threshold_at_95(good)).mean())


def threshold_at_95(good: np.ndarray) -> float:
    """Return the highest threshold that trusts at least 95 % of the scores [N], N >= 1."""
    ordered = np.sort(good)[::-1]
    return float(ordered[int(np.ceil(ACCEPTED * len(ordered) - 1e-9)) - 1])


def detection_rates(scores: np.ndarray, reject: np.ndarray) -> dict[str, float]:
    """Return all measures by name: auroc, aupr_reject, aupr_trust, fpr_at_95 and coverage at a risk of 1 %."""
    return {
        "auroc": auroc_score(scores, reject),
        "aupr_reject": average_precision_score(scores, reject),
        "aupr_trust": average_precision_score(scores, reject, positive_rejected=False),
        "fpr_at_95": fpr_at_95_error(scores, reject),
        "coverage_at_1_percent": coverage_at_risk(scores, ~reject, 0.01),
    }
