"""Observers: from the magnitudes of a tensor to the largest one that INT8 codes represent. Legend: B bins.

An observer reads the histogram of |x| over equal bins of 0..largest. Counts are integers, so the result depends neither on
the order of the images nor on their batches. The range is that of all images: a first pass measures it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from safeml.config.quantization import CalibrationSettings

BINS = 8192
CODES = 127  # on each side of zero
# The scale of a tensor that is zero on all images: any serves, and a tiny one would overflow the int32 bias.
ZERO_SCALE = 1.0
# A candidate threshold has at least a bin for each code; below it, the histogram says nothing about rounding.
CANDIDATES = 400


@dataclass(frozen=True, eq=False)
class Histogram:
    """The magnitudes of a tensor.

    counts: int64 [B], of |x| in B equal bins of 0..largest.
    largest: maximum of |x|, finite.
    """

    counts: np.ndarray
    largest: float

    @property
    def width(self) -> float:
        """The width of a bin."""
        return self.largest / len(self.counts)

    @property
    def centres(self) -> np.ndarray:
        """float64 [B]: the centre of each bin."""
        return (np.arange(len(self.counts)) + 0.5) * self.width


def observed(histogram: Histogram, settings: CalibrationSettings) -> float:
    """Return the largest magnitude that codes represent, by the observer of `settings`; 0 for a tensor of zeros."""
    if histogram.largest == 0:
        return 0.0
    return OBSERVERS[settings.observer](histogram, settings)


def _max(histogram: Histogram, settings: CalibrationSettings) -> float:
    return histogram.largest


def _percentile(histogram: Histogram, settings: CalibrationSettings) -> float:
    """The upper end of the first bin below which `percentile` per cent of the magnitudes lie."""
    if settings.percentile == 100:
        return histogram.largest
    covered = np.cumsum(histogram.counts)
    wanted = settings.percentile / 100 * covered[-1]
    return float((np.searchsorted(covered, wanted) + 1) * histogram.width)


def _mse(histogram: Histogram, settings: CalibrationSettings) -> float:
    """The threshold of the smallest mean squared error of rounding and clipping."""
    filled = np.flatnonzero(histogram.counts)
    values, counts = histogram.centres[filled], histogram.counts[filled]
    thresholds = _candidates(len(histogram.counts)) * histogram.width
    errors = [_squared_error(values, counts, threshold) for threshold in thresholds]
    return float(thresholds[int(np.argmin(errors))])


def _squared_error(values: np.ndarray, counts: np.ndarray, threshold: float) -> float:
    scale = threshold / CODES
    rounded = np.minimum(np.rint(values / scale), CODES) * scale
    return float(counts @ np.square(values - rounded))


def _entropy(histogram: Histogram, settings: CalibrationSettings) -> float:
    """The threshold of the smallest Kullback-Leibler divergence of the coarse distribution from the clipped one.

    S. Migacz, "8-bit inference with TensorRT", 2017. As there, the bin of zero counts as its neighbour, because zero is
    exact at any scale.
    """
    counts = histogram.counts.astype(np.float64)
    counts[0] = min(counts[0], counts[1])
    if not counts.any():
        return histogram.largest
    lengths = [length for length in _candidates(len(counts)) if counts[length - 1] > 0]
    if not lengths:
        return histogram.largest
    divergences = [_divergence(counts, length) for length in lengths]
    return float(lengths[int(np.argmin(divergences))] * histogram.width)


def _divergence(counts: np.ndarray, length: int) -> float:
    """Return KL(P, Q): P the first `length` bins with the rest added to the last, Q those bins merged into 128 levels."""
    first = counts[:length]
    clipped = first.copy()
    clipped[-1] += counts[length:].sum()
    level = np.arange(length) * (CODES + 1) // length
    filled = first > 0
    mass = np.bincount(level, first, CODES + 1)
    share = np.bincount(level, filled, CODES + 1)
    coarse = np.where(filled, mass[level] / np.maximum(share[level], 1), 0.0)
    p, q = clipped[filled] / clipped.sum(), coarse[filled] / coarse.sum()
    return float(np.sum(p * np.log(p / q)))


def _candidates(bins: int) -> np.ndarray:
    """Return the numbers of bins that a threshold may cover, int64 ascending to `bins`, in steps of about a per cent."""
    return np.unique(np.rint(np.geomspace(CODES + 1, bins, CANDIDATES)).astype(np.int64))


OBSERVERS: dict[str, Callable[[Histogram, CalibrationSettings], float]] = {
    "max": _max,
    "percentile": _percentile,
    "mse": _mse,
    "entropy": _entropy,
}
