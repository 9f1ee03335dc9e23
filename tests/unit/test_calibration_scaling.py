"""Temperature, vector and isotonic scaling against known answers and scikit-learn. Legend: N images, K classes."""

from __future__ import annotations

import numpy as np
import pytest

from safeml.errors import StageError
from safeml.metrics.calibration.forecasts import forecasts
from safeml.metrics.calibration.scaling import fit_isotonic, fit_temperature, fit_vector
from safeml.metrics.calibration.scores import nll_loss
from tests.unit.test_calibration_errors import drawn

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("factor", [0.02, 0.3, 1.0, 4.0, 100.0])
def test_a_known_temperature_is_recovered_whatever_the_scale(factor) -> None:
    """Logits that were multiplied by T have the temperature T, saturated or not."""
    logits, labels = drawn(20_000, 10, 1)
    assert fit_temperature(logits * factor, labels).value == pytest.approx(factor, rel=0.03)
    assert fit_temperature((logits * factor).astype(np.float32), labels).value == pytest.approx(
        fit_temperature(logits * factor, labels).value, rel=1e-4
    )


def test_a_temperature_is_the_minimum_of_the_nll() -> None:
    logits, labels = drawn(3000, 5, 2)
    best = fit_temperature(logits * 3, labels)
    losses = [nll_loss(forecasts(logits * 3 / (best.value * step), labels)) for step in (0.99, 1.0, 1.01)]
    assert min(losses) == losses[1]


def test_a_temperature_never_changes_a_predicted_class() -> None:
    logits, labels = drawn(5000, 8, 3)
    scaled = fit_temperature(logits * 7, labels).apply(logits * 7)
    assert (scaled.argmax(axis=1) == logits.argmax(axis=1)).all()


@pytest.mark.parametrize(
    ("logits", "labels", "message"),
    [
        (np.eye(4) * 3, np.arange(4), "all 4 images for fitting are classified correctly"),
        (np.zeros((6, 3)), np.arange(6) % 3, "carry no information"),
        (np.eye(2)[[0, 1]], np.array([1, 0]), "carry no information"),
        (np.array([[5.0, 0.0]]), np.array([0]), "classified correctly"),
        (np.array([[-np.inf, 0.0]]), np.array([1]), "a logit for fitting is infinite"),
        (np.array([[np.nan, 0.0]]), np.array([1]), "NaN"),
    ],
)
def test_where_no_temperature_is_best_the_reason_is_given(logits, labels, message) -> None:
    with pytest.raises(StageError, match=message):
        fit_temperature(logits, labels)


def test_vector_scaling_undoes_a_known_distortion() -> None:
    logits, labels = drawn(20_000, 4, 4)
    weights, biases = np.array([2.0, 0.5, 1.0, 3.0]), np.array([0.5, -1.0, 0.0, 0.5])
    fitted = fit_vector((logits - biases) / weights, labels)
    centred = fitted.biases - fitted.biases.mean()
    assert fitted.weights == pytest.approx(weights, rel=0.08)
    assert centred == pytest.approx(biases - biases.mean(), abs=0.12)


def test_a_class_that_is_absent_from_the_fitting_data_keeps_finite_numbers() -> None:
    logits, labels = drawn(500, 4, 5)
    present = labels != 2
    fitted = fit_vector(logits[present], labels[present])
    assert np.isfinite(fitted.apply(logits)).all()
    assert fit_temperature(logits[present], labels[present]).value > 0


def test_isotonic_steps_are_those_of_scikit_learn() -> None:
    isotonic = pytest.importorskip("sklearn.isotonic")
    logits, labels = drawn(2000, 6, 6)
    made = forecasts(logits * 3, labels)
    expected = isotonic.IsotonicRegression(y_min=0, y_max=1).fit_transform(made.log_odds, made.hits)
    assert fit_isotonic(made).apply(made.log_odds) == pytest.approx(expected)


def test_isotonic_scaling_orders_saturated_confidences() -> None:
    """All confidences are 1.0 in float64; their log-odds still differ."""
    made = forecasts(
        np.c_[np.r_[np.full(50, 60.0), np.full(50, 90.0)], np.zeros((100, 2))],
        np.r_[np.ones(25, int), np.zeros(75, int)],
    )
    assert (made.confidence == 1).all()
    assert fit_isotonic(made).apply(made.log_odds).tolist() == [0.5] * 50 + [1.0] * 50
