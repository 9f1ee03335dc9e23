"""The search for weak slices: it names what was planted, and nothing where the errors are random."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom

from safeml.audits.fairness.conditions import Column
from safeml.audits.fairness.search import Found, all_slices, crossed
from safeml.audits.fairness.search import weak_slices as search
from safeml.data.dataset import ImageDataset
from safeml.statistics import Clustering
from safeml.statistics.between import Groups

pytestmark = pytest.mark.slow

SIGNS, FRAMES = 240, 6
TRACKS = np.repeat(np.arange(SIGNS), FRAMES)
N = len(TRACKS)
THIRDS = ("dark", "normal", "bright")


def images(known: bool = True) -> ImageDataset:
    clustering = {"tracks": TRACKS} if known else {"frames_per_sign": float(FRAMES)}
    return ImageDataset(
        "set", np.zeros((N, 1, 1, 1), np.uint8), np.zeros(N, np.int64), ("a", "b"), **clustering
    )


def columns(rng: np.random.Generator, test: ImageDataset) -> list[Column]:
    """Two columns that change within a sign, and two that do not."""

    def column(name: str, codes: np.ndarray, names: tuple[str, ...]) -> Column:
        kind = "condition" if name == "brightness" else "user"
        return Column(name, kind, Groups(codes, names, test.clustering))

    return [
        column("brightness", rng.integers(0, 3, N), THIRDS),
        column("lens", rng.integers(0, 2, N), ("long", "short")),
        column("site", rng.integers(0, 3, SIGNS)[TRACKS], ("east", "north", "west")),
        column("road", rng.integers(0, 2, SIGNS)[TRACKS], ("city", "land")),
    ]


def weak_slices(columns: list[Column], test: ImageDataset, hits: np.ndarray) -> Found:
    return search(all_slices(columns), test, hits)


def code(column: Column, name: str) -> np.ndarray:
    return column.groups.codes == column.names.index(name)


@pytest.mark.parametrize("known", [True, False])
def test_nothing_is_named_where_errors_are_random(known: bool) -> None:
    """Whole signs and single frames err at random. At most 5 of 100 searches may name a slice."""
    rng, test, named = np.random.default_rng(5), images(known), 0
    for _ in range(100):
        hits = (rng.random(SIGNS) < 0.92)[TRACKS] & (rng.random(N) < 0.97)
        found = weak_slices(columns(rng, test), test, hits)
        assert found.searched > 20
        named += bool(found.slices)
    assert named <= 5


@pytest.mark.parametrize("seed", range(5))
def test_a_planted_slice_is_named_alone(seed: int) -> None:
    rng, test = np.random.default_rng(seed), images()
    made = columns(rng, test)
    bad = code(made[0], "dark") & code(made[1], "long")
    hits = rng.random(N) > np.where(bad, 0.5, 0.01)
    found = weak_slices(made, test, hits)
    assert [one.words for one in found.slices] == ["dark and lens long"]
    [one] = found.slices
    np.testing.assert_array_equal(one.member, bad)
    assert one.accuracy.value == pytest.approx(hits[bad].mean())
    assert one.accuracy.low <= 0.5 <= one.accuracy.high
    assert one.compared < hits.mean()  # the weaker of its two groups


def test_a_planted_group_is_named_once_and_not_with_each_other_group() -> None:
    rng, test = np.random.default_rng(7), images()
    made = columns(rng, test)
    hits = rng.random(N) > np.where(code(made[2], "north"), 0.3, 0.02)
    assert [one.words for one in weak_slices(made, test, hits).slices] == ["site north"]


def test_the_chance_of_independent_images_is_the_binomial_tail() -> None:
    """Two groups of 100 independent images: the second is named from that number of errors on at which the exact test is below Holm's level."""
    codes, test = np.repeat([0, 1], 100), images()
    test = ImageDataset(
        "set", np.zeros((200, 1, 1, 1), np.uint8), np.zeros(200, np.int64), ("a", "b"), frames_per_sign=1
    )
    column = Column("site", "user", Groups(codes, ("a", "b"), Clustering(None, 1)))

    def is_named(errors: int) -> bool:
        hits = np.ones(200, bool)
        hits[:5], hits[100 : 100 + errors] = False, False
        return bool(weak_slices([column], test, hits).slices)

    for errors in range(5, 40):
        overall = 1 - (5 + errors) / 200
        assert is_named(errors) == (binom.cdf(100 - errors, 100, overall) <= 0.05 / 2), errors
    assert is_named(39)


def test_small_slices_are_not_searched_and_without_sign_tracks_nothing_is_named() -> None:
    test = images()
    few = np.where(TRACKS < 35, 0, 1)
    column = Column("site", "user", Groups(few, ("few", "many"), test.clustering))
    found = weak_slices([column], test, few == 1)
    assert found.searched == 1  # the large group, which has no error
    assert found.slices == []
    blind = ImageDataset("set", test.images, test.labels, test.class_names)
    open_column = Column("site", "user", Groups(few, ("few", "many"), blind.clustering))
    assert weak_slices([open_column], blind, few == 1).searched == 0


@pytest.mark.parametrize("hits", [np.ones(N, bool), np.zeros(N, bool)])
def test_a_model_that_is_always_or_never_correct_has_no_weak_slice(hits: np.ndarray) -> None:
    test = images()
    assert weak_slices(columns(np.random.default_rng(0), test), test, hits).slices == []


def test_crossed_groups_are_those_of_both_columns() -> None:
    test = images()
    one, other = columns(np.random.default_rng(3), test)[:2]
    both = crossed(one, other)
    for place, (first, second) in enumerate(both.parts.tolist()):
        np.testing.assert_array_equal(
            both.groups.codes == place, (one.groups.codes == first) & (other.groups.codes == second)
        )
