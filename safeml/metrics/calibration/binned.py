"""Calibration errors in bins. Legend: N images, K classes, B bins.

Sources: M. P. Naeini, G. F. Cooper, M. Hauskrecht, "Obtaining well calibrated probabilities using Bayesian binning", 2015 (ECE);
A. Kumar, P. Liang, T. Ma, "Verified uncertainty calibration", 2019 (debiased); M. Kull et al., "Beyond temperature scaling",
2019 (classwise).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from safeml.metrics.calibration.scores import BINS, class_cells


@dataclass(frozen=True, eq=False)
class Bins:
    """Images by bin; empty bins are kept, with zeros.

    count: int64 [B].
    confidence: float64 [B], sum of the confidences.
    hits: float64 [B], number of correctly classified images.
    """

    count: np.ndarray
    confidence: np.ndarray
    hits: np.ndarray

    @property
    def gaps(self) -> np.ndarray:
        """Mean confidence minus accuracy, float64 [B]; 0 in an empty bin."""
        return np.asarray((self.confidence - self.hits) / np.maximum(self.count, 1))


def equal_width(confidence: np.ndarray, bins: int = BINS) -> np.ndarray:
    """Return the bin of each confidence, int64 [N], 0..B-1; a confidence of 1 is in the last bin. confidence: float [N], 0..1."""
    return np.asarray(np.minimum((confidence * bins).astype(np.int64), bins - 1))


def equal_mass(confidence: np.ndarray, bins: int = BINS) -> np.ndarray:
    """Return the bin of each confidence, int64 [N], 0..B-1, with about N / B images in each.

    Equal confidences share one bin, whatever the order of the images, so some bins may be empty. confidence: float [N].
    """
    _, group, size = np.unique(confidence, return_inverse=True, return_counts=True)
    middle = np.cumsum(size) - (size + 1) / 2
    return np.asarray(np.minimum(bins * middle / len(confidence), bins - 1).astype(np.int64)[group])


def fill(cells: np.ndarray, confidence: np.ndarray, hits: np.ndarray, bins: int = BINS) -> Bins:
    """Sum images into their bins. cells: int [N], 0..B-1; confidence: float [N]; hits: bool or float [N]."""
    return Bins(
        np.bincount(cells, minlength=bins),
        np.bincount(cells, confidence, bins),
        np.bincount(cells, np.asarray(hits, float), bins),
    )


def ece_error(filled: Bins) -> float:
    """Return the expected calibration error, 0..1: the mean distance of confidence and accuracy, by bin."""
    return float(np.abs(filled.confidence - filled.hits).sum() / filled.count.sum())


def resampled_ece(
    cells: np.ndarray, confidence: np.ndarray, hits: np.ndarray, counts: np.ndarray, bins: int = BINS
) -> np.ndarray:
    """Return the `ece_error` of each resample, float64 [R], in the bins of all images.

    cells: int64 [N], see `equal_mass`.
    confidence: float64 [N], 0..1.
    hits: bool [N], correctly classified.
    counts: float64 [R, N], how often each image is in each resample.
    """
    gaps = np.zeros((len(cells), bins))
    gaps[np.arange(len(cells)), cells] = confidence - hits
    return np.asarray(np.abs(counts @ gaps).sum(axis=1) / counts.sum(axis=1))


def debiased_error(filled: Bins) -> float:
    """Return the debiased root-mean-square calibration error, 0..1.

    The squared distance of each bin is reduced by the variance that chance gives it. A bin of one image has no such estimate
    and is not reduced. Below 0 in total it is 0.
    """
    count = np.maximum(filled.count, 1)
    accuracy = filled.hits / count
    chance = np.where(filled.count > 1, accuracy * (1 - accuracy) / np.maximum(filled.count - 1, 1), 0.0)
    mean = float((filled.count * (filled.gaps**2 - chance)).sum() / filled.count.sum())
    return float(np.sqrt(max(0.0, mean)))


def classwise_error(probabilities: np.ndarray, labels: np.ndarray, bins: int = BINS) -> float:
    """Return the classwise ECE, 0..1: the ECE of each class's probability in equal-width bins, averaged over the K classes.

    probabilities: float64 [N, K], 0..1.
    labels: int64 [N], 0..K-1.
    """
    return classwise_of_cells(class_cells(probabilities, bins), probabilities, labels, bins)


def classwise_of_cells(
    cells: np.ndarray, probabilities: np.ndarray, labels: np.ndarray, bins: int = BINS
) -> float:
    """Return `classwise_error` where the bins are known. cells: int64 [N, K], see `class_cells`."""
    N, K = probabilities.shape
    total = np.bincount(cells.ravel(), probabilities.ravel(), K * bins)
    hits = np.bincount(cells[np.arange(N), labels], minlength=K * bins)
    return float(np.abs(total - hits).sum() / (N * K))
