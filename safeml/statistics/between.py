"""Proportions of several groups of images, and the largest difference and the smallest ratio between two of them.

Legend: N images, G groups, C sign tracks, U pairs of group and sign track.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from scipy.special import betaincinv, stdtrit

from safeml.errors import StageError
from safeml.results import Metric
from safeml.statistics.clusters import PSEUDO_SIGNS, UNKNOWN, Clustering, clusters_of
from safeml.statistics.proportions import UNKNOWN_CLUSTERING

LEVEL = 0.95
ONE_GROUP = "fewer than two groups have images"
PAIR_METHOD = (
    "each rate exact at n/DEFF, combined by MOVER (Zou and Donner, 2008; Donner and Zou, 2012); {end}: the worst end of all pairs "
    "at their own 95 %, which needs no correction (intersection-union test); the other end at Bonferroni level over {count} pairs"
)


@dataclass(frozen=True, eq=False)
class Groups:
    """The groups of N images, with the sign tracks of each.

    codes: int64 [N], 0..G-1, or -1 for an image of no group.
    names: G names.
    clustering: of the N images.
    """

    codes: np.ndarray
    names: tuple[str, ...]
    clustering: Clustering = UNKNOWN

    def __post_init__(self) -> None:
        codes = self.codes
        if (
            codes.ndim != 1
            or not np.issubdtype(codes.dtype, np.integer)
            or (codes.size and not -1 <= codes.min() <= codes.max() < len(self.names))
        ):
            raise StageError(
                f"groups: codes are {codes.dtype} {list(codes.shape)}; expected whole numbers of -1 to {len(self.names) - 1}."
            )

    @cached_property
    def kind(self) -> Literal["tracks", "declared", "independent", "unknown"]:
        """How the sign tracks are known, see `Clusters`."""
        return clusters_of("groups", len(self.codes), self.clustering).kind

    @cached_property
    def rows(self) -> np.ndarray:
        """Return the images of any group, int64 [M]."""
        return np.flatnonzero(self.codes >= 0)

    @cached_property
    def n(self) -> np.ndarray:
        """Return the images of each group, int64 [G]."""
        n: np.ndarray = np.bincount(self.codes[self.rows], minlength=len(self.names))
        return n

    @cached_property
    def signs(self) -> np.ndarray:
        """Return the sign tracks of each group, float64 [G]; NaN where nothing is known about them."""
        if self.kind == "tracks":
            return np.asarray(np.bincount(self._pairs[1], minlength=len(self.names)), float)
        if self.kind == "unknown":
            return np.full(len(self.names), np.nan)
        return np.asarray(self.n / self._frames)

    @cached_property
    def _frames(self) -> np.ndarray:
        """The declared frames of one sign, at most the images of the group, float64 [G]."""
        declared = float(self.clustering.frames_per_sign or 1.0)
        return np.asarray(np.clip(declared, 1.0, np.maximum(self.n, 1)))

    @cached_property
    def _pairs(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Each image's pair of group and track, int64 [M]; and for each pair its group, its track 0..C-1 and its frames, [U]."""
        assert self.clustering.tracks is not None
        tracks = np.unique(self.clustering.tracks[self.rows], return_inverse=True)[1]
        count = int(tracks.max(initial=-1)) + 1
        keys, place, sizes = np.unique(
            self.codes[self.rows] * count + tracks, return_inverse=True, return_counts=True
        )
        return place, keys // max(count, 1), keys % max(count, 1), sizes.astype(float)

    def rates(self, hits: np.ndarray) -> Rates:
        """Return the share of true `hits` (bool [N]) in each group."""
        if hits.dtype != np.bool_ or hits.shape != self.codes.shape:
            raise StageError(
                f"groups: hits are {hits.dtype} {list(hits.shape)}; expected bool {list(self.codes.shape)}."
            )
        return Rates(self, hits)


@dataclass(frozen=True, eq=False)
class Rates:
    """The share of true `hits` (bool [N]) in each of G groups. Without images, a group has NaN."""

    groups: Groups
    hits: np.ndarray

    @cached_property
    def totals(self) -> np.ndarray:
        """Return the true hits of each group, float64 [G]."""
        rows = self.groups.rows
        return np.bincount(self.groups.codes[rows], weights=self.hits[rows], minlength=len(self.groups.names))

    @cached_property
    def values(self) -> np.ndarray:
        """Return the rate of each group, float64 [G], 0..1."""
        n = self.groups.n
        return np.asarray(np.divide(self.totals, n, out=np.full(len(n), np.nan), where=n > 0))

    def effects(self, level: float = LEVEL) -> np.ndarray:
        """Return the design effect of each rate, float64 [G], as `design_effect` defines it; NaN where nothing is known."""
        groups = self.groups
        if groups.kind == "unknown":
            return np.full(len(groups.n), np.nan)
        if groups.kind != "tracks":
            return groups._frames
        of_group, sizes, residuals = groups._pairs[1], groups._pairs[3], self._residuals
        largest = np.zeros(len(groups.n))
        np.maximum.at(largest, of_group, sizes)
        between = np.bincount(of_group, weights=residuals**2, minlength=len(largest))
        binomial = groups.n * self.values * (1 - self.values)
        with np.errstate(invalid="ignore", divide="ignore"):
            effect = (between + PSEUDO_SIGNS * largest**2) / (binomial + PSEUDO_SIGNS * largest)
            tail = (1 + level) / 2
            few_signs = (stdtrit(groups.signs - 1, tail) / stdtrit(groups.n - 1, tail)) ** 2
            whole = np.maximum(1.0, np.maximum(effect, np.minimum(effect * few_signs, largest)))
        return np.where(groups.signs < 2, largest, whole)

    def ends(self, level: float = LEVEL) -> tuple[np.ndarray, np.ndarray]:
        """Return the ends of the Clopper-Pearson interval at n/DEFF of each rate, float64 [G] each; NaN where unknown."""
        tail, values = (1 - level) / 2, self.values
        with np.errstate(invalid="ignore", divide="ignore"):
            size = self.groups.n / self.effects(level)
            hits, misses = values * size, (1 - values) * size
            low = np.where(values <= 0, 0.0, betaincinv(hits, misses + 1, tail))
            high = np.where(values >= 1, 1.0, betaincinv(hits + 1, misses, 1 - tail))
        known = np.isfinite(size)
        return np.where(known, low, np.nan), np.where(known, high, np.nan)

    @cached_property
    def correlations(self) -> np.ndarray:
        """Return the correlation of two rates over the signs that both groups show, float64 [G, G], -1..0.

        A positive one would narrow the interval of a difference and is not used. 0 where tracks are unknown.
        """
        count = len(self.groups.names)
        if self.groups.kind != "tracks":
            return np.zeros((count, count))
        _, of_group, of_track, _ = self.groups._pairs
        table = np.zeros((count, int(of_track.max(initial=-1)) + 1))
        table[of_group, of_track] = self._residuals
        scale = np.sqrt((table**2).sum(axis=1))
        with np.errstate(invalid="ignore", divide="ignore"):
            found = (table @ table.T) / np.outer(scale, scale)
        return np.clip(np.nan_to_num(found), -1.0, 0.0)

    @cached_property
    def _residuals(self) -> np.ndarray:
        """Hits of each pair of group and track above what the group's rate expects, float64 [U]."""
        place, of_group, _, sizes = self.groups._pairs
        hits = np.bincount(place, weights=self.hits[self.groups.rows], minlength=len(sizes))
        return np.asarray(hits - self.values[of_group] * sizes)

    def take(self, keep: np.ndarray) -> Rates:
        """Return the rates of the groups in `keep` (bool [G])."""
        new = np.full(len(keep) + 1, -1, np.int64)
        new[:-1][keep] = np.arange(int(keep.sum()))
        names = tuple(name for name, kept in zip(self.groups.names, keep, strict=True) if kept)
        return Rates(Groups(new[self.groups.codes], names, self.groups.clustering), self.hits)

    def differences(self, level: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return each rate minus each other rate, and the ends of its interval: float64 [G, G], NaN on the diagonal."""
        p, (low, high) = self.values, self.ends(level)
        value = p[:, None] - p[None, :]
        below, above, r = p - low, high - p, self.correlations
        down = np.sqrt(np.maximum(0, _squares(below[:, None], above[None, :], r)))
        up = np.sqrt(np.maximum(0, _squares(above[:, None], below[None, :], r)))
        np.fill_diagonal(value, np.nan)
        return value, np.maximum(-1.0, value - down), np.minimum(1.0, value + up)

    def ratios(self, level: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return each rate divided by each other rate, and the ends of its interval: float64 [G, G], NaN on the diagonal.

        The interval is that of Fieller's theorem with the variances of the exact intervals (MOVER-R); where the denominator
        may be 0, the upper end is infinite.
        """
        p, (low, high) = self.values, self.ends(level)
        a, b = p[:, None], p[None, :]
        r = self.correlations
        with np.errstate(invalid="ignore", divide="ignore"):
            value = a / b
            lower = _ratio_end(
                a, b, low[:, None], high[None, :], r * (a - low[:, None]) * (high[None, :] - b), -1
            )
            upper = _ratio_end(
                a, b, high[:, None], low[None, :], r * (high[:, None] - a) * (b - low[None, :]), 1
            )
            lower = np.where(np.isfinite(lower), lower, low[:, None] / high[None, :])
            upper = np.where(
                low[None, :] <= 0, np.inf, np.where(np.isnan(upper), high[:, None] / low[None, :], upper)
            )
        np.fill_diagonal(value, np.nan)
        return value, np.clip(np.minimum(lower, value), 0, None), np.maximum(upper, value)


@dataclass(frozen=True)
class Pair:
    """Two groups: with the largest difference, `high` has the larger rate and `low` the smaller one."""

    low: str
    high: str


def extreme_pair(rates: Rates) -> Pair | None:
    """Return the groups with the smallest and the largest rate, the first of equals; None with fewer than two groups."""
    known = np.flatnonzero(rates.groups.n > 0)
    if len(known) < 2:
        return None
    names, values = rates.groups.names, rates.values[known]
    return Pair(names[known[values.argmin()]], names[known[::-1][values[::-1].argmax()]])


def largest_difference(
    name: str, title: str, compared: Sequence[Rates], *, slice: str = "all", level: float = LEVEL
) -> Metric:
    """Return the largest difference of the rates of two groups of one partition, over all partitions `compared`.

    High: the largest upper end of all pairs, each at its own level: the true largest difference exceeds it in at most 2.5 % of
    samples. Low: the largest lower end at the joint level. Groups without images are left out. Undefined if a partition has
    fewer than two groups, because its difference could be the largest. Without an interval where clustering is unknown.

    References: G. Y. Zou, A. Donner, Statistics in Medicine, 2008; R. L. Berger, Technometrics, 1982.
    """
    used = [rates.take(rates.groups.n > 0) for rates in compared]
    if not used or min(len(rates.groups.names) for rates in used) < 2:
        return Metric.undefined(name, title, ONE_GROUP, direction="down", slice=slice, level=level)
    count = _pairs(used)
    own = [rates.differences(level) for rates in used]
    joint = [rates.differences(1 - (1 - level) / count) for rates in used]
    value = max(float(np.nanmax(values)) for values, _, _ in own)
    ends = None
    if _known(used):
        low = max(float(np.nanmax(lows)) for _, lows, _ in _off_diagonal(joint))
        high = max(float(np.nanmax(highs)) for _, _, highs in _off_diagonal(own))
        ends = max(0.0, min(low, value)), max(high, value)
    return _metric(name, title, value, ends, used, "high", count, "down", slice, level)


def smallest_ratio(
    name: str, title: str, compared: Sequence[Rates], *, slice: str = "all", level: float = LEVEL
) -> Metric:
    """Return the smallest ratio of the rates of two groups of one partition, 0..1, over all partitions `compared`.

    Low: the smallest lower end of all pairs, each at its own level; high: the smallest upper end at the joint level, at most 1.
    Groups without images are left out. Undefined if a partition has fewer than two groups, or a rate of 0 in all of them.

    References: A. Donner, G. Y. Zou, "Closed-form confidence intervals for functions of the normal mean and standard
    deviation", Statistical Methods in Medical Research, 2012.
    """
    used = [rates.take(rates.groups.n > 0) for rates in compared]
    if not used or min(len(rates.groups.names) for rates in used) < 2:
        return Metric.undefined(name, title, ONE_GROUP, slice=slice, level=level)
    if any(rates.values.max() == 0 for rates in used):
        return Metric.undefined(name, title, "the rate of every group is 0", slice=slice, level=level)
    count = _pairs(used)
    own = [rates.ratios(level) for rates in used]
    joint = [rates.ratios(1 - (1 - level) / count) for rates in used]
    value = min(float(rates.values.min() / rates.values.max()) for rates in used)
    ends = None
    if _known(used):
        low = min(float(np.nanmin(lows)) for _, lows, _ in _off_diagonal(own))
        high = min(float(np.nanmin(highs)) for _, _, highs in _off_diagonal(joint))
        ends = max(0.0, min(low, value)), min(1.0, max(high, value))
    return _metric(name, title, value, ends, used, "low", count, "up", slice, level)


def _metric(
    name: str,
    title: str,
    value: float,
    ends: tuple[float, float] | None,
    used: Sequence[Rates],
    own: str,
    count: int,
    direction: Literal["up", "down"],
    slice: str,
    level: float,
) -> Metric:
    groups = max((rates.groups for rates in used), key=lambda groups: len(groups.rows))
    clusters = clusters_of(name, len(groups.rows), groups.clustering.take(groups.rows))
    return Metric(
        name=name,
        title=title,
        value=value,
        low=None if ends is None else ends[0],
        high=None if ends is None else ends[1],
        level=level,
        method=UNKNOWN_CLUSTERING if ends is None else PAIR_METHOD.format(end=own, count=count),
        n=len(groups.rows),
        signs=clusters.signs,
        clustering=clusters.kind,
        direction=direction,
        slice=slice,
    )


def _off_diagonal(
    matrices: list[tuple[np.ndarray, np.ndarray, np.ndarray]],
) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Return the matrices with NaN on the diagonals of both ends."""
    for _, low, high in matrices:
        np.fill_diagonal(low, np.nan)
        np.fill_diagonal(high, np.nan)
    return matrices


def _pairs(used: Sequence[Rates]) -> int:
    """Return the number of ordered pairs of groups."""
    return sum(len(rates.groups.names) * (len(rates.groups.names) - 1) for rates in used)


def _known(used: Sequence[Rates]) -> bool:
    return all(rates.groups.kind != "unknown" for rates in used)


def _squares(x: np.ndarray, y: np.ndarray, r: np.ndarray) -> np.ndarray:
    return np.asarray(x * x + y * y - 2 * r * x * y)


def _ratio_end(
    a: np.ndarray, b: np.ndarray, end_a: np.ndarray, end_b: np.ndarray, shared: np.ndarray, side: int
) -> np.ndarray:
    """Return one end of the MOVER-R interval of a / b; NaN or infinite where the formula has none. side: -1 or 1."""
    product = a * b - shared
    scale = end_b * (2 * b - end_b)
    root = product**2 - end_a * scale * (2 * a - end_a)
    end: np.ndarray = np.where(
        (scale > 0) & (root >= 0), (product + side * np.sqrt(np.maximum(root, 0))) / scale, np.nan
    )
    return end
