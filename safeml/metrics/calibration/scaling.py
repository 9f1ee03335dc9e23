"""Calibration of a trained model: temperature, vector and isotonic scaling, fitted on logits. Legend: N images, K classes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq, minimize

from safeml.errors import StageError
from safeml.metrics.calibration.forecasts import Forecasts, forecasts, log_softmax

WIDEST = 1e6
# Pulls the vector towards no change: 2K numbers are fitted, often on fewer signs than that.
PULL = 1e-3


@dataclass(frozen=True)
class Temperature:
    """Logits are divided by `value` > 0. The predicted class never changes."""

    value: float

    def apply(self, logits: np.ndarray) -> np.ndarray:
        """Return float64 [N, K]."""
        return np.asarray(np.asarray(logits, np.float64) / self.value)


def fit_temperature(logits: np.ndarray, labels: np.ndarray) -> Temperature:
    """Return the temperature of the smallest NLL.

    logits: float [N, K], finite.
    labels: int [N], 0..K-1.

    The NLL is convex in 1 / temperature; the root of its derivative is sought between 1e-6 and 1e6 of the scale of the
    logits. Raises StageError where no temperature is best: every image is classified correctly, or the logits carry no
    information about the labels.

    Reference: C. Guo, G. Pleiss, Y. Sun, K. Q. Weinberger, "On calibration of modern neural networks", 2017.
    """
    _finite(logits, labels)
    values = np.asarray(logits, np.float64)
    values = values - values.max(axis=1, keepdims=True)
    of_label = values[np.arange(len(values)), labels]
    scale = float(np.abs(values).max())

    def slope(inverse: float) -> float:
        chances = np.exp(log_softmax(values * inverse))
        return float(((chances * values).sum(axis=1) - of_label).mean())

    if scale == 0 or slope(1 / (WIDEST * scale)) >= 0:
        raise StageError(
            "calibration: no temperature fits; the logits carry no information about the labels."
        )
    if (of_label == 0).all() or slope(WIDEST / scale) <= 0:
        raise StageError(
            f"calibration: no temperature is best; all {len(values)} images for fitting are classified correctly, "
            "so every lower temperature fits better. Use more images for fitting."
        )
    return Temperature(1 / float(brentq(slope, 1 / (WIDEST * scale), WIDEST / scale, rtol=1e-12)))


@dataclass(frozen=True, eq=False)
class Vector:
    """Each logit is multiplied by its weight, and its bias is added. The predicted class may change.

    weights, biases: float64 [K].
    """

    weights: np.ndarray
    biases: np.ndarray

    def apply(self, logits: np.ndarray) -> np.ndarray:
        """Return float64 [N, K]."""
        return np.asarray(np.asarray(logits, np.float64) * self.weights + self.biases)


def fit_vector(logits: np.ndarray, labels: np.ndarray) -> Vector:
    """Return the weights and biases of the smallest NLL plus a small quadratic pull towards 1 and 0.

    logits: float [N, K], finite.
    labels: int [N], 0..K-1. A class without images keeps finite numbers, because of the pull.

    Reference: C. Guo et al., "On calibration of modern neural networks", 2017.
    """
    _finite(logits, labels)
    values = np.asarray(logits, np.float64)
    N, K = values.shape
    centre = np.concatenate([np.ones(K), np.zeros(K)])
    truth = np.zeros((N, K))
    truth[np.arange(N), labels] = 1

    def loss(numbers: np.ndarray) -> tuple[float, np.ndarray]:
        logs = log_softmax(values * numbers[:K] + numbers[K:])
        errors = (np.exp(logs) - truth) / N
        away = numbers - centre
        gradient = np.concatenate([(errors * values).sum(axis=0), errors.sum(axis=0)]) + PULL * away
        return float(-logs[np.arange(N), labels].mean() + PULL / 2 * away @ away), gradient

    fitted = minimize(loss, centre, jac=True, method="L-BFGS-B", options={"maxiter": 500})
    return Vector(fitted.x[:K].copy(), fitted.x[K:].copy())


@dataclass(frozen=True, eq=False)
class Isotonic:
    """A rising step function from the log-odds of the predicted class to its confidence. The predicted class never changes.

    starts: float64 [S], rising, the log-odds at which each step starts.
    confidence: float64 [S], rising, 0..1.
    """

    starts: np.ndarray
    confidence: np.ndarray

    def apply(self, log_odds: np.ndarray) -> np.ndarray:
        """Return the confidence, float64 [N], of log-odds float64 [N]; below the first step it is that of the first step."""
        step = np.searchsorted(self.starts, log_odds, side="right") - 1
        return np.asarray(self.confidence[np.maximum(step, 0)])


def fit_isotonic(made: Forecasts) -> Isotonic:
    """Fit the confidence of the predicted class by pooling adjacent violators on its log-odds.

    It gives a confidence for the predicted class, and no probabilities of the other classes.

    Reference: B. Zadrozny, C. Elkan, "Transforming classifier scores into accurate multiclass probability estimates", 2002.
    """
    starts, group, size = np.unique(made.log_odds, return_inverse=True, return_counts=True)
    hits = np.bincount(group, made.hits.astype(float))
    blocks: list[tuple[float, float, float]] = []
    for start, total, count in zip(starts.tolist(), hits.tolist(), size.tolist(), strict=True):
        first, summed, images = start, total, float(count)
        while blocks and blocks[-1][1] * images >= summed * blocks[-1][2]:
            first, before, more = blocks.pop()
            summed, images = summed + before, images + more
        blocks.append((first, summed, images))
    edges, totals, counts = (np.array(column) for column in zip(*blocks, strict=True))
    return Isotonic(edges, totals / counts)


def _finite(logits: np.ndarray, labels: np.ndarray) -> None:
    """Raise StageError for logits that cannot be fitted."""
    forecasts(logits, labels)
    if not np.isfinite(logits).all():
        raise StageError(
            "calibration: a logit for fitting is infinite; give finite logits, not logarithms of 0."
        )
