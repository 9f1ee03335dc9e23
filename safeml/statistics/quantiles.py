"""Quantiles of values that are clustered by sign, with an interval. Legend: N images, C sign tracks."""

from __future__ import annotations

import numpy as np

from safeml.errors import StageError
from safeml.results import Direction, Metric, Unit
from safeml.statistics.clusters import UNKNOWN, Clustering, Clusters, clusters_of, design_effect
from safeml.statistics.exact import clopper_pearson
from safeml.statistics.proportions import NO_IMAGES, UNKNOWN_CLUSTERING

METHOD = "inversion of the exact binomial interval at n/DEFF of the share of values at most x"
# Order statistics at which the share is tested on each side of the quantile; between them an end moves outwards.
TESTED = 120


def quantile_metric(
    name: str,
    title: str,
    values: np.ndarray,
    share: float,
    *,
    clustering: Clustering = UNKNOWN,
    direction: Direction = "down",
    unit: Unit = "target",
    slice: str = "all",
    level: float = 0.95,
) -> Metric:
    """Return the quantile of `values` (float [N], finite) with its interval.

    The quantile is the smallest value x of the sample with a share of at least `share` (0..1, exclusive) of the values at most x.
    Its interval inverts that of a proportion: the upper end is the smallest x of the sample from which on the lower end of the
    share of values at most x is at least `share`; the lower end is the largest x up to which the upper end of the share of
    values below x is at most `share`. The interval of the share is that of `proportion_metric`, with the design effect at each x, so
    that the frames of one sign count as far as they differ. No distribution is assumed.

    Where too few sign tracks lie beyond the quantile, no value of the sample is an end, and the metric has no interval: then no
    gate passes.

    Raises: StageError where a value is not finite, `share` is not inside 0..1, or the clustering does not fit.

    References: R. S. Woodruff, "Confidence intervals for medians and other position measures", Journal of the American Statistical
    Association, 1952; C. A. Francisco, W. A. Fuller, "Quantile estimation with a complex survey design", The Annals of Statistics,
    1991; E. L. Korn, B. I. Graubard, Survey Methodology, 1998 (the interval of the share).
    """
    values = np.asarray(values, dtype=float)
    if values.ndim != 1 or not np.isfinite(values).all():
        raise StageError(f"{name}: values are not all finite in one row; check what was measured.")
    if not 0 < share < 1:
        raise StageError(f"{name}: the share is {share}; expected a number between 0 and 1.")
    n = len(values)
    if n == 0:
        return Metric.undefined(
            name, title, NO_IMAGES, direction=direction, unit=unit, slice=slice, level=level
        )
    clusters = clusters_of(name, n, clustering)
    ordered = np.sort(values)
    value = float(ordered[_rank(n, share)])
    low = high = None
    method = UNKNOWN_CLUSTERING
    if clusters.kind != "unknown":
        low, high = (
            _low_end(values, ordered, share, clusters, level),
            _high_end(values, ordered, share, clusters, level),
        )
        method = METHOD
        if low is None or high is None:
            signs = f"{clusters.signs:,.0f} sign tracks" if clusters.signs is not None else "the images"
            method = f"none: {signs} are too few for the {100 * share:g} % quantile at a level of {100 * level:g} %"
            low = high = None
    return Metric(
        name=name,
        title=title,
        value=value,
        low=low,
        high=high,
        level=level,
        method=method,
        n=n,
        signs=clusters.signs,
        clustering=clusters.kind,
        direction=direction,
        unit=unit,
        slice=slice,
    )


def _rank(n: int, share: float) -> int:
    """Return the place of the quantile among n sorted values, 0..n-1; rounding of share * n does not move it."""
    return min(n - 1, max(0, int(np.ceil(share * n - 1e-9)) - 1))


def _share_ends(hits: np.ndarray, clusters: Clusters, level: float) -> tuple[float, float]:
    """Return the interval of the share of `hits` (bool [N]), as `proportion_metric`."""
    own = hits.astype(float)
    return clopper_pearson(float(own.mean()), clusters.n / design_effect(own, clusters, level), level)


def _high_end(
    values: np.ndarray, ordered: np.ndarray, share: float, clusters: Clusters, level: float
) -> float | None:
    """Return the smallest tested value from which on the share of values at most x is proven; None if none is."""
    end = None
    for x in _tested(ordered[_rank(len(ordered), share) :])[::-1]:
        if _share_ends(values <= x, clusters, level)[0] < share:
            break
        end = float(x)
    return end


def _low_end(
    values: np.ndarray, ordered: np.ndarray, share: float, clusters: Clusters, level: float
) -> float | None:
    """Return the largest tested value up to which the share of values below x is proven to be at most `share`; None if none is."""
    end = None
    for x in _tested(ordered[: _rank(len(ordered), share) + 1]):
        if _share_ends(values < x, clusters, level)[1] > share:
            break
        end = float(x)
    return end


def _tested(ordered: np.ndarray) -> np.ndarray:
    """Return at most TESTED of some sorted values, the first and the last among them, each once."""
    places = np.linspace(0, len(ordered) - 1, min(TESTED, len(ordered))).astype(int)
    return np.unique(ordered[places])
