"""Two models, or one model before and after a change, on the same images. Legend: N images, C signs."""

from __future__ import annotations

import math

import numpy as np

from safeml.errors import StageError
from safeml.results import Metric
from safeml.statistics.clusters import UNKNOWN, Clustering, Clusters, clusters_of, design_effect
from safeml.statistics.exact import clopper_pearson
from safeml.statistics.proportions import NO_IMAGES, UNKNOWN_CLUSTERING

METHOD = "difference of the two flip rates, each exact at n/DEFF (MOVER)"


def paired_difference_metric(
    name: str,
    title: str,
    before: np.ndarray,
    after: np.ndarray,
    *,
    clustering: Clustering = UNKNOWN,
    slice: str = "all",
    level: float = 0.95,
) -> Metric:
    """The drop of accuracy, mean(before) - mean(after), with its interval; positive is a loss. before, after: bool [N].

    The drop is the rate of images lost (classified correctly, then incorrectly) minus the rate of images won. Each rate gets the exact interval
    at its own effective sample size (`clusters.design_effect`), and the two are combined by the method of variance
    estimates recovery. Their correlation, estimated over signs, narrows the interval if positive; only a negative one,
    which widens it, is used. Two vectors that agree everywhere still get an interval: that of two rates of zero.

    Raises: StageError where the vectors are not bool of one length, or the clustering does not fit.

    References: G. Y. Zou, A. Donner, "Construction of confidence limits about effect measures: a general approach",
    Statistics in Medicine, 2008; R. G. Newcombe, "Improved confidence intervals for the difference between binomial
    proportions based on paired data", Statistics in Medicine, 1998.
    """
    lost_images, won_images = flips(name, before, after)
    n = len(lost_images)
    if n == 0:
        return Metric.undefined(name, title, NO_IMAGES, direction="down", slice=slice, level=level)
    clusters = clusters_of(name, n, clustering)
    lost, won = lost_images.astype(float), won_images.astype(float)
    low = high = None
    if clusters.kind != "unknown":
        low, high = _difference(lost, won, clusters, level)
    return Metric(
        name=name,
        title=title,
        value=float(lost.mean() - won.mean()),
        low=low,
        high=high,
        method=UNKNOWN_CLUSTERING if low is None else METHOD,
        n=n,
        signs=clusters.signs,
        level=level,
        clustering=clusters.kind,
        direction="down",
        slice=slice,
    )


def flips(name: str, before: np.ndarray, after: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the images lost (classified correctly, then incorrectly) and won, each bool [N].

    Raises: StageError where the vectors are not bool of one length.
    """
    before, after = np.asarray(before), np.asarray(after)
    if before.dtype != np.bool_ or after.dtype != np.bool_ or before.ndim != 1 or before.shape != after.shape:
        raise StageError(
            f"{name}: before is {before.dtype} {list(before.shape)}, after {after.dtype} {list(after.shape)}; "
            "expected two bool vectors of the same images."
        )
    return before & ~after, ~before & after


def _difference(a: np.ndarray, b: np.ndarray, clusters: Clusters, level: float) -> tuple[float, float]:
    """Interval of mean(a) - mean(b) for float [N] in 0..1."""
    mean_a, mean_b = float(a.mean()), float(b.mean())
    low_a, high_a = clopper_pearson(mean_a, clusters.n / design_effect(a, clusters, level), level)
    low_b, high_b = clopper_pearson(mean_b, clusters.n / design_effect(b, clusters, level), level)
    r = min(0.0, _correlation(a, b, clusters))
    down = _hypotenuse(mean_a - low_a, high_b - mean_b, r)
    up = _hypotenuse(high_a - mean_a, mean_b - low_b, r)
    return max(-1.0, mean_a - mean_b - down), min(1.0, mean_a - mean_b + up)


def _hypotenuse(x: float, y: float, r: float) -> float:
    return math.sqrt(x * x + y * y - 2 * r * x * y)


def _correlation(a: np.ndarray, b: np.ndarray, clusters: Clusters) -> float:
    """Correlation of the two sums over signs; 0 where one of them does not vary."""
    if clusters.codes is not None and clusters.sizes is not None:
        a = clusters.totals(a) - a.mean() * clusters.sizes
        b = clusters.totals(b) - b.mean() * clusters.sizes
    a, b = a - a.mean(), b - b.mean()
    scale = math.sqrt(float(a @ a) * float(b @ b))
    return 0.0 if scale == 0 else float(a @ b) / scale
