"""Selective prediction: the model answers where its confidence is high and abstains elsewhere. Legend: N images, C sign tracks.

Coverage is the share of images that are answered, risk the share of those that are classified incorrectly. Equal scores are
answered in random order, and each function returns the mean over that order. Scores are log-odds (`Forecasts.log_odds`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from safeml.statistics.exact import clopper_pearson

ERROR = 0.05


def _errors(scores: np.ndarray, hits: np.ndarray) -> np.ndarray:
    """Return float64 [N]: mean number of errors among the 1, 2, ..., N images of the largest score."""
    _, group, size = np.unique(-scores, return_inverse=True, return_counts=True)
    rate = np.bincount(group, (~hits).astype(float)) / size
    return np.asarray(np.cumsum(np.repeat(rate, size)))


def risk_coverage(scores: np.ndarray, hits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return coverage and risk, float64 [N] each, of the 1, 2, ..., N images of the largest score.

    scores: float [N], no NaN.
    hits: bool [N], correctly classified.
    """
    answered = np.arange(1, len(scores) + 1)
    return answered / len(scores), _errors(scores, hits) / answered


def aurc_loss(scores: np.ndarray, hits: np.ndarray) -> float:
    """Return the area under the risk-coverage curve, 0..1: the mean risk over all coverages.

    Reference: Y. Geifman, R. El-Yaniv, "Selective classification for deep neural networks", 2017.
    """
    return float(risk_coverage(scores, hits)[1].mean())


def augrc_loss(scores: np.ndarray, hits: np.ndarray) -> float:
    """Return the area under the generalised risk-coverage curve, 0..0.5 up to 1/N: the mean share of images that are answered incorrectly.

    Reference: J. Traub et al., "Overcoming common flaws in the evaluation of selective classification systems", 2024.
    """
    return float(_errors(scores, hits).mean() / len(scores))


def coverage_at_risk(scores: np.ndarray, hits: np.ndarray, risk: float) -> float:
    """Return the largest coverage whose risk on these images is at most `risk`; 0 where there is none.

    It is the best of many, so it describes these images and guarantees nothing; `guaranteed_threshold` does.
    """
    coverage, risks = risk_coverage(scores, hits)
    within = np.flatnonzero(risks <= risk + 1e-12)
    # A threshold cannot divide equal scores.
    ordered = np.sort(-scores)
    last = np.append(ordered[1:] != ordered[:-1], True)
    within = within[last[within]]
    return float(coverage[within[-1]]) if len(within) else 0.0


def signs_for_risk(risk: float, error: float = ERROR) -> int:
    """Return the number of sign tracks without an error that guarantee `risk` (0..1) with the confidence 1 - error."""
    return math.ceil(math.log(error) / math.log1p(-risk))


@dataclass(frozen=True)
class Guarantee:
    """A threshold of the score with a guaranteed risk, or the reason why there is none.

    threshold: answer where the score is at least this; None if nothing is proven.
    signs: sign tracks that were at hand.
    needed: sign tracks without an error that would prove the risk.
    """

    threshold: float | None
    signs: int
    needed: int


def guaranteed_threshold(
    scores: np.ndarray, hits: np.ndarray, tracks: np.ndarray, risk: float, error: float = ERROR
) -> Guarantee:
    """Find the lowest threshold with a guaranteed risk, on images that neither trained the model nor test it.

    scores: float [N]. hits: bool [N]. tracks: int [N], the sign track of each image.

    The risk is that of a sign track: the share of tracks with an answered image, of which at least one answered image is
    classified incorrectly. With the confidence 1 - error it is at most `risk` for later signs of the same kind. Thresholds
    are tested from the highest that leaves enough tracks downwards, and the first failure ends the search, so the error
    is not multiplied by the number of tests.

    Reference: A. N. Angelopoulos et al., "Learn then test: calibrating predictive algorithms to achieve risk control", 2021.
    """
    _, sign = np.unique(tracks, return_inverse=True)
    count = int(sign.max()) + 1
    needed = signs_for_risk(risk, error)
    best = np.full(count, -np.inf)
    worst = np.full(count, -np.inf)
    np.maximum.at(best, sign, scores)
    np.maximum.at(worst, sign[~hits], scores[~hits])
    passed: float | None = None
    if count >= needed:
        for threshold in np.unique(np.sort(best)[: count - needed + 1])[::-1]:
            answered = int((best >= threshold).sum())
            failed = int((worst >= threshold).sum())
            _, high = clopper_pearson(failed / answered, answered, 1 - 2 * error)
            if high > risk:
                break
            passed = float(threshold)
    return Guarantee(passed, count, needed)
