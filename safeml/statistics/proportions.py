"""Proportions, and means of bounded values, with an exact interval at the effective sample size. Legend: N images."""

from __future__ import annotations

import numpy as np

from safeml.errors import StageError
from safeml.results import Direction, Metric, Unit
from safeml.statistics.clusters import UNKNOWN, Clustering, clusters_of, design_effect
from safeml.statistics.exact import clopper_pearson

METHOD = "Clopper-Pearson at n/DEFF"
NO_IMAGES = "there are no images in this slice"
UNKNOWN_CLUSTERING = "none: the data have no track ids and frames_per_sign is not set"


def proportion_metric(
    name: str,
    title: str,
    hits: np.ndarray,
    *,
    clustering: Clustering = UNKNOWN,
    direction: Direction = "up",
    slice: str = "all",
    level: float = 0.95,
) -> Metric:
    """The share of true `hits` (bool [N]) with its interval.

    The interval is Clopper and Pearson's at N divided by the design effect (`clusters.design_effect`). It comes from the
    tracks where they are known, else from the declared frames of one sign, as if each sign were classified correctly or
    incorrectly as a whole. Where the clustering is unknown, the value has no interval, and no gate passes on it. For
    signs of one size without any error, the lower bound is ((1 - level) / 2) ** (1 / signs).

    Raises: StageError where `hits` is not a bool vector, or the clustering does not fit it.
    """
    hits = np.asarray(hits)
    if hits.dtype != np.bool_ or hits.ndim != 1:
        raise StageError(f"{name}: hits are {hits.dtype} {list(hits.shape)}; expected bool [N].")
    return mean_metric(
        name,
        title,
        hits.astype(float),
        upper=1.0,
        clustering=clustering,
        direction=direction,
        unit="proportion",
        slice=slice,
        level=level,
    )


def mean_metric(
    name: str,
    title: str,
    values: np.ndarray,
    *,
    upper: float,
    clustering: Clustering = UNKNOWN,
    direction: Direction,
    unit: Unit,
    slice: str = "all",
    level: float = 0.95,
) -> Metric:
    """The mean of `values` (float [N] in 0..upper), for example a cost of each image, with its interval.

    The mean divided by `upper` is treated as a proportion: of all values in 0..upper with that mean, those that are
    either 0 or upper vary most, so the interval is on the safe side, also when no image costs anything.

    Raises: StageError where a value is not finite or outside 0..upper, or the clustering does not fit.
    """
    values = np.asarray(values, dtype=float)
    if values.ndim != 1 or not (np.isfinite(values) & (values >= 0) & (values <= upper)).all():
        raise StageError(
            f"{name}: values are not all finite and in 0-{upper:g} in one row; check what was measured."
        )
    n = len(values)
    if n == 0:
        return Metric.undefined(
            name, title, NO_IMAGES, direction=direction, unit=unit, slice=slice, level=level
        )
    clusters = clusters_of(name, n, clustering)
    share = float(values.mean()) / upper
    effect = low = high = None
    if clusters.kind != "unknown":
        effect = design_effect(values / upper, clusters, level)
        low, high = clopper_pearson(share, n / effect, level)
    return Metric(
        name=name,
        title=title,
        value=share * upper,
        low=None if low is None else low * upper,
        high=None if high is None else high * upper,
        level=level,
        method=UNKNOWN_CLUSTERING if effect is None else METHOD,
        n=n,
        signs=clusters.signs,
        design_effect=effect,
        clustering=clusters.kind,
        direction=direction,
        unit=unit,
        slice=slice,
    )
