"""Proportions in which each sign track counts once, whatever its number of frames. Legend: N images, C sign tracks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from safeml.results import Direction, Metric
from safeml.statistics.clusters import UNKNOWN, Clustering, clusters_of, effect_of_totals
from safeml.statistics.exact import clopper_pearson
from safeml.statistics.proportions import METHOD, NO_IMAGES, proportion_metric

UNKNOWN_TRACKS = "each sign track counts once, and the data have no track ids"
# The largest sign track in units of the typical one, above which the frames of one sign can dominate a mean.
UNEQUAL = 3.0


@dataclass(frozen=True)
class UnequalTracks:
    """The frames of the largest and of the typical sign track, where they differ by more than UNEQUAL."""

    largest: int
    typical: float


def proportion_by_sign_metric(
    name: str,
    title: str,
    hits: np.ndarray,
    *,
    clustering: Clustering = UNKNOWN,
    direction: Direction = "up",
    slice: str = "all",
    level: float = 0.95,
) -> Metric:
    """Return the mean over sign tracks of the share of true `hits` in each track, with its interval.

    hits: bool [N].

    Each track is one observation in 0..1, so a long track cannot hide the errors of short ones or dominate them. The
    interval is that of `proportion_metric` for C tracks of N / C frames; where tracks have one size, both metrics are equal.
    Undefined without track ids, unless images are declared independent.

    Raises: StageError where `hits` is not a bool vector, or the clustering does not fit it.
    """
    clusters = clusters_of(name, len(hits), clustering)
    if clusters.kind == "independent":
        return proportion_metric(
            name, title, hits, clustering=clustering, direction=direction, slice=slice, level=level
        )
    if clusters.sizes is None or clusters.n == 0:
        reason = NO_IMAGES if clusters.n == 0 else UNKNOWN_TRACKS
        return Metric.undefined(
            name, title, reason, direction=direction, slice=slice, level=level, n=clusters.n
        )
    of_frames = proportion_metric(
        name, title, hits, clustering=clustering, direction=direction, slice=slice, level=level
    )
    shares = clusters.totals(hits.astype(float)) / clusters.sizes
    signs = len(shares)
    mean = float(shares.mean())
    frames = clusters.n / signs
    effect = frames if signs < 2 else effect_of_totals(frames * shares, np.full(signs, frames), level)
    low, high = clopper_pearson(mean, clusters.n / effect, level)
    return of_frames.model_copy(
        update={
            "value": mean,
            "low": min(low, mean),
            "high": max(high, mean),
            "design_effect": effect,
            "method": f"{METHOD}; each sign track counts once",
        }
    )


def unequal_tracks(clustering: Clustering) -> UnequalTracks | None:
    """Return the sizes of the largest and the median sign track if the largest is over UNEQUAL times the median."""
    if clustering.tracks is None or len(clustering.tracks) == 0:
        return None
    sizes = np.unique(clustering.tracks, return_counts=True)[1]
    typical = float(np.median(sizes))
    return UnequalTracks(int(sizes.max()), typical) if sizes.max() > UNEQUAL * typical else None
