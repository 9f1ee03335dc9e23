"""Each sign track counts once."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from safeml.statistics import Clustering, proportion_by_sign_metric, proportion_metric, unequal_tracks

pytestmark = pytest.mark.slow


def by_sign(sizes: list[int], wrong: list[int]):
    tracks = np.repeat(np.arange(len(sizes)), sizes)
    hits = np.concatenate([np.arange(size) >= count for size, count in zip(sizes, wrong, strict=True)])
    return proportion_by_sign_metric("a", "A", hits, clustering=Clustering(tracks))


def test_signs_of_one_size_have_the_interval_of_the_frames():
    rng = np.random.default_rng(0)
    hits, clustering = rng.random(600) < 0.9, Clustering(np.repeat(np.arange(60), 10))
    frames = proportion_metric("a", "A", hits, clustering=clustering)
    signs = proportion_by_sign_metric("a", "A", hits, clustering=clustering)
    assert (signs.value, signs.low, signs.high) == pytest.approx((frames.value, frames.low, frames.high))


@pytest.mark.parametrize("wrong", [0, 3, 40])
def test_whole_signs_of_any_size_have_the_exact_interval_of_their_number(wrong):
    sizes = [1 + 7 * (sign % 9) for sign in range(80)]
    metric = by_sign(sizes, [size * (sign < wrong) for sign, size in enumerate(sizes)])
    exact = stats.binomtest(80 - wrong, 80).proportion_ci(0.95, method="exact")
    assert (metric.value, metric.low, metric.high) == pytest.approx((1 - wrong / 80, exact.low, exact.high))


def test_independent_images_are_signs():
    hits, clustering = np.arange(50) > 3, Clustering(frames_per_sign=1)
    one, other = (
        f("a", "A", hits, clustering=clustering) for f in (proportion_by_sign_metric, proportion_metric)
    )
    assert one == other


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_one_more_error_never_raises_the_lower_end(data):
    sizes = data.draw(st.lists(st.integers(1, 60), min_size=2, max_size=25))
    wrong = [data.draw(st.sampled_from([0, 0, size // 3, size - 1])) for size in sizes]
    sign = data.draw(st.integers(0, len(sizes) - 1))
    more = [count + (place == sign) for place, count in enumerate(wrong)]
    assert by_sign(sizes, more).low <= by_sign(sizes, wrong).low + 1e-12


def test_long_tracks_that_are_wrong_more_often_do_not_move_the_pass_rate():
    """100 signs, of which every tenth has 90 frames and is wrong as a whole three times as often; the true value is the limit."""
    rng = np.random.default_rng(5)
    sizes = np.where(np.arange(100) % 10 == 0, 90, 10)
    rates = np.where(sizes == 90, 0.15, 0.05)
    limit = 1 - rates.mean()
    passes = 0
    for _ in range(400):
        wrong = sizes * (rng.random(100) < rates)
        passes += by_sign(sizes.tolist(), wrong.tolist()).low >= limit
    # 10 expected at the nominal 2.5 %; 20 is the project's 5 %
    assert passes <= 20


def test_tracks_are_unequal_where_the_largest_is_over_three_times_the_typical():
    def clustering(*sizes: int) -> Clustering:
        return Clustering(np.repeat(np.arange(len(sizes)), sizes))

    assert unequal_tracks(clustering(10, 10, 30)) is None
    found = unequal_tracks(clustering(10, 10, 31))
    assert found is not None
    assert (found.largest, found.typical) == (31, 10)
    assert unequal_tracks(Clustering(frames_per_sign=5)) is None
