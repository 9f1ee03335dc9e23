"""A difference of two proportions of different images. Legend: N images of the first set, M images of the second."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np

from safeml.results import Direction, Metric
from safeml.statistics.clusters import UNKNOWN, Clustering
from safeml.statistics.proportions import NO_IMAGES, UNKNOWN_CLUSTERING, proportion_metric

METHOD = "difference of two independent proportions, each exact at n/DEFF (MOVER)"

Kind = Literal["tracks", "declared", "independent", "census", "unknown"]
# Least well known first.
KNOWN: tuple[Kind, ...] = ("unknown", "declared", "tracks", "independent", "census")


def independent_difference_metric(
    name: str,
    title: str,
    first: np.ndarray,
    second: np.ndarray,
    *,
    first_clustering: Clustering = UNKNOWN,
    second_clustering: Clustering = UNKNOWN,
    direction: Direction,
    slice: str = "all",
    level: float = 0.95,
) -> Metric:
    """Return mean(first) - mean(second), -1..1, with its interval. first: bool [N]. second: bool [M].

    Each proportion has the exact interval at its effective sample size (`proportion_metric`), and the two are combined by the
    method of variance estimates recovery. `n` counts the images of both sets; `signs` is the number of sign tracks of the
    smaller set. Without an interval if the clustering of one set is unknown; undefined if one set is empty.

    Raises: StageError where a vector is not bool, or the clustering does not fit it.

    References: G. Y. Zou, A. Donner, "Construction of confidence limits about effect measures: a general approach",
    Statistics in Medicine, 2008; R. G. Newcombe, "Interval estimation for the difference between independent proportions:
    comparison of eleven methods", Statistics in Medicine, 1998 (method 10, here with exact intervals).
    """
    one = proportion_metric(name, title, first, clustering=first_clustering, level=level)
    two = proportion_metric(name, title, second, clustering=second_clustering, level=level)
    n = len(first) + len(second)
    if one.value is None or two.value is None:
        return Metric.undefined(name, title, NO_IMAGES, direction=direction, slice=slice, level=level, n=n)
    low = high = None
    if one.low is not None and one.high is not None and two.low is not None and two.high is not None:
        value = one.value - two.value
        low = max(-1.0, value - math.hypot(one.value - one.low, two.high - two.value))
        high = min(1.0, value + math.hypot(one.high - one.value, two.value - two.low))
    signs = [part.signs for part in (one, two) if part.signs is not None]
    return Metric(
        name=name,
        title=title,
        value=one.value - two.value,
        low=low,
        high=high,
        level=level,
        method=UNKNOWN_CLUSTERING if low is None else METHOD,
        n=n,
        signs=min(signs) if len(signs) == 2 else None,
        clustering=_weaker(one.clustering, two.clustering),
        direction=direction,
        slice=slice,
    )


def _weaker(one: Kind, two: Kind) -> Kind:
    """Return the clustering that is known less well."""
    return min(one, two, key=KNOWN.index)
