"""The loss of accuracy of a changed model, sign by sign: closed forms, refusals, worst cases."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from safeml.errors import StageError
from safeml.gates import decide
from safeml.results import Gate, StageResult
from safeml.statistics import Clustering, paired_noninferiority, signs_for_identical_models
from safeml.statistics.mean_bounds import t_upper_bound, upper_bound

pytestmark = pytest.mark.slow

SIGNS, FRAMES = 421, 30
TRACKS = Clustering(np.repeat(np.arange(SIGNS), FRAMES))
DECLARED = Clustering(frames_per_sign=FRAMES)
SAME = np.ones(SIGNS * FRAMES, bool)


def lost(*images: int) -> np.ndarray:
    after = SAME.copy()
    after[list(images)] = False
    return after


def compare(after: np.ndarray, clustering: Clustering = TRACKS, **arguments):
    return paired_noninferiority("drop", "Drop", SAME, after, clustering=clustering, **arguments)


@pytest.mark.parametrize("clustering", [TRACKS, DECLARED])
@pytest.mark.parametrize(
    ("level", "largest_loss", "points"), [(0.975, 1.0, 0.87), (0.95, 1.0, 0.71), (0.95, 0.5, 0.36)]
)
def test_identical_models_have_the_closed_form(clustering, level, largest_loss, points):
    metric = compare(SAME, clustering, level=level, largest_loss=largest_loss)
    assert metric.high == pytest.approx(largest_loss * (1 - (1 - level) ** (1 / SIGNS)))
    assert 100 * metric.high == pytest.approx(points, abs=0.01)
    assert (metric.value, metric.sides, metric.level) == (0, 1, level)


@pytest.mark.parametrize(
    ("margin", "largest_loss", "level", "signs"),
    [
        (0.005, 1, 0.975, 736),
        (0.005, 1, 0.95, 598),
        (0.01, 1, 0.975, 368),
        (0.01, 1, 0.95, 299),
        (0.01, 0.01, 0.95, 0),
    ],
)
def test_the_planned_signs_are_the_fewest_that_prove_identical_models(margin, largest_loss, level, signs):
    assert signs_for_identical_models(margin, largest_loss, level) == signs
    for count, proven in ((signs, True), (signs - 1, False)):
        if count < 2:
            continue
        same = np.ones(2 * count, bool)
        clustering = Clustering(np.repeat(np.arange(count), 2))
        metric = paired_noninferiority(
            "d", "D", same, same, clustering=clustering, largest_loss=largest_loss, level=level
        )
        assert (metric.high <= margin) is proven


def test_wholly_lost_signs_have_the_bound_of_clopper_and_pearson():
    metric = compare(lost(*range(3 * FRAMES)))
    exact = stats.binomtest(3, SIGNS).proportion_ci(0.90, method="exact").high
    assert metric.high == pytest.approx(exact)
    assert metric.value == pytest.approx(3 / SIGNS)


def test_lost_images_of_declared_signs_are_packed_into_the_fewest():
    scattered = lost(*range(0, 90 * FRAMES, FRAMES))
    packed = lost(*range(90))
    assert compare(scattered, DECLARED).high == pytest.approx(compare(packed, DECLARED).high)
    assert compare(packed, DECLARED).high == pytest.approx(compare(packed, TRACKS).high)
    assert compare(scattered, TRACKS).high < compare(scattered, DECLARED).high


def test_the_method_names_the_level_and_the_assumption():
    metric = compare(lost(0), largest_loss=0.5)
    assert "one-sided at 95" in metric.method
    assert "declared: no sign track loses more than 50" in metric.method
    assert "no assumption about a sign track" in compare(lost(0)).method


def test_a_sign_that_loses_more_than_declared_is_refused_and_never_passes():
    metric = compare(lost(*range(16)), largest_loss=0.5)
    assert (metric.status, metric.value) == ("undefined", None)
    assert "a sign track loses 53.3" in metric.reason
    assert compare(lost(*range(15)), largest_loss=0.5).status == "ok"
    gate = Gate(id="d", stage="int8", metric="drop", op="<=", threshold=0.9)
    stage = StageResult(stage="int8", title="INT8", metrics=[metric])
    assert decide([stage], [gate], "2026-01-01").gates[0].status == "error"


def test_images_won_do_not_hide_a_wholly_lost_sign():
    before = SAME.copy()
    before[FRAMES : 3 * FRAMES] = False
    metric = paired_noninferiority(
        "d", "D", before, lost(*range(FRAMES)), clustering=TRACKS, largest_loss=0.5
    )
    assert metric.status == "undefined"


@pytest.mark.parametrize("largest_loss", [0.0, -0.5, 1.1, math.nan])
def test_an_impossible_largest_loss_is_an_error(largest_loss):
    with pytest.raises(StageError, match="largest_loss is"):
        compare(SAME, largest_loss=largest_loss)


def test_independent_images_cannot_lose_half_of_themselves():
    metric = compare(SAME, Clustering(frames_per_sign=1), largest_loss=0.5)
    assert "set largest_loss = 1" in metric.reason


def test_more_lost_images_than_the_declared_share_can_hold_are_refused():
    after = np.zeros(SIGNS * FRAMES, bool)
    assert "do not fit" in compare(after, DECLARED, largest_loss=0.5).reason
    assert compare(after, DECLARED).value == 1


def test_unknown_clustering_has_no_interval_and_other_vectors_are_errors():
    metric = paired_noninferiority("d", "D", SAME, lost(0))
    assert (metric.low, metric.high, metric.clustering) == (None, None, "unknown")
    with pytest.raises(StageError, match="two bool vectors"):
        paired_noninferiority("d", "D", SAME, SAME[:-1])


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_one_more_lost_image_never_lowers_the_upper_end(data):
    frames = data.draw(st.integers(1, 12))
    signs = data.draw(st.integers(2, 30))
    clustering = Clustering(np.repeat(np.arange(signs), frames))
    before = np.array(data.draw(st.lists(st.booleans(), min_size=signs * frames, max_size=signs * frames)))
    after = before.copy()
    flips = data.draw(st.lists(st.integers(0, signs * frames - 1), max_size=12))
    after[flips] = ~after[flips]
    kept = np.flatnonzero(after & before)
    if len(kept) == 0:
        return
    worse = after.copy()
    worse[kept[data.draw(st.integers(0, len(kept) - 1))]] = False
    one, other = (
        paired_noninferiority("d", "D", before, answers, clustering=clustering, draws=20_000)
        for answers in (after, worse)
    )
    # The quantile is simulated.
    assert other.high >= one.high - 0.01
    assert one.low <= one.value <= one.high


def test_the_closed_form_inverts_its_own_test():
    values, weights = np.array([-0.1, 0.0, 0.2, 0.5]), np.array([10.0, 300.0, 8.0, 3.0])
    bound = t_upper_bound(values, weights, 1.0, 0.025)
    sample = np.repeat([*values, 1.0], [10, 300, 8, 3, 1])
    t = (sample.mean() - bound) / (np.sqrt(((sample - bound) ** 2).sum()) / len(sample))
    assert t == pytest.approx(stats.t.ppf(0.025, len(sample) - 1))


def test_the_simulated_quantile_agrees_with_the_exact_one():
    """A value next to zero turns the closed form off, and hardly moves the bound."""
    exact = upper_bound(np.array([0.0, 1.0]), np.array([95.0, 5.0]), 1.0, 0.05)
    near = upper_bound(np.array([1e-9, 1.0]), np.array([95.0, 5.0]), 1.0, 0.05)
    assert near == pytest.approx(exact, abs=0.0005)
