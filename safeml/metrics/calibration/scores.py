"""Proper scoring rules: the negative log-likelihood and the Brier score with its parts. Legend: N images, K classes, B bins."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from safeml.metrics.calibration.forecasts import Forecasts

BINS = 15


def label_losses(made: Forecasts) -> np.ndarray:
    """Return float64 [N] of at least 0, in nats: minus the log-probability of the true class; inf where it is 0."""
    return np.asarray(0.0 - made.log_probabilities[np.arange(len(made)), made.labels])


def nll_loss(made: Forecasts) -> float:
    """Return the mean negative log-likelihood in nats; inf where a true class has the probability 0."""
    return float(label_losses(made).mean())


def expected_nll(made: Forecasts) -> float:
    """Return the NLL that a perfectly calibrated model with these probabilities expects: the mean entropy, in nats."""
    probabilities = made.probabilities
    logs = np.where(probabilities > 0, made.log_probabilities, 0.0)
    return float(-(probabilities * logs).sum(axis=1).mean())


def squared_errors(made: Forecasts) -> np.ndarray:
    """Return float64 [N], 0..2: the squared distance of the probabilities from the true class."""
    probabilities = made.probabilities
    of_label = probabilities[np.arange(len(made)), made.labels]
    return np.asarray((probabilities**2).sum(axis=1) - 2 * of_label + 1)


def brier_loss(made: Forecasts) -> float:
    """Return the Brier score of all classes, 0..2 (G. W. Brier, "Verification of forecasts expressed in terms of probability", 1950)."""
    return float(squared_errors(made).mean())


def expected_brier(made: Forecasts) -> float:
    """Return the Brier score that a perfectly calibrated model with these probabilities expects: the mean of 1 - sum p^2."""
    return float((1 - (made.probabilities**2).sum(axis=1)).mean())


@dataclass(frozen=True)
class BrierParts:
    """Brier score = reliability - resolution + uncertainty + within, each summed over the classes.

    reliability: squared distance of bin confidence and bin frequency; 0 is perfect.
    resolution: squared distance of bin frequency and overall frequency; larger is better.
    uncertainty: of the labels alone.
    within: what the spread of probabilities inside a bin adds; 0 where each bin holds one value.
    """

    reliability: float
    resolution: float
    uncertainty: float
    within: float


def brier_parts(made: Forecasts, bins: int = BINS) -> BrierParts:
    """Split the Brier score by equal-width bins of each class.

    References: A. H. Murphy, "A new vector partition of the probability score", 1973; D. B. Stephenson, C. A. S. Coelho,
    I. T. Jolliffe, "Two extra components in the Brier score decomposition", 2008.
    """
    N, K = made.log_probabilities.shape
    cells = class_cells(made.probabilities, bins)
    count = np.bincount(cells.ravel(), minlength=K * bins).reshape(K, bins)
    total = np.bincount(cells.ravel(), made.probabilities.ravel(), K * bins).reshape(K, bins)
    hits = np.bincount(cells[np.arange(N), made.labels], minlength=K * bins).reshape(K, bins)
    base = hits.sum(axis=1) / N
    filled = np.maximum(count, 1)
    confidence, frequency = total / filled, hits / filled
    reliability = float((count * (confidence - frequency) ** 2).sum() / N)
    resolution = float((count * (frequency - base[:, None]) ** 2).sum() / N)
    uncertainty = float((base * (1 - base)).sum())
    within = brier_loss(made) - (reliability - resolution + uncertainty)
    return BrierParts(reliability, resolution, uncertainty, within)


def class_cells(probabilities: np.ndarray, bins: int) -> np.ndarray:
    """Return the number of the equal-width bin of each probability, int64 [N, K]: class * bins + bin; 1 is in the last bin."""
    inside = np.minimum((probabilities * bins).astype(np.int64), bins - 1)
    return np.asarray(inside + bins * np.arange(probabilities.shape[1]))
