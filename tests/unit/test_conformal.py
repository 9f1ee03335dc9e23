"""Conformal sets and selective prediction against exact distributions and hand-made cases. Legend: N images, K classes."""

from __future__ import annotations

import numpy as np
import pytest

from safeml.metrics.calibration.coverage import coverage_band
from safeml.metrics.calibration.selective import (
    augrc_loss,
    aurc_loss,
    coverage_at_risk,
    guaranteed_threshold,
    risk_coverage,
    signs_for_risk,
)
from safeml.monitors.conformal import (
    SCORES,
    class_scores,
    least_images,
    rank_of,
    sets,
    sets_by_group,
    threshold_of,
)
from tests.unit.test_calibration_errors import drawn

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("kind", SCORES)
@pytest.mark.parametrize(("scale", "rounded"), [(1.0, False), (40.0, False), (400.0, False), (1.0, True)])
def test_coverage_is_inside_its_exact_band_saturated_or_tied(kind, scale, rounded) -> None:
    n, m, alpha, rounds = 99, 400, 0.1, 200
    low, high = coverage_band(n, rank_of(n, alpha), m)
    rng = np.random.default_rng(0)
    logits, labels = drawn(rounds * (n + m), 5, 1)
    logits = np.round(logits) * scale if rounded else logits * scale
    parts, ties = rng.random(len(labels)), rng.random(logits.shape)
    scores = class_scores(kind, logits, parts)
    of_label = scores[np.arange(len(labels)), labels]
    tie_of_label = ties[np.arange(len(labels)), labels]
    inside = 0
    for start in range(0, len(labels), n + m):
        fitting, testing = slice(start, start + n), slice(start + n, start + n + m)
        threshold = threshold_of(of_label[fitting], tie_of_label[fitting], alpha)
        found = sets(of_label[testing, None], tie_of_label[testing, None], threshold).mean()
        inside += low <= found <= high
    assert inside >= 179


@pytest.mark.parametrize("tested", [1, 7, 300])
def test_the_band_is_that_of_the_beta_binomial(tested) -> None:
    stats = pytest.importorskip("scipy.stats")
    low, high = coverage_band(99, 95, tested)
    law = stats.betabinom(tested, 95, 5)
    assert law.cdf(round(low * tested) - 1) <= 0.025 < law.cdf(round(low * tested))
    assert law.cdf(round(high * tested)) >= 0.975 > law.cdf(round(high * tested) - 1)


def test_scores_are_those_of_the_papers_where_nothing_saturates() -> None:
    probabilities = np.array([[0.5, 0.1, 0.4], [0.2, 0.7, 0.1]])
    parts = np.array([0.25, 1.0])
    logits = np.log(probabilities)
    assert class_scores("lac", logits, parts) == pytest.approx(-logits)
    mass = np.array([[0.125, 0.925, 0.6], [0.9, 0.7, 1.0]])
    assert 1 - np.exp(-class_scores("aps", logits, parts)) == pytest.approx(mass)
    assert class_scores("raps", logits, parts) == pytest.approx(
        mass + 0.01 * np.array([[0, 1, 0], [0, 0, 1]])
    )


def test_too_few_signs_give_all_classes() -> None:
    assert [least_images(alpha) for alpha in (0.05, 0.01, 0.1)] == [19, 99, 9]
    few, enough = (threshold_of(np.arange(n) * 1.0, np.zeros(n), 0.05) for n in (18, 19))
    scores = np.array([[1e9, 3.0]])
    assert sets(scores, np.zeros((1, 2)), few).all()
    assert sets(scores, np.zeros((1, 2)), enough).tolist() == [[False, True]]


def test_a_group_without_a_threshold_is_in_every_set() -> None:
    scores = np.array([[0.5, 5.0, 5.0]])
    threshold = threshold_of(np.linspace(0, 1, 19), np.zeros(19), 0.05)
    inside = sets_by_group(scores, np.zeros((1, 3)), np.array([0, 0, 1]), {0: threshold})
    assert inside.tolist() == [[True, False, True]]


@pytest.mark.parametrize(
    ("kind", "logits"), [("aps", [[np.nan, 0.0]]), ("lac", [[-np.inf, 0.0]]), ("best", [[0.0, 1.0]])]
)
def test_a_score_of_unusable_logits_is_refused(kind, logits) -> None:
    with pytest.raises(ValueError, match=r"finite|expected one of"):
        class_scores(kind, np.array(logits), np.zeros(1))


def test_areas_of_a_perfect_a_reversed_and_a_tied_order() -> None:
    hits = np.array([True] * 8 + [False] * 2)
    perfect = np.arange(10, 0, -1.0)
    assert aurc_loss(perfect, hits) == pytest.approx((1 / 9 + 2 / 10) / 10)
    assert augrc_loss(perfect, hits) == pytest.approx((1 + 2) / 100)
    assert augrc_loss(-perfect, hits) == pytest.approx((1 + 2 * 9) / 100)
    tied = np.zeros(10)
    assert aurc_loss(tied, hits) == pytest.approx(0.2)
    assert augrc_loss(tied, hits) == pytest.approx(0.2 * 5.5 / 10)
    assert risk_coverage(tied, hits)[1] == pytest.approx(np.full(10, 0.2))


def test_coverage_at_risk_never_divides_equal_scores() -> None:
    scores = np.array([3.0, 3.0, 2.0, 2.0, 1.0])
    hits = np.array([True, True, True, False, False])
    assert coverage_at_risk(scores, hits, 0.0) == pytest.approx(0.4)
    assert coverage_at_risk(scores, hits, 0.25) == pytest.approx(0.8)
    assert coverage_at_risk(np.zeros(5), hits, 0.25) == 0


def test_a_guarantee_needs_its_sign_tracks() -> None:
    assert [signs_for_risk(risk) for risk in (0.019, 0.01, 0.005)] == [157, 299, 598]
    scores, tracks = np.linspace(0, 1, 3000), np.arange(3000) // 10
    clean = guaranteed_threshold(scores, np.ones(3000, bool), tracks, 0.01)
    assert clean.threshold == pytest.approx(scores[9])
    few = guaranteed_threshold(scores[:2980], np.ones(2980, bool), tracks[:2980], 0.01)
    assert (few.threshold, few.signs, few.needed) == (None, 298, 299)
    one_error = guaranteed_threshold(scores, scores < 1, tracks, 0.01)
    assert one_error.threshold is None


def test_a_guarantee_holds_in_nineteen_of_twenty_draws() -> None:
    """Signs fail with the probability 1 - score: at a risk of 10 % the true threshold is 0.8."""
    rng = np.random.default_rng(5)
    broken = 0
    for _ in range(200):
        scores = rng.random(300)
        found = guaranteed_threshold(scores, rng.random(300) < scores, np.arange(300), 0.1).threshold
        broken += found is not None and found < 0.8
    assert broken <= 17
