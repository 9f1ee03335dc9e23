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
class Slices:
    """The slices of one or two columns: the G groups of images that a group of each column share.

    parts: int64 [G, D], the group of each slice in each of the D columns.
    """

    columns: tuple[Column, ...]
    groups: Groups
    parts: np.ndarray

    def words(self, code: int) -> str:
        """Return the groups of a slice in words: dark and small."""
        return " and ".join(
            column.phrase(column.names[part])
            for column, part in zip(self.columns, self.parts[code].tolist(), strict=True)
        )


def all_slices(columns: Sequence[Column]) -> list[Slices]:
    """Return the slices of each column, and of each two columns."""
    alone = [Slices((column,), column.groups, np.arange(len(column.names))[:, None]) for column in columns]
    return [*alone, *(crossed(one, other) for one, other in combinations(columns, 2))]


def crossed(one: Column, other: Column) -> Slices:
    """Return the slices of images that a group of `one` and a group of `other` share, where there are any."""
    count = len(other.names)
    present, place = np.unique(one.groups.codes * count + other.groups.codes, return_inverse=True)
    names = tuple(f"{one.names[code // count]}, {other.names[code % count]}" for code in present.tolist())
    groups = Groups(place.astype(np.int64), names, one.groups.clustering)
    return Slices((one, other), groups, np.stack([present // count, present % count], axis=1))


@dataclass(frozen=True, eq=False)
class _Candidates:
    """The slices that are large enough.

    reference: float64 [G], the accuracy that each slice must be below.
    rows: int64, the slices with enough sign tracks.
    """

    slices: Slices
    rates: Rates
    reference: np.ndarray
    rows: np.ndarray


def weak_slices(slices: Sequence[Slices], test: ImageDataset, hits: np.ndarray) -> Found:
    """Return the slices whose accuracy is lower than the others', with a chance of at most 5 % of naming any without reason.

    slices: of `all_slices`. hits: bool [N], correctly classified.

    The test of one slice is exact at its effective sample size, with the measured accuracy of all images as the expected one.
    The slice is part of those images, so its difference varies less than the test assumes. Of two groups, the slice must also
    be below each of the groups, so that a group is not named again with each of the others. A slice that is no longer less accurate
    without the images of the slices named before it is not named. Holm's correction counts every slice with at least 36 sign tracks. Without sign tracks or frames_per_sign nothing is proven, and no slice is named.

    References: S. Holm, Scandinavian Journal of Statistics, 1979; Y. Chung et al., "Slice Finder: automated data slicing for
    model validation", ICDE, 2019.
    """
    overall = float(hits.mean())
    candidates = _candidates(slices, hits, overall)
    searched = sum(len(of.rows) for of in candidates)
    if not searched or not 0 < overall < 1:
        return Found([], searched)
    level = joint_level(searched)
    chances = [_chances(of.rates, of.reference, level)[of.rows] for of in candidates]
    named = holm(np.concatenate(chances).tolist(), ERROR_RATE)
    places = [(of, int(code)) for of in candidates for code in of.rows]
    proven_slices = []
    for (of, code), proven in zip(places, named, strict=True):
        if not proven:
            continue
        member = of.rates.groups.codes == code
        words = of.slices.words(code)
        metric = proportion_metric(
            "slice_accuracy", words, hits[member], clustering=test.clustering.take(member)
        )
        proven_slices.append(Slice(words, member, metric, float(of.reference[code])))
    proven_slices.sort(key=lambda one: (one.accuracy.value or 0.0, one.words))
    return Found(_unexplained(proven_slices, test, hits, ERROR_RATE / searched), searched)


def _unexplained(slices: list[Slice], test: ImageDataset, hits: np.ndarray, chance: float) -> list[Slice]:
    """Return the slices, lowest accuracy first, without those that owe their low accuracy to images of slices before them."""
    kept: list[Slice] = []
    explained = np.zeros(len(hits), bool)
    for one in slices:
        rest = Groups(np.where(one.member & ~explained, 0, -1), ("rest",), test.clustering).rates(hits)
        level = 1 - 2 * chance
        if rest.groups.n[0] and _chances(rest, np.array([one.compared]), level)[0] <= chance:
            kept.append(one)
            explained |= one.member
    return kept


def _candidates(slices: Sequence[Slices], hits: np.ndarray, overall: float) -> list[_Candidates]:
    """Return the slices with enough sign tracks, and the accuracy that each must be below."""
    alone = {of.columns[0].name: of.groups.rates(hits) for of in slices if len(of.columns) == 1}
    found = []
    for of in slices:
        rates = alone[of.columns[0].name] if len(of.columns) == 1 else of.groups.rates(hits)
        reference = np.full(len(of.groups.names), overall)
        if len(of.columns) > 1:
            for place, column in enumerate(of.columns):
                reference = np.minimum(reference, alone[column.name].values[of.parts[:, place]])
        rows = np.flatnonzero((of.groups.signs >= LEAST_GROUP_SIGNS) & (of.groups.n < len(hits)))
        if len(rows):
            found.append(_Candidates(of, rates, reference, rows))
    return found


def _chances(rates: Rates, reference: np.ndarray, level: float) -> np.ndarray:
    """Return the p-value of each group: P(hits <= observed) of a binomial at n/DEFF and the expected accuracy `reference`."""
    with np.errstate(invalid="ignore", divide="ignore"):
        size = rates.groups.n / rates.effects(level)
        misses = (1 - rates.values) * size
        chance = betainc(misses, rates.values * size + 1, 1 - reference)
    return np.where((rates.values >= reference) | (misses <= 0), 1.0, chance)
