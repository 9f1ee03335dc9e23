"""All scores by name: their titles, what each needs, and one fit for all. Legend: N images, M fitting images, K classes, F features."""

from typing import NamedTuple, Optional

import numpy as np

from . import feature_scores, scores
from .errors import MonitorRefused


class Row(NamedTuple):
    """A score.

    title: in words.
    features: it needs the features of the penultimate layer.
    arrays: names of the fitted arrays that it reads; those of the reduction exist for many features alone.
    """

    title: str
    features: bool
    arrays: tuple = ()


REDUCTION = ("origin", "basis")
CLASSES = (*REDUCTION, "mean", "class_means", "class_whitening", "known")
BASELINE = "max_probability"
SCORES = {
    BASELINE: Row("maximum probability", False),
    "max_logit": Row("maximum logit", False),
    "energy": Row("energy", False),
    "entropy": Row("entropy", False),
    "mahalanobis": Row("Mahalanobis distance", True, CLASSES),
    "relative_mahalanobis": Row("relative Mahalanobis distance", True, (*CLASSES, "whitening")),
    "neighbours": Row("nearest neighbours", True, (*REDUCTION, "mean", "coreset")),
    "vim": Row("virtual-logit matching", True, ("mean", "vim_origin", "vim_basis", "vim_scale")),
}


def fit_scores(
    logits: np.ndarray, features: Optional[np.ndarray], labels: np.ndarray, classes: int, seed: int
) -> dict:
    """Fit every score and return the arrays of all, by name.

    logits: float [M, K], finite.
    features: float [M, F], finite; None where the model gives none, so that only scores of logits exist.
    labels: int [M], 0..K-1.
    """
    outputs = scores.checked(logits, classes, "logits")
    if features is None:
        return {}
    rows = scores.checked(features, 0, "features")
    if len(rows) != len(outputs):
        raise MonitorRefused(
            f"there are {len(rows)} rows of features and {len(outputs)} of logits; expected as many."
        )
    reduction = feature_scores.fit_reduction(rows)
    part = feature_scores.reduced(reduction, rows)
    arrays = dict(reduction)
    arrays.update(feature_scores.fit_mahalanobis(part, labels, classes))
    arrays.update(feature_scores.fit_neighbours(part, labels, classes, seed))
    arrays.update(feature_scores.fit_vim(outputs, rows))
    return arrays


def score(name: str, arrays: dict, logits: np.ndarray, features: Optional[np.ndarray] = None) -> np.ndarray:
    """Return the score `name`, float64 [N]; higher means more trust.

    arrays: of `fit_scores`.
    logits: float [N, K], finite. features: float [N, F], finite; None for a score of logits.
    Raises MonitorRefused for an unknown name, missing features, or an array of another size.
    """
    if name not in SCORES:
        raise MonitorRefused('the score is "{}"; expected one of {}.'.format(name, ", ".join(SCORES)))
    if not SCORES[name].features:
        function = getattr(scores, name)
        return np.asarray(function(logits))
    if features is None or "mean" not in arrays:
        raise MonitorRefused(f'the score "{name}" needs features, and there are none; use a score of logits.')
    if name == "vim":
        return feature_scores.vim(arrays, logits, np.asarray(features))
    rows = feature_scores.reduced(
        {key: arrays[key] for key in ("origin", "basis") if key in arrays}, np.asarray(features)
    )
    function = getattr(feature_scores, name)
    return np.asarray(function(arrays, rows))


def row_scores(
    name: str, arrays: dict, logits: np.ndarray, features: Optional[np.ndarray], parts: np.ndarray
) -> np.ndarray:
    """Return the score `name` as `score` does, where each row is that of a call with this row alone, to the bit.

    parts: `scores.logit_parts` of the logits.
    A product of many rows is rounded in another order than that of one, so a score of features is computed row by row.
    """
    if name in scores.PARTS:
        return np.asarray(parts[scores.PARTS.index(name)])
    if not SCORES[name].features:
        return score(name, arrays, logits)
    rows = [None if features is None else features[row : row + 1] for row in range(len(logits))]
    return np.concatenate([score(name, arrays, logits[row : row + 1], part) for row, part in enumerate(rows)])


def arrays_of(name: str, arrays: dict) -> dict:
    """Return the arrays that the score `name` reads; with them alone it gives the same values."""
    return {key: arrays[key] for key in SCORES[name].arrays if key in arrays}


def available(arrays: dict) -> tuple:
    """Return the names of the scores that these arrays allow."""
    return tuple(name for name, row in SCORES.items() if not row.features or "mean" in arrays)
