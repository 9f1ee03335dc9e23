"""Calibration measures against closed forms and scikit-learn. Legend: N images, K classes, B bins."""

from __future__ import annotations

import numpy as np
import pytest

from safeml.errors import StageError
from safeml.metrics.calibration.binned import (
    classwise_error,
    debiased_error,
    ece_error,
    equal_mass,
    equal_width,
    fill,
)
from safeml.metrics.calibration.consistency import bands, p_value, perfect_draws, shared_draws
from safeml.metrics.calibration.forecasts import forecasts
from safeml.metrics.calibration.scores import (
    brier_loss,
    brier_parts,
    expected_brier,
    expected_nll,
    nll_loss,
)
from safeml.metrics.calibration.smooth import ks_error, smooth_error
from safeml.statistics import Clustering


def confident(confidence: float, hits: int, N: int) -> tuple[np.ndarray, np.ndarray]:
    """Return N equal confidences, and hits (bool [N]) of which the first are True."""
    return np.full(N, confidence), np.arange(N) < hits


def drawn(N: int, K: int, seed: int, scale: float = 2.0) -> tuple[np.ndarray, np.ndarray]:
    """Return logits, and labels that are drawn from their softmax: a perfectly calibrated model."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, scale, (N, K))
    return logits, (logits + rng.gumbel(size=(N, K))).argmax(axis=1)


def width_error(confidence: np.ndarray, hits: np.ndarray) -> float:
    return ece_error(fill(equal_width(confidence), confidence, hits))


def mass_error(confidence: np.ndarray, hits: np.ndarray) -> float:
    return ece_error(fill(equal_mass(confidence), confidence, hits))


ERRORS = [width_error, mass_error, smooth_error, ks_error]


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize(
    ("confidence", "hits", "gap"),
    [(0.8, 900, 0.1), (1.0, 900, 0.1), (1.0, 0, 1.0), (1.0, 1000, 0.0), (0.0, 250, 0.25), (0.0, 0, 0.0)],
)
def test_a_constant_confidence_has_its_gap_as_error(error, confidence, hits, gap) -> None:
    assert error(*confident(confidence, hits, 1000)) == pytest.approx(gap, abs=1e-4)


def test_the_debiased_error_subtracts_the_variance_of_a_proportion() -> None:
    confidence, hits = confident(0.8, 900, 1000)
    expected = np.sqrt(0.1**2 - 0.9 * 0.1 / 999)
    assert debiased_error(fill(equal_mass(confidence), confidence, hits)) == pytest.approx(expected)


def test_debiasing_brings_a_perfect_sample_nearer_to_zero() -> None:
    rng = np.random.default_rng(2)
    confidence = rng.random(20_000)
    raw, debiased = [], []
    for hits in perfect_draws(confidence, 20, 0):
        filled = fill(equal_mass(confidence), confidence, hits)
        raw.append(np.sqrt((filled.count * filled.gaps**2).sum() / filled.count.sum()))
        debiased.append(debiased_error(filled))
    assert np.square(debiased).mean() < 0.5 * np.square(raw).mean()


def test_smooth_ece_of_ten_thousand_perfect_samples_is_above_one_percent() -> None:
    rng = np.random.default_rng(0)
    confidence = rng.random(10_000)
    values = [smooth_error(confidence, hits) for hits in perfect_draws(confidence, 5, 1)]
    # relplot 1.0.3 gives 0.0124 to 0.0143 on five such samples.
    assert 0.0115 < np.mean(values) < 0.0150


def test_equal_confidences_share_a_bin_and_no_image_is_lost() -> None:
    confidence = np.repeat([0.3, 0.9, 1.0], [100, 200, 700])
    cells = equal_mass(confidence)
    filled = fill(cells, confidence, np.ones(1000))
    assert [len(set(cells[confidence == value])) for value in (0.3, 0.9, 1.0)] == [1, 1, 1]
    assert filled.count.sum() == 1000
    assert filled.confidence.sum() == pytest.approx(confidence.sum())


def test_equal_mass_bins_hold_equal_numbers() -> None:
    confidence = np.random.default_rng(0).random(1500)
    assert fill(equal_mass(confidence), confidence, np.ones(1500)).count.tolist() == [100] * 15


def test_classwise_ece_of_two_classes_is_that_of_either() -> None:
    """With two classes both have the same gap: 0.8 against a frequency of 0.5."""
    probabilities = np.tile([0.8, 0.2], (400, 1))
    assert classwise_error(probabilities, np.arange(400) % 2) == pytest.approx(0.3)


def test_the_order_of_images_changes_nothing() -> None:
    logits, labels = drawn(2000, 5, 3)
    order = np.random.default_rng(1).permutation(2000)
    first, second = forecasts(logits, labels), forecasts(logits[order], labels[order])
    for error in ERRORS:
        assert error(first.confidence, first.hits) == pytest.approx(
            error(second.confidence, second.hits), abs=1e-12
        )


def test_scores_agree_with_scikit_learn() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    logits, labels = drawn(3000, 7, 4)
    made = forecasts(logits, labels)
    assert nll_loss(made) == pytest.approx(metrics.log_loss(labels, made.probabilities, labels=range(7)))
    first = forecasts(logits[:, :2], (labels % 2))
    binary = metrics.brier_score_loss(labels % 2, first.probabilities[:, 1])
    assert brier_loss(first) == pytest.approx(2 * binary)


def test_the_parts_of_the_brier_score_add_up_and_are_murphys_where_bins_are_pure() -> None:
    probabilities = np.repeat([[0.9, 0.1], [0.3, 0.7]], 500, axis=0)
    labels = np.r_[np.arange(500) % 5 == 0, np.arange(500) % 4 != 0].astype(int)
    made = forecasts(np.log(probabilities), labels)
    parts = brier_parts(made)
    base = labels.mean()
    frequency = np.array([0.2, 0.75])
    assert parts.reliability == pytest.approx(2 * ((frequency - [0.1, 0.7]) ** 2).mean())
    assert parts.resolution == pytest.approx(2 * ((frequency - base) ** 2).mean())
    assert parts.uncertainty == pytest.approx(2 * base * (1 - base))
    assert parts.within == pytest.approx(0, abs=1e-12)
    total = parts.reliability - parts.resolution + parts.uncertainty + parts.within
    assert total == pytest.approx(brier_loss(made))


def test_a_perfectly_calibrated_model_has_its_expected_scores() -> None:
    made = forecasts(*drawn(40_000, 6, 5))
    assert nll_loss(made) == pytest.approx(expected_nll(made), abs=0.02)
    assert brier_loss(made) == pytest.approx(expected_brier(made), abs=0.01)


def test_probabilities_of_zero_and_one_are_counted() -> None:
    with np.errstate(divide="ignore"):
        logits = np.log(np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]]))
    made = forecasts(logits, np.array([0, 1, 1]))
    assert made.confidence.tolist() == [1, 1, 1]
    assert nll_loss(made) == np.inf
    assert brier_loss(made) == pytest.approx(2 / 3)
    assert width_error(made.confidence, made.hits) == pytest.approx(1 / 3)
    assert expected_nll(made) == 0


def test_log_odds_order_confidences_that_round_to_one() -> None:
    made = forecasts(np.array([[50.0, 0, 0], [60.0, 0, 0], [800.0, 0, 0]]), np.zeros(3, int))
    assert (made.confidence == 1).all()
    assert made.log_odds == pytest.approx(np.array([50, 60, 800]) - np.log(2))


@pytest.mark.parametrize(
    ("logits", "labels", "message"),
    [
        ([[np.nan, 0.0]], [0], "1 of 1 images are NaN or infinite"),
        ([[np.inf, 0.0], [0, 1]], [0, 0], "1 of 2 images are NaN or infinite"),
        ([[-np.inf, -np.inf]], [0], "NaN or infinite"),
        ([[0.0, 1.0]], [2], "expected class ids from 0 to 1"),
        ([[0.0, 1.0]], [0.5], "labels are float64"),
        ([[0.0]], [0], "two classes"),
        (np.zeros((0, 3)), np.zeros(0, int), "at least one image"),
        ([[0.0, 1.0]], [0, 1], r"\[N, K\] and \[N\]"),
    ],
)
def test_bad_input_is_named(logits, labels, message) -> None:
    with pytest.raises(StageError, match=message):
        forecasts(np.array(logits), np.array(labels))


def test_one_image_is_measured() -> None:
    made = forecasts(np.array([[0.0, 0.0]]), np.array([1]))
    for error in ERRORS:
        assert error(made.confidence, made.hits) == pytest.approx(0.5, abs=1e-3)


@pytest.mark.slow
def test_the_calibration_test_rejects_a_gap_and_no_perfect_model() -> None:
    confidence = np.random.default_rng(0).uniform(0.5, 1, 2000)
    draws = list(perfect_draws(confidence, 200, 0))
    statistic = lambda hits: smooth_error(confidence, hits)  # noqa: E731
    overconfident = np.random.default_rng(1).random(2000) < confidence - 0.1
    assert p_value(statistic, overconfident, draws) == pytest.approx(1 / 201)
    perfect = [p_value(statistic, hits, draws) for hits in perfect_draws(confidence, 20, 9)]
    assert sum(value < 0.05 for value in perfect) <= 4
    assert np.mean(perfect) > 0.25


def test_frames_of_one_sign_share_a_draw() -> None:
    tracks = np.repeat(np.arange(40), 25)
    confidence = np.full(1000, 0.7)
    labels = np.zeros(1000, int)
    for clustering in (Clustering(tracks), Clustering(frames_per_sign=25)):
        accuracies = [hits.mean() for hits in shared_draws(confidence, labels, clustering, 400, 3)]
        assert np.std(accuracies) == pytest.approx(np.sqrt(0.7 * 0.3 / 40), rel=0.15)
    independent = [hits.mean() for hits in perfect_draws(confidence, 400, 3)]
    assert np.std(independent) == pytest.approx(np.sqrt(0.7 * 0.3 / 1000), rel=0.15)


def test_a_band_is_the_binomial_one_and_an_empty_bin_has_none() -> None:
    stats = pytest.importorskip("scipy.stats")
    confidence = np.full(300, 0.9)
    ends = bands(equal_width(confidence), 15, list(perfect_draws(confidence, 2000, 0)))
    expected = stats.binom.ppf([0.025, 0.975], 300, 0.9) / 300
    assert ends[13] == pytest.approx(expected, abs=0.005)
    assert np.isnan(ends[0]).all()
