"""The slices of images in which the model fails most, in words. Legend: N images, G groups.

A slice is a group of one column, or the images that two groups of different columns share. All of them with enough sign tracks
are compared, so nothing depends on the order of a search. Legend of p: the chance of an accuracy as low as that of the slice, if
its images were classified as all images are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from scipy.special import betainc

from safeml.audits.fairness.conditions import Column
from safeml.audits.weakest import joint_level
from safeml.data.dataset import ImageDataset
from safeml.results import Metric
from safeml.stages.fairness import LEAST_GROUP_SIGNS
from safeml.statistics import holm, proportion_metric
from safeml.statistics.between import Groups, Rates

ERROR_RATE = 0.05


@dataclass(frozen=True, eq=False)
class Slice:
    """A slice that is proven to be less accurate than all images together, and than each of its two groups.

    words: its groups in words.
    member: bool [N], its images.
    accuracy: with the 95 % interval of the slice alone.
    compared: the accuracy that it is below: the lowest of those of all images and of its groups.
    """

    words: str
    member: np.ndarray
    accuracy: Metric
    compared: float


@dataclass(frozen=True, eq=False)
class Found:
    """The result of a search.

    slices: lowest accuracy first.
    searched: the number of slices that were compared.
    """

    slices: list[Slice]
    searched: int


@dataclass(frozen=True, eq=False)
class _Candidates:
    """The slices of one or two columns: rates of G groups, with the accuracy that each must be below, float64 [G]."""

    columns: tuple[Column, ...]
    rates: Rates
    reference: np.ndarray
    rows: np.ndarray

    def words(self, code: int) -> str:
        names = self.rates.groups.names[code].split("\0")
        return " and ".join(column.phrase(name) for column, name in zip(self.columns, names, strict=True))


def weak_slices(columns: Sequence[Column], test: ImageDataset, hits: np.ndarray) -> Found:
    """Return the slices whose accuracy is lower than the others', with a chance of at most 5 % of naming any without reason.

    hits: bool [N], correctly classified.

    The test of one slice is exact at its effective sample size, with the measured accuracy of all images as the expected one.
    The slice is part of those images, so its difference varies less than the test assumes. Of two groups, the slice must also
    be below each of the groups, so that a group is not named again with each of the others. A slice that is no longer less accurate
    without the images of the slices named before it is not named. Holm's correction counts every slice with at least 36 sign tracks. Without sign tracks or frames_per_sign nothing is proven, and no slice is named.

    References: S. Holm, Scandinavian Journal of Statistics, 1979; Y. Chung et al., "Slice Finder: automated data slicing for
    model validation", ICDE, 2019.
    """
    overall = float(hits.mean())
    candidates = _candidates(columns, hits, overall)
    searched = sum(len(of.rows) for of in candidates)
    if not searched or not 0 < overall < 1:
        return Found([], searched)
    level = joint_level(searched)
    chances = [_chances(of, level) for of in candidates]
    named = holm(np.concatenate(chances).tolist(), ERROR_RATE)
    places = [(of, int(code)) for of in candidates for code in of.rows]
    slices = []
    for (of, code), proven in zip(places, named, strict=True):
        if not proven:
            continue
        member = of.rates.groups.codes == code
        words = of.words(code)
        metric = proportion_metric(
            "slice_accuracy", words, hits[member], clustering=test.clustering.take(member)
        )
        slices.append(Slice(words, member, metric, float(of.reference[code])))
    slices.sort(key=lambda one: (one.accuracy.value or 0.0, one.words))
    return Found(_unexplained(slices, test, hits, ERROR_RATE / searched), searched)


def _unexplained(slices: list[Slice], test: ImageDataset, hits: np.ndarray, chance: float) -> list[Slice]:
    """Return the slices, lowest accuracy first, without those that owe their low accuracy to images of slices before them."""
    kept: list[Slice] = []
    explained = np.zeros(len(hits), bool)
    for one in slices:
        rest = Groups(np.where(one.member & ~explained, 0, -1), ("rest",), test.clustering).rates(hits)
        of_rest = _Candidates((), rest, np.array([one.compared]), np.zeros(1, np.int64))
        if rest.groups.n[0] and _chances(of_rest, 1 - 2 * chance)[0] <= chance:
            kept.append(one)
            explained |= one.member
    return kept


def _candidates(columns: Sequence[Column], hits: np.ndarray, overall: float) -> list[_Candidates]:
    """Return the slices with enough sign tracks, of one column and of two."""
    alone = {column.name: column.groups.rates(hits) for column in columns}
    made: list[tuple[tuple[Column, ...], Rates, np.ndarray]] = []
    for column in columns:
        rates = alone[column.name]
        made.append(((column,), rates, np.full(len(column.names), overall)))
    for one, other in combinations(columns, 2):
        groups = crossed(one, other)
        parents = np.minimum(
            *(
                alone[column.name].values[_codes(groups, place, column)]
                for place, column in enumerate((one, other))
            )
        )
        made.append(((one, other), groups.rates(hits), np.minimum(parents, overall)))
    found = []
    for of, rates, reference in made:
        groups = rates.groups
        rows = np.flatnonzero((groups.signs >= LEAST_GROUP_SIGNS) & (groups.n < len(hits)))
        if len(rows):
            found.append(_Candidates(of, rates, reference, rows))
    return found


def crossed(one: Column, other: Column) -> Groups:
    """Return the groups of images that a group of `one` and a group of `other` share, where there are any."""
    codes = one.groups.codes * len(other.names) + other.groups.codes
    present, place = np.unique(codes, return_inverse=True)
    names = tuple(
        f"{one.names[code // len(other.names)]}\0{other.names[code % len(other.names)]}"
        for code in present.tolist()
    )
    return Groups(place.astype(np.int64), names, one.groups.clustering)


def _codes(groups: Groups, place: int, column: Column) -> np.ndarray:
    """Return which group of the column each crossed group lies in."""
    return np.array([column.names.index(name.split("\0")[place]) for name in groups.names], np.int64)


def _chances(of: _Candidates, level: float) -> np.ndarray:
    """Return the p-value of each slice: P(hits <= observed) of a binomial at n/DEFF and the expected accuracy."""
    size = (of.rates.groups.n / of.rates.effects(level))[of.rows]
    value, expected = of.rates.values[of.rows], of.reference[of.rows]
    misses = (1 - value) * size
    with np.errstate(invalid="ignore"):
        chance = betainc(misses, value * size + 1, 1 - expected)
    return np.where((value >= expected) | (misses <= 0), 1.0, chance)
