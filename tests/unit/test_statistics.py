"""What the metric functions refuse, leave open, and keep."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from safeml.errors import StageError
from safeml.results import Metric
from safeml.statistics import (
    Clustering,
    bootstrap_metric,
    further_signs,
    holm,
    mean_metric,
    paired_difference_metric,
    proportion_metric,
)
from safeml.statistics.exact import clopper_pearson
from safeml.statistics.proportions import METHOD, UNKNOWN_CLUSTERING

pytestmark = pytest.mark.slow

RIGHT = np.array([True, True, False, True] * 30)


def bootstrap(statistic, n=40, **options):
    return bootstrap_metric(
        "m", "M", statistic, n, **{"direction": "up", "unit": "ratio", "seed": 1, "resamples": 200} | options
    )


@pytest.mark.parametrize(
    "hits", [RIGHT.astype(float), RIGHT.astype(int), np.full(4, np.nan), RIGHT.reshape(2, -1)]
)
def test_hits_that_are_no_bool_vector_are_an_error(hits):
    with pytest.raises(StageError, match=r"a: hits are .*expected bool"):
        proportion_metric("a", "A", hits, clustering=Clustering(frames_per_sign=1))


@pytest.mark.parametrize("values", [[0.1, np.nan], [0.1, np.inf], [-0.1, 0.1], [0.1, 0.6], [[0.1], [0.2]]])
def test_values_outside_their_range_are_an_error(values):
    with pytest.raises(StageError, match=r"not all finite and in 0-0\.5"):
        mean_metric(
            "c",
            "C",
            np.array(values),
            upper=0.5,
            clustering=Clustering(frames_per_sign=1),
            direction="down",
            unit="cost",
        )


@pytest.mark.parametrize("frames", [0, 0.99, -3, float("inf"), float("nan")])
def test_impossible_frames_per_sign_are_an_error(frames):
    with pytest.raises(StageError, match="frames_per_sign"):
        proportion_metric("a", "A", RIGHT, clustering=Clustering(frames_per_sign=frames))


@pytest.mark.parametrize("tracks", [np.arange(3), np.full(120, 0.5), np.zeros((120, 1), int)])
def test_tracks_that_do_not_fit_are_an_error(tracks):
    with pytest.raises(StageError, match="tracks are"):
        proportion_metric("a", "A", RIGHT, clustering=Clustering(tracks))


def test_unknown_clustering_gives_a_value_without_interval():
    for metric in (
        proportion_metric("a", "A", RIGHT),
        paired_difference_metric("d", "D", RIGHT, ~RIGHT),
        bootstrap(lambda rows: rows.mean()),
    ):
        assert metric.status == "ok"
        assert (metric.low, metric.high, metric.signs, metric.clustering) == (None, None, None, "unknown")


def test_nothing_measured_is_undefined():
    none = np.zeros(0, bool)
    for metric in (
        proportion_metric("a", "A", none, clustering=Clustering(frames_per_sign=1)),
        paired_difference_metric("d", "D", none, none, clustering=Clustering(frames_per_sign=30)),
        bootstrap(lambda rows: 1.0, n=0, clustering=Clustering(frames_per_sign=1)),
    ):
        assert (metric.status, metric.value, metric.low) == ("undefined", None, None)
        assert metric.reason


def test_known_tracks_win_over_declared_frames():
    metric = proportion_metric("a", "A", RIGHT, clustering=Clustering(np.arange(120), 30))
    assert (metric.clustering, metric.signs) == ("tracks", 120)


def test_a_slice_smaller_than_a_sign_is_one_sign():
    metric = proportion_metric("a", "A", np.ones(10, bool), clustering=Clustering(frames_per_sign=30))
    assert (metric.signs, metric.low) == (1, pytest.approx(0.025))


def test_one_track_is_one_sign_whatever_it_shows():
    metric = proportion_metric("a", "A", RIGHT, clustering=Clustering(np.zeros(120, int)))
    assert metric.design_effect == pytest.approx(120)


def test_an_estimated_design_effect_lies_between_one_and_the_worst():
    """Independent frames at 70 %: between and binomial variance are both near 630, and three pseudo-signs add 2,700 and 90."""
    rng = np.random.default_rng(0)
    hits = rng.random(3000) < 0.7
    metric = proportion_metric("a", "A", hits, clustering=Clustering(np.repeat(np.arange(100), 30)))
    assert metric.design_effect == pytest.approx((630 + 2700) / (630 + 90), rel=0.15)
    assert metric.low < metric.value < metric.high


def test_without_an_error_unequal_signs_count_by_the_largest():
    sizes = [60, 10, 10, 10, 10]
    tracks = np.repeat(np.arange(5), sizes)
    metric = proportion_metric("a", "A", np.ones(100, bool), clustering=Clustering(tracks))
    assert metric.design_effect == pytest.approx(60)


@st.composite
def signs_with_errors(draw):
    """Sizes and wrong frames of at least two signs, and one sign that has a correctly classified frame."""
    sizes = draw(st.lists(st.integers(1, 40), min_size=2, max_size=30))
    if draw(st.booleans()):
        sizes = [sizes[0]] * len(sizes)
    wrong = [draw(st.sampled_from([0, 0, 1, size // 2, size])) for size in sizes]
    open_signs = [sign for sign, size in enumerate(sizes) if wrong[sign] < size]
    return sizes, wrong, draw(st.sampled_from(open_signs)) if open_signs else None


@settings(max_examples=200, deadline=None)
@given(signs_with_errors())
@example(([30] * 100, [1] * 5 + [0] * 95, 5))
@example(([30] * 100, [0] * 100, 0))
def test_one_more_error_never_raises_the_lower_end(case):
    sizes, wrong, sign = case
    assume(sign is not None)
    more = [count + (place == sign) for place, count in enumerate(wrong)]
    lows = []
    for counts in (wrong, more):
        hits = np.concatenate([np.arange(size) >= count for size, count in zip(sizes, counts, strict=True)])
        metric = proportion_metric(
            "a", "A", hits, clustering=Clustering(np.repeat(np.arange(len(sizes)), sizes))
        )
        lows.append(metric.low)
    assert lows[1] <= lows[0] + 1e-12


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_a_higher_cost_never_lowers_the_upper_end(data):
    frames, signs = data.draw(st.integers(1, 30)), data.draw(st.integers(2, 40))
    costs = np.zeros(signs * frames)
    for sign in data.draw(st.lists(st.integers(0, signs - 1), max_size=8)):
        costs[sign * frames : sign * frames + data.draw(st.integers(1, frames))] = data.draw(
            st.sampled_from([0.1, 0.3, 1.0])
        )
    more = costs.copy()
    place = data.draw(st.integers(0, len(costs) - 1))
    more[place] = min(1.0, more[place] + data.draw(st.sampled_from([0.1, 0.3, 1.0])))
    tracks = Clustering(np.repeat(np.arange(signs), frames))
    one, other = (
        mean_metric("c", "C", values, upper=1.0, clustering=tracks, direction="down", unit="cost")
        for values in (costs, more)
    )
    assert other.high >= one.high - 1e-12


def test_a_single_error_does_not_free_the_other_frames():
    hits = np.ones(1500, bool)
    hits[0] = False
    metric = proportion_metric("a", "A", hits, clustering=Clustering(np.repeat(np.arange(50), 30)))
    assert metric.design_effect > 25


def test_errors_spread_over_signs_narrow_the_interval():
    tracks = np.repeat(np.arange(50), 30)
    together, apart = np.ones(1500, bool), np.ones(1500, bool)
    together[:90] = False
    apart[::30] = False
    apart[1:1200:30] = False
    wide, narrow = (
        proportion_metric("a", "A", hits, clustering=Clustering(tracks)) for hits in (together, apart)
    )
    assert wide.value == narrow.value
    assert narrow.high - narrow.low < wide.high - wide.low
    assert wide.design_effect == pytest.approx(30)
    # Between the signs 40 * 0.2^2 + 10 * 0.8^2, binomial 1500 * 0.06 * 0.94; the t quantiles of 49 and 1,499 degrees of freedom.
    assert narrow.design_effect == pytest.approx(
        (8 + 2700) / (84.6 + 90) * (2.00958 / 1.96155) ** 2, rel=1e-4
    )


def test_the_order_and_the_names_of_tracks_do_not_matter():
    rng = np.random.default_rng(4)
    hits, tracks = rng.random(600) < 0.9, np.repeat(np.arange(20), 30)
    order = rng.permutation(600)
    there = proportion_metric("a", "A", hits, clustering=Clustering(tracks))
    again = proportion_metric("a", "A", hits[order], clustering=Clustering(1000 - 7 * tracks[order]))
    assert (again.low, again.high) == pytest.approx((there.low, there.high))


def test_errors_and_hits_mirror_each_other():
    hits, tracks = np.random.default_rng(4).random(600) < 0.9, np.repeat(np.arange(20), 30)
    there = proportion_metric("a", "A", hits, clustering=Clustering(tracks))
    mirrored = proportion_metric("a", "A", ~hits, clustering=Clustering(tracks), direction="down")
    assert (1 - mirrored.high, 1 - mirrored.low) == pytest.approx((there.low, there.high))


def test_a_cost_that_no_image_incurs_still_has_an_upper_end():
    metric = mean_metric(
        "c",
        "C",
        np.zeros(100),
        upper=2.0,
        clustering=Clustering(frames_per_sign=1),
        direction="down",
        unit="cost",
    )
    assert (metric.value, metric.low) == (0, 0)
    assert metric.high == pytest.approx(2 * (1 - 0.025**0.01))


def test_a_bootstrap_without_variation_gives_no_interval():
    metric = bootstrap(lambda rows: 0.0, clustering=Clustering(frames_per_sign=1))
    assert (metric.value, metric.low, metric.high) == (0, None, None)
    assert "same value" in metric.method


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_statistic_that_is_not_finite_is_undefined(bad):
    assert bootstrap(lambda rows: bad, clustering=Clustering(frames_per_sign=1)).status == "undefined"
    sometimes = bootstrap(
        lambda rows: 1.0 if len(np.unique(rows)) == 40 else bad, clustering=Clustering(frames_per_sign=1)
    )
    assert sometimes.status == "undefined"
    assert "200 of 200 resamples" in sometimes.reason


def test_a_bootstrap_of_one_sign_gives_no_interval():
    assert bootstrap(np.mean, clustering=Clustering(np.zeros(40, int))).low is None
    assert bootstrap(np.mean, clustering=Clustering(frames_per_sign=40)).low is None
    assert bootstrap(np.mean, clustering=Clustering(frames_per_sign=20)).low is not None


def test_the_bootstrap_draws_whole_signs():
    tracks = np.array([0, 0, 0, 1, 2, 2])[np.random.default_rng(0).permutation(6)]
    sizes = {0: 3, 1: 1, 2: 2}

    def whole(rows):
        for sign, size in sizes.items():
            own = rows[tracks[rows] == sign]
            assert len(own) % size == 0
            assert len(set(np.bincount(own, minlength=6)[tracks == sign])) == 1
        return float(rows.mean())

    assert bootstrap(whole, n=6, clustering=Clustering(tracks)).low is not None


def test_the_bootstrap_repeats_with_its_seed():
    first, again, other = (
        bootstrap(np.mean, clustering=Clustering(frames_per_sign=1), seed=seed) for seed in (1, 1, 2)
    )
    assert first == again
    assert first.low != other.low


def test_the_bootstrap_is_cut_at_the_range_of_its_statistic():
    most = bootstrap(
        lambda rows: rows.mean() / 20, clustering=Clustering(frames_per_sign=1), bounds=(0.9, 1.0)
    )
    assert (most.low, most.high) == (0.9, 1.0)


def test_models_that_agree_everywhere_still_have_an_interval():
    metric = paired_difference_metric("d", "D", RIGHT, RIGHT, clustering=Clustering(frames_per_sign=1))
    assert metric.value == 0
    assert metric.high == pytest.approx(1 - 0.025 ** (1 / 120))
    assert metric.low == -metric.high


def test_a_drop_changes_sign_with_the_order_of_the_models():
    after = np.roll(RIGHT, 1)
    after[:9] = False
    there = paired_difference_metric("d", "D", RIGHT, after, clustering=Clustering(frames_per_sign=3))
    back = paired_difference_metric("d", "D", after, RIGHT, clustering=Clustering(frames_per_sign=3))
    assert there.value > 0
    assert (there.value, there.low, there.high) == pytest.approx((-back.value, -back.high, -back.low))


def test_vectors_of_other_images_are_an_error():
    with pytest.raises(StageError, match="two bool vectors"):
        paired_difference_metric("d", "D", RIGHT, RIGHT[1:])


def metric_of(value, half, unit="ratio", signs=100.0):
    return Metric(
        name="m", title="M", value=value, low=value - half, high=value + half, n=3000, signs=signs, unit=unit
    )


def test_other_intervals_shrink_with_the_square_root_of_signs():
    assert further_signs(metric_of(0.5, 0.25), 0.375, ">=") == 300
    assert further_signs(metric_of(0.5, 0.25), 0.625, "<=") == 300
    assert further_signs(metric_of(0.5, 0.125), 0.375, ">=") == 0


def test_what_no_number_of_signs_settles_is_none():
    assert further_signs(metric_of(0.5, 0.2), 0.5, ">=") is None
    assert further_signs(metric_of(0.5, 0.2), 0.5 + 1e-7, ">=") is None
    assert further_signs(metric_of(0.5, 0.2), 0.4, "==") is None
    assert further_signs(metric_of(0.5, 0.2, signs=None), 0.4, ">=") is None


@pytest.mark.parametrize("rows", [np.array([True, False, True]), np.array([2, 0])])
def test_a_part_of_the_images_keeps_its_tracks_and_what_was_declared(rows):
    tracks = np.array([5, 6, 7])
    part = Clustering(tracks, 30).take(rows)
    assert part.tracks is not None
    assert part.tracks.tolist() == tracks[rows].tolist()
    assert part.frames_per_sign == 30
    assert Clustering(frames_per_sign=30).take(rows).tracks is None


def test_levels_that_are_not_given_are_those_of_a_report() -> None:
    assert (holm([0.0499]), holm([0.0501])) == ([True], [False])
    assert clopper_pearson(0.5, 20.0) == clopper_pearson(0.5, 20.0, 0.95)


def test_holm_goes_on_only_after_a_rejection_and_an_undefined_value_is_last() -> None:
    assert holm([0.001, 0.03, 0.04]) == [True, False, False]  # 0.03 > 0.05 / 2, so 0.04 < 0.05 is not asked
    assert holm([0.001, 0.02, 0.06]) == [True, True, False]  # 0.02 <= 0.05 / 2
    assert holm([1.0, float("nan")], 2.0) == [True, False]
    assert holm([0.05], 0.05) == [True]


def test_the_unit_of_a_cost_scales_its_interval_and_nothing_else() -> None:
    rng = np.random.default_rng(0)
    values = np.repeat(rng.random(30), 4) * rng.random(120)
    tracks = Clustering(tracks=np.repeat(np.arange(30), 4))
    one, ten = (
        mean_metric("m", "M", values * scale, upper=scale, clustering=tracks, direction="down", unit="cost")
        for scale in (1.0, 10.0)
    )
    assert one.design_effect is not None
    assert one.design_effect > 1
    assert ten.design_effect == pytest.approx(one.design_effect)
    assert (ten.value, ten.low, ten.high) == pytest.approx((10 * one.value, 10 * one.low, 10 * one.high))


def test_the_method_says_whether_there_is_an_interval() -> None:
    known = proportion_metric("a", "A", RIGHT, clustering=Clustering(frames_per_sign=1))
    unknown = proportion_metric("a", "A", RIGHT)
    assert (known.method, unknown.method) == (METHOD, UNKNOWN_CLUSTERING)
    assert unknown.low is None
    assert METHOD == "Clopper-Pearson at n/DEFF"
    assert UNKNOWN_CLUSTERING.startswith("none: ")
