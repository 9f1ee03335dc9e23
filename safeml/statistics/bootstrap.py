"""Intervals of any statistic by resampling whole sign tracks. Legend: N images, C signs, M images of one resample, R resamples."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np
from scipy.special import ndtr, stdtrit

from safeml.results import Direction, Metric, Unit
from safeml.statistics.clusters import UNKNOWN, Clustering, Clusters, clusters_of
from safeml.statistics.proportions import NO_IMAGES, UNKNOWN_CLUSTERING

METHOD = "percentile bootstrap over signs, centred on the value"
NO_VARIATION = "none: every resample gives the same value, which gives no information about its error"
TOO_FEW = "none: fewer than two signs cannot be resampled"


def bootstrap_metric(
    name: str,
    title: str,
    statistic: Callable[[np.ndarray], float],
    n: int,
    *,
    clustering: Clustering = UNKNOWN,
    direction: Direction,
    unit: Unit,
    seed: int,
    resamples: int = 1000,
    level: float = 0.95,
    slice: str = "all",
    bounds: tuple[float, float] = (-math.inf, math.inf),
) -> Metric:
    """`statistic` (row numbers int64 [M], 0..n-1 -> float) of all `n` images, with its bootstrap interval.

    With known tracks, whole signs are drawn with replacement. With declared frames of one sign, single images are
    drawn, as many as there are signs (M = n / frames_per_sign): the width if the frames of a sign add nothing. Percentiles
    are widened for few signs (Hesterberg, 2015), shifted so that the mean of the resamples is the measured value (a
    statistic that is biased in small samples, such as ECE, would be biased twice), and cut at `bounds`, its range.

    No interval is given where clustering is unknown, or where no resample differs: for a mean cost that no image
    incurs, use `mean_metric`, which knows the cost that could have been. A statistic that is undefined on the images or
    on any resample makes the metric undefined. `seed` >= 0 fixes the draws; equal seeds draw equal rows.

    References: B. Efron, R. J. Tibshirani, "An Introduction to the Bootstrap", 1993; P. J. Bickel, F. Götze,
    W. R. van Zwet, "Resampling fewer than n observations", Statistica Sinica, 1997; T. C. Hesterberg, "What teachers
    should know about the bootstrap", The American Statistician, 2015.
    """
    clusters = clusters_of(name, n, clustering)
    value = float(statistic(np.arange(n))) if n else math.nan

    def draws() -> np.ndarray:
        return np.array([float(statistic(rows)) for rows in _resamples(clusters, resamples, seed)])

    return _metric(name, title, value, draws, clusters, direction, unit, level, slice, bounds)


def drawn_metric(
    name: str,
    title: str,
    value: float,
    draws: np.ndarray,
    n: int,
    *,
    clustering: Clustering = UNKNOWN,
    direction: Direction,
    unit: Unit,
    level: float = 0.95,
    slice: str = "all",
    bounds: tuple[float, float] = (-math.inf, math.inf),
) -> Metric:
    """Return the metric of `bootstrap_metric` from a statistic that was already computed on each resample.

    value: the statistic of all `n` images.
    draws: float [R], the statistic of each resample of `resample_counts`; unused where the clustering is unknown.
    """
    clusters = clusters_of(name, n, clustering)
    return _metric(
        name, title, value, lambda: np.asarray(draws), clusters, direction, unit, level, slice, bounds
    )


def resample_counts(n: int, clustering: Clustering, seed: int, resamples: int) -> np.ndarray:
    """Return how often each image is in each resample of `bootstrap_metric`, float64 [R, N].

    A matrix product with it sums the values of many statistics at once. Shape [0, N] where the clustering is unknown or has
    fewer than two signs, so that no interval is given.
    """
    clusters = clusters_of("resamples", n, clustering)
    if clusters.signs is None or clusters.signs < 2:
        return np.zeros((0, n))
    return np.array(
        [np.bincount(rows, minlength=n) for rows in _resamples(clusters, resamples, seed)], np.float64
    )


def _metric(
    name: str,
    title: str,
    value: float,
    resampled: Callable[[], np.ndarray],
    clusters: Clusters,
    direction: Direction,
    unit: Unit,
    level: float,
    slice: str,
    bounds: tuple[float, float],
) -> Metric:
    n = clusters.n

    def metric(
        value: float | None,
        ends: tuple[float, float] | tuple[None, None] = (None, None),
        method: str = "",
        reason: str = "",
    ) -> Metric:
        return Metric(
            name=name,
            title=title,
            value=value,
            status="undefined" if reason else "ok",
            reason=reason,
            low=ends[0],
            high=ends[1],
            level=level,
            method=method,
            n=n,
            signs=clusters.signs,
            clustering=clusters.kind,
            direction=direction,
            unit=unit,
            slice=slice,
        )

    if n == 0:
        return metric(None, reason=NO_IMAGES)
    if not math.isfinite(value):
        return metric(None, reason=f"the statistic is not finite on the {n} images")
    signs = clusters.signs
    if signs is None:
        return metric(value, method=UNKNOWN_CLUSTERING)
    if signs < 2:
        return metric(value, method=TOO_FEW)
    draws = resampled()
    undefined = int(np.count_nonzero(~np.isfinite(draws)))
    if undefined:
        return metric(None, reason=f"the statistic is not finite on {undefined} of {len(draws)} resamples")
    if np.ptp(draws) <= 1e-12 * max(1.0, abs(value)):
        return metric(value, method=NO_VARIATION)
    tail = _tail(signs, level)
    low, high = np.quantile(draws, [tail, 1 - tail]) + (value - draws.mean())
    ends = float(max(min(low, value), bounds[0])), float(min(max(high, value), bounds[1]))
    return metric(value, ends, METHOD)


def _resamples(clusters: Clusters, resamples: int, seed: int) -> Iterator[np.ndarray]:
    """Row numbers of each of R resamples."""
    rng = np.random.default_rng(seed)
    if clusters.codes is None or clusters.sizes is None:
        images = round(clusters.n / clusters.frames)
        for _ in range(resamples):
            yield rng.integers(clusters.n, size=images)
        return
    rows_by_sign = np.argsort(clusters.codes, kind="stable")
    sizes = clusters.sizes.astype(np.int64)
    first = np.cumsum(sizes) - sizes
    for _ in range(resamples):
        drawn = rng.integers(len(sizes), size=len(sizes))
        before = np.cumsum(sizes[drawn]) - sizes[drawn]
        yield rows_by_sign[np.repeat(first[drawn] - before, sizes[drawn]) + np.arange(sizes[drawn].sum())]


def _tail(signs: float, level: float) -> float:
    """The percentile whose normal quantile is the t quantile of C - 1 degrees of freedom, widened by sqrt(C / (C - 1))."""
    return float(ndtr(math.sqrt(signs / (signs - 1)) * stdtrit(signs - 1, (1 - level) / 2)))
