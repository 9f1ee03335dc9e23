"""Differences and ratios between groups against closed forms, the metrics of single groups, and simulations with known gaps."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import beta

from safeml.errors import StageError
from safeml.results import Metric
from safeml.statistics import Clustering, proportion_metric
from safeml.statistics.between import Groups, extreme_pair, largest_difference, smallest_ratio

pytestmark = pytest.mark.slow

NAMES = ("a", "b", "c")


def rates(hits: np.ndarray, codes: np.ndarray, clustering: Clustering, names: tuple[str, ...] = NAMES):
    return Groups(codes, names, clustering).rates(hits)


def gap(
    hits: np.ndarray, codes: np.ndarray, clustering: Clustering, names: tuple[str, ...] = NAMES
) -> Metric:
    return largest_difference("gap", "Gap", [rates(hits, codes, clustering, names)])


def some(seed: int = 0, signs: int = 120, frames: int = 10) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    tracks = np.repeat(np.arange(signs), frames)
    hits = (rng.random(signs) < 0.9)[tracks] & (rng.random(signs * frames) < 0.95)
    return hits, rng.integers(0, 3, signs * frames), tracks


@pytest.mark.parametrize("kind", ["tracks", "declared", "independent"])
@pytest.mark.parametrize("level", [0.95, 0.999])
def test_the_rate_of_each_group_is_that_of_its_images_alone(kind: str, level: float) -> None:
    hits, codes, tracks = some()
    codes[tracks == 0] = -1  # images of no group
    known = {
        "tracks": Clustering(tracks),
        "declared": Clustering(None, 10),
        "independent": Clustering(None, 1),
    }[kind]
    found = rates(hits, codes, known)
    low, high = found.ends(level)
    for code in range(3):
        own = codes == code
        alone = proportion_metric("rate", "Rate", hits[own], clustering=known.take(own), level=level)
        assert found.values[code] == pytest.approx(alone.value)
        assert (low[code], high[code]) == pytest.approx((alone.low, alone.high))
        assert found.groups.signs[code] == pytest.approx(alone.signs)
        assert found.effects(level)[code] == pytest.approx(alone.design_effect)


@pytest.mark.parametrize(("small", "large"), [(72, 140), (129, 146), (36, 300)])
def test_groups_without_an_error_have_the_gap_that_the_smaller_one_allows(small: int, large: int) -> None:
    codes = np.repeat([0, 1], [15 * small, 15 * large])
    hits = np.ones(len(codes), bool)
    [found] = [rates(hits, codes, Clustering(None, 15), ("a", "b"))]
    lowest = 0.025 ** (1 / small)
    difference, ratio = largest_difference("d", "D", [found]), smallest_ratio("r", "R", [found])
    assert (difference.value, difference.low, difference.high) == (0, 0, pytest.approx(1 - lowest))
    assert (ratio.value, ratio.low, ratio.high) == (1, pytest.approx(lowest), 1)


def test_the_interval_of_two_independent_groups_is_newcombes_with_exact_intervals() -> None:
    """R. G. Newcombe, Statistics in Medicine 17 (1998), method 10, with Clopper and Pearson's interval of each rate."""
    k, n = (95, 60), (100, 80)
    hits = np.concatenate([np.arange(n[i]) < k[i] for i in range(2)])
    found = gap(hits, np.repeat([0, 1], n), Clustering(None, 1), ("a", "b"))
    p = [k[i] / n[i] for i in range(2)]
    d = p[0] - p[1]

    def ends(i: int, tail: float) -> tuple[float, float]:
        return beta.ppf(tail, k[i], n[i] - k[i] + 1), beta.ppf(1 - tail, k[i] + 1, n[i] - k[i])

    (_, u0), (l1, _) = ends(0, 0.025), ends(1, 0.025)
    assert found.value == pytest.approx(d)
    assert found.high == pytest.approx(d + math.hypot(u0 - p[0], p[1] - l1))
    (l0, _), (_, u1) = ends(0, 0.0125), ends(1, 0.0125)  # two ordered pairs
    assert found.low == pytest.approx(d - math.hypot(p[0] - l0, u1 - p[1]))


def test_signs_that_err_in_one_group_where_they_are_right_in_the_other_widen_the_interval() -> None:
    tracks = np.repeat(np.arange(100), 10)
    codes = np.tile(np.repeat([0, 1], 5), 100)
    opposite, alike = tracks % 2 == codes, tracks % 2 == 0
    both = [rates(hits, codes, Clustering(tracks), ("a", "b")) for hits in (opposite, alike)]
    assert both[0].correlations[0, 1] == pytest.approx(-1)
    assert both[1].correlations[0, 1] == 0  # a positive correlation narrows nothing
    high = [largest_difference("d", "D", [one]).high for one in both]
    assert high[0] > high[1] > 0


def test_renaming_and_reordering_change_nothing() -> None:
    hits, codes, tracks = some()
    known = Clustering(tracks)
    order = np.random.default_rng(1).permutation(len(hits))
    first = gap(hits, codes, known)
    again = gap(hits[order], (2 - codes)[order], known.take(order), NAMES[::-1])
    assert (again.value, again.low, again.high) == pytest.approx((first.value, first.low, first.high))


def test_a_group_of_one_image_and_a_group_without_an_image() -> None:
    hits = np.ones(301, bool)
    hits[300] = False
    codes = np.repeat([0, 1, 2], [150, 150, 1])
    found = rates(hits, codes, Clustering(None, 1))
    low, high = found.ends()
    assert (low[2], high[2]) == (0, pytest.approx(0.975))
    one = largest_difference("d", "D", [found])
    assert one.value == 1
    assert one.low == pytest.approx(0.0, abs=0.02)
    empty = gap(hits, np.where(codes == 2, -1, codes), Clustering(None, 1))
    assert (empty.value, empty.n) == (0, 300)


def test_what_cannot_be_computed_is_undefined_and_never_zero() -> None:
    hits, codes, tracks = some()
    alone = gap(hits, np.zeros_like(codes), Clustering(tracks))
    assert (alone.value, alone.status) == (None, "undefined")
    assert "two groups" in alone.reason
    both = largest_difference(
        "d", "D", [rates(hits, codes, Clustering(tracks)), rates(hits, 0 * codes, Clustering(tracks))]
    )
    assert both.value is None  # the gap of the column of one group could be the largest
    assert smallest_ratio("r", "R", [rates(hits & False, codes, Clustering(tracks))]).value is None
    assert largest_difference("d", "D", []).value is None
    unknown = gap(hits, codes, Clustering())
    assert unknown.value is not None
    assert (unknown.low, unknown.high, unknown.clustering) == (None, None, "unknown")


def test_codes_and_hits_of_another_form_are_refused() -> None:
    hits, codes, tracks = some()
    with pytest.raises(StageError, match=r"expected whole numbers of -1 to 2"):
        Groups(codes + 1, NAMES)
    with pytest.raises(StageError, match=r"expected bool"):
        Groups(codes, NAMES, Clustering(tracks)).rates(hits.astype(int))


def test_the_pair_names_the_groups_of_the_value() -> None:
    codes = np.repeat([0, 1, 2], 10)
    hits = np.concatenate([np.arange(10) < k for k in (9, 4, 10)])
    pair = extreme_pair(rates(hits, codes, Clustering(None, 1)))
    assert pair is not None
    assert (pair.low, pair.high) == ("b", "c")


def draw(rng: np.random.Generator, accuracy: np.ndarray, signs: int = 140, frames: int = 15):
    """Signs that are classified correctly or incorrectly as a whole in each group; half of them are seen in two groups."""
    tracks, codes, hits = [], [], []
    for sign in range(signs * len(accuracy)):
        first = sign % len(accuracy)
        second = (first + 1) % len(accuracy) if sign % 2 else first
        for group in (first, second):
            tracks.append(np.full(frames, sign))
            codes.append(np.full(frames, group))
            hits.append(np.full(frames, rng.random() < accuracy[group]))
    return np.concatenate(hits), np.concatenate(codes), np.concatenate(tracks)


@pytest.mark.parametrize("known", [True, False])
def test_a_known_gap_lies_in_its_interval(known: bool) -> None:
    """The true gap is 8 points. A gate at this limit passes by the upper end in at most 2.5 % of samples."""
    rng, draws, low_misses, high_misses = np.random.default_rng(11), 200, 0, 0
    accuracy = np.array([0.98, 0.94, 0.90])
    for _ in range(draws):
        hits, codes, tracks = draw(rng, accuracy, signs=60)
        found = gap(hits, codes, Clustering(tracks) if known else Clustering(None, 30))
        low_misses += found.low > 0.08
        high_misses += found.high < 0.08
    most = 11  # of 200 at 2.5 %: P(more) < 1 %
    assert low_misses <= most
    assert high_misses <= most
