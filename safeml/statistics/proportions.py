"""Proportions, and means of bounded values, with an exact interval at the effective sample size. Legend: N images."""

from __future__ import annotations

from typing import Literal

import numpy as np

from safeml.errors import StageError
from safeml.results import Metric
from safeml.statistics.clusters import clusters_of, design_effect
from safeml.statistics.exact import clopper_pearson

Direction = Literal["up", "down"]
Unit = Literal["proportion", "count", "ratio", "cost"]

METHOD = "Clopper-Pearson at n/DEFF"
UNKNOWN_CLUSTERING = "none: tracks are unknown and frames_per_sign is not declared"


def proportion_metric(
    name: str,
    title: str,
    hits: np.ndarray,
    *,
    tracks: np.ndarray | None = None,
    frames_per_sign: float | None = None,
    direction: Direction = "up",
    slice: str = "all",
    level: float = 0.95,
) -> Metric:
    """The share of true `hits` (bool [N]) with its interval.

    The interval is Clopper and Pearson's at N divided by the design effect (`clusters.design_effect`): from `tracks`
    (int [N]) where they are known, else from the declared `frames_per_sign` as if each sign were wholly right or wrong; 1
    declares independent images. Where signs differ much in frames, declare those of the sign that an average frame shows
    (the sum of squares over the sum), which is more than the mean. Where neither is given, the value has no interval, and no gate passes on it. For
    signs of one size without any error, the lower bound is ((1 - level) / 2) ** (1 / signs).

    Raises: StageError where `hits` is not a bool vector, or the tracks do not fit it.
    """
    hits = np.asarray(hits)
    if hits.dtype != np.bool_ or hits.ndim != 1:
        raise StageError(f"{name}: hits are {hits.dtype} {list(hits.shape)}; expected bool [N].")
    return mean_metric(
        name,
        title,
        hits.astype(float),
        upper=1.0,
        tracks=tracks,
        frames_per_sign=frames_per_sign,
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
    tracks: np.ndarray | None = None,
    frames_per_sign: float | None = None,
    direction: Direction,
    unit: Unit,
    slice: str = "all",
    level: float = 0.95,
) -> Metric:
    """The mean of `values` (float [N] in 0..upper), for example a cost of each image, with its interval.

    The mean divided by `upper` is treated as a proportion: of all values in 0..upper with that mean, those that are
    either 0 or upper vary most, so the interval is on the safe side, also when no image costs anything.

    Raises: StageError where a value is not finite or outside 0..upper, or the tracks do not fit.
    """
    values = np.asarray(values, dtype=float)
    if values.ndim != 1 or not (np.isfinite(values) & (values >= 0) & (values <= upper)).all():
        raise StageError(
            f"{name}: values are not all finite and in 0-{upper:g} in one row; check what was measured."
        )
    n = len(values)
    if n == 0:
        reason = "there are no images in this slice"
        return Metric(
            name=name,
            title=title,
            value=None,
            status="undefined",
            reason=reason,
            level=level,
            direction=direction,
            unit=unit,
            slice=slice,
        )
    clusters = clusters_of(name, n, tracks, frames_per_sign)
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
