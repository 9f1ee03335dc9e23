"""Conformal prediction sets on logits: NumPy only, in the syntax of Python 3.6, so that a monitor can carry this file.

Legend: N images, K classes, n images for calibration (one for each sign track).

Scores of a class, higher is less plausible:

* lac: minus the log-probability (M. Sadinle, J. Lei, L. Wasserman, "Least ambiguous set-valued classifiers with bounded error
  levels", 2019).
* aps: the mass of all more probable classes and a random part of its mass (Y. Romano, M. Sesia, E. Candes, "Classification with valid and
  adaptive coverage", 2020). It is computed as minus the logarithm of the remaining mass, which orders classes as the mass does
  and does not round to 1 where the softmax saturates.
* raps: aps on the scale of the mass, plus a penalty for each rank beyond `free` (A. N. Angelopoulos et al., "Uncertainty sets for
  image classifiers using conformal prediction", 2021).

Equal scores are compared by a uniform number, so the coverage is exact whether or not they occur.
"""

from typing import NamedTuple

import numpy as np

SCORES = ("lac", "aps", "raps")
PENALTY = 0.01
FREE = 2


class Threshold(NamedTuple):
    """A threshold: a class is in the set if its (score, tie) is at most this one.

    score: infinite if there are too few images, so that every set holds all classes.
    tie: the uniform number of the image at the threshold.
    images: n.
    rank: of the threshold among the n scores; more than n if there is none.
    """

    score: float
    tie: float
    images: int
    rank: int


def class_scores(kind: str, logits: np.ndarray, parts: np.ndarray) -> np.ndarray:
    """Return the score of each class, float64 [N, K].

    kind: of `SCORES`.
    logits: float [N, K], finite.
    parts: float64 [N], 0..1, one uniform number for each image; `lac` does not use it.
    """
    if kind not in SCORES:
        raise ValueError("the score is {!r}; expected one of {}.".format(kind, ", ".join(SCORES)))
    logits = np.asarray(logits, dtype=np.float64)
    if not np.isfinite(logits).all():
        raise ValueError("a logit is not finite; conformal sets need finite logits.")
    logs = logits - logits.max(axis=1, keepdims=True)
    logs = logs - np.log(np.exp(logs).sum(axis=1, keepdims=True))
    if kind == "lac":
        return np.asarray(-logs)
    order = np.argsort(-logs, axis=1, kind="stable")
    ranked = np.take_along_axis(logs, order, axis=1)
    # Logarithm of the mass strictly below each rank, summed from the smallest upwards.
    upwards = np.logaddexp.accumulate(ranked[:, ::-1], axis=1)[:, ::-1]
    below = np.concatenate([upwards[:, 1:], np.full((len(logs), 1), -np.inf)], axis=1)
    with np.errstate(divide="ignore"):
        rest = np.log1p(-parts)[:, None]
    remaining = np.minimum(np.logaddexp(below, ranked + rest), 0.0)
    if kind == "aps":
        scores = -remaining
    else:
        ranks = np.arange(1, logs.shape[1] + 1)
        scores = -np.expm1(remaining) + PENALTY * np.maximum(0, ranks - FREE)
    placed = np.empty(scores.shape)
    np.put_along_axis(placed, order, scores, axis=1)
    return placed


def least_images(alpha: float) -> int:
    """Return the fewest images (sign tracks) whose threshold is finite at the error `alpha`, 0..1: 19 at 5 %."""
    return int(np.ceil(1 / alpha - 1e-9)) - 1


def rank_of(images: int, alpha: float) -> int:
    """Return which of the n smallest scores is the threshold; more than n if there is none."""
    return int(np.ceil((images + 1) * (1 - alpha) - 1e-9))


def threshold_of(scores: np.ndarray, ties: np.ndarray, alpha: float) -> Threshold:
    """Return the threshold whose sets hold the true class with a probability of at least 1 - alpha.

    scores: float64 [n], of the true classes of the images for calibration, which must be exchangeable with later images.
    ties: float64 [n], 0..1, one uniform number for each.
    """
    images = len(scores)
    rank = rank_of(images, alpha)
    if rank > images:
        return Threshold(np.inf, 1.0, images, rank)
    place = np.lexsort((ties, scores))[rank - 1]
    return Threshold(float(scores[place]), float(ties[place]), images, rank)


def sets(scores: np.ndarray, ties: np.ndarray, threshold: Threshold) -> np.ndarray:
    """Return the sets, bool [N, K]: whether each class is in the set of its image.

    scores: float64 [N, K].
    ties: float64 [N, K], 0..1, uniform numbers.
    """
    tied = (scores == threshold.score) & (ties <= threshold.tie)
    return np.asarray((scores < threshold.score) | tied)


def sets_by_group(scores: np.ndarray, ties: np.ndarray, groups: np.ndarray, thresholds: dict) -> np.ndarray:
    """Return class-conditional sets, bool [N, K]: each class is compared with the threshold of its group.

    groups: int [K], the group of each class (the class itself, or its family).
    thresholds: group -> Threshold; a class of a group without one is in every set.
    """
    inside = np.ones(scores.shape, dtype=bool)
    for k in range(scores.shape[1]):
        threshold = thresholds.get(int(groups[k]))
        if threshold is not None:
            inside[:, k] = sets(scores[:, k : k + 1], ties[:, k : k + 1], threshold)[:, 0]
    return inside
