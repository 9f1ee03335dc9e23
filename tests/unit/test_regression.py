"""Regression: errors and their intervals, the stage, and the classifier of errors."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from safeml.audits.base import AuditInputs
from safeml.audits.judged import judged_data
from safeml.audits.regression.run import run
from safeml.classifiers.judged import Judged, outcomes, predict
from safeml.classifiers.twin import with_gradients
from safeml.errors import InputRefused
from safeml.gates import decide
from safeml.metrics.regression import bias_error, mean_absolute_error, r2_score, root_mean_squared_error
from safeml.settings.targets import TargetSettings
from safeml.stages.perturbation import PerturbationSettings
from safeml.stages.regression import RegressionSettings
from safeml.statistics import quantile_metric
from safeml.statistics.clusters import Clustering
from tests.fakes import numbered_images
from tests.records import codes, metric, value
from tests.regression_cases import DEGREES, FEW, Values, gate, images_of, spread

pytestmark = pytest.mark.slow

# Errors and their intervals


def test_errors_are_those_of_numpy_and_scikit_learn() -> None:
    from sklearn.metrics import mean_absolute_error as sk_mae
    from sklearn.metrics import r2_score as sk_r2
    from sklearn.metrics import root_mean_squared_error as sk_rmse

    rng = np.random.default_rng(0)
    true, predicted = rng.normal(size=(2, 200))
    errors = predicted - true
    assert root_mean_squared_error(errors) == pytest.approx(sk_rmse(true, predicted))
    assert mean_absolute_error(errors) == pytest.approx(sk_mae(true, predicted))
    assert r2_score(errors, true) == pytest.approx(sk_r2(true, predicted))
    assert bias_error(errors) == pytest.approx(errors.mean())
    assert np.isnan(r2_score(errors, np.ones(200)))


@pytest.mark.parametrize("share", [0.5, 0.9, 0.95])
def test_a_quantile_is_numpys_and_its_interval_of_independent_values_is_the_exact_one(share: float) -> None:
    from scipy.stats import binom

    values = np.random.default_rng(1).exponential(size=400)
    made = quantile_metric("q", "q", values, share, clustering=Clustering(frames_per_sign=1.0))
    assert made.value == np.quantile(values, share, method="inverted_cdf")
    # Order statistics: P(x_(k) >= quantile) = P(Binomial(n, share) < k), W. J. Conover, "Practical nonparametric statistics", 1999.
    ordered = np.sort(values)
    first = next(k for k in range(1, 401) if binom.cdf(k - 1, 400, share) >= 0.975)
    assert made.high is not None
    assert made.low is not None
    # The tested order statistics are a grid, so an end may lie outside the exact one, never inside.
    assert made.high >= ordered[first - 1]
    assert binom.cdf(np.searchsorted(ordered, made.high), 400, share) < 0.9995
    assert made.low <= made.value <= made.high


def test_a_quantile_beyond_the_data_has_no_interval() -> None:
    values = np.random.default_rng(2).random(200)
    tracks = np.arange(200) // 10
    few = quantile_metric("q", "q", values, 0.99, clustering=Clustering(tracks))
    assert few.value is not None
    assert (few.low, few.high) == (None, None)
    assert "too few" in few.method
    unknown = quantile_metric("q", "q", values, 0.5)
    assert (unknown.low, unknown.high) == (None, None)


def test_the_upper_ends_of_clustered_quantiles_cover() -> None:
    """60 signs of 5 frames whose errors share a factor: the true quantile is above the upper end in at most 5 % of 400 samples."""
    rng = np.random.default_rng(3)
    signs, frames, share, missed = 60, 5, 0.9, 0

    def draw(count: int) -> np.ndarray:
        return np.abs(rng.normal(size=(count, 1)) + 0.5 * rng.normal(size=(count, frames))).ravel()

    true = float(np.quantile(draw(200_000), share))
    tracks = Clustering(np.arange(signs * frames) // frames)
    for _ in range(400):
        high = quantile_metric("q", "q", draw(signs), share, clustering=tracks).high
        missed += high is not None and high < true
    assert missed / 400 <= 0.05


# The stage on models of known errors


def audited(errors: np.ndarray, *targets: TargetSettings, settings: RegressionSettings = FEW) -> Any:
    own = targets or (DEGREES,)
    values = np.stack([spread(len(errors))] * len(own), axis=1)
    data = images_of(values, *own)
    return run(AuditInputs(Values(values + errors.reshape(len(errors), -1)), data), settings)


def test_a_perfect_model_passes_and_a_biased_one_fails() -> None:
    noise = 1e-3 * np.random.default_rng(0).normal(size=400)
    perfect, biased = audited(noise), audited(noise + 3.0)
    gates = [gate("within_tolerance", ">=", 0.9)]
    assert decide([perfect], gates, today="2030-01-01").status == "passed"
    assert decide([biased], gates, today="2030-01-01").status == "failed"
    for name, limit in (("error_p95", 2.5), ("bias_magnitude", 2.5), ("mae", 2.5), ("rmse", 2.5)):
        wanted = [gate(name, "<=", limit)]
        assert decide([perfect], wanted, today="2030-01-01").status == "passed", name
        assert decide([biased], wanted, today="2030-01-01").status == "failed", name
    assert value(biased, "bias") == pytest.approx(3.0, abs=1e-3)
    assert value(biased, "within_tolerance") == 0.0
    assert value(perfect, "r2") == pytest.approx(1.0, abs=1e-6)


def test_the_sign_of_a_bias_does_not_hide_it() -> None:
    low = audited(-3.0 + 1e-3 * np.random.default_rng(0).normal(size=400))
    made = metric(low, "bias_magnitude")
    assert made.value == pytest.approx(3.0, abs=1e-3)
    assert made.high is not None
    assert made.high >= 3.0 - 1e-3
    straddling = metric(audited(np.random.default_rng(0).normal(size=400)), "bias_magnitude")
    assert straddling.low == 0.0


def test_one_part_of_the_range_cannot_hide_behind_the_others() -> None:
    errors = np.where(spread(1200) > 13.4, 4.0, 0.01)
    result = audited(errors)
    worst = metric(result, "within_tolerance_worst_part")
    assert worst.value is not None
    assert worst.value < 0.05
    assert value(result, "within_tolerance") > 0.8


def test_a_constant_model_is_named_and_its_r2_is_zero() -> None:
    values = spread()
    result = audited(-values)
    assert "constant-answer" in codes(result)
    assert value(result, "r2") == pytest.approx(0.0, abs=1e-9)


def test_predictions_that_are_not_finite_are_misses_and_leave_errors_undefined() -> None:
    errors = np.full(400, 0.01)
    errors[7] = np.nan
    result = audited(errors)
    assert "non-finite-values" in codes(result)
    assert value(result, "within_tolerance") == pytest.approx(399 / 400)
    for name in ("mae", "rmse", "bias", "error_p95", "error_max", "r2"):
        assert metric(result, name).status == "undefined", name
    assert decide([result], [gate("mae", "<=", 10)], today="2030-01-01").status != "passed"


def test_without_a_tolerance_shares_are_undefined_and_no_gate_passes_on_them() -> None:
    result = audited(np.full(400, 0.01), DEGREES.model_copy(update={"tolerance": None}))
    assert metric(result, "within_tolerance").status == "undefined"
    assert "no-tolerance" in codes(result)
    assert decide([result], [gate("within_tolerance", ">=", 0.5)], today="2030-01-01").status == "incomplete"
    assert value(result, "mae") == pytest.approx(0.01, abs=1e-6)


def test_targets_of_different_units_have_no_common_error() -> None:
    metres = TargetSettings(name="way", unit="m", range=(-20.0, 20.0), tolerance=0.5)
    errors = (
        np.stack([np.full(400, 0.1), np.full(400, 1.0)], axis=1)
        * np.where(np.arange(400) % 2, 1, -1)[:, None]
    )
    result = audited(errors, DEGREES, metres)
    assert metric(result, "mae").status == "undefined"
    assert value(result, "mae", "target:tilt") == pytest.approx(0.1, abs=1e-5)
    assert value(result, "mae", "target:way") == pytest.approx(1.0, abs=1e-5)
    assert value(result, "within_tolerance") == 0.0  # the second target misses always


def test_the_largest_error_bounds_no_other_image() -> None:
    largest = metric(audited(np.random.default_rng(0).normal(size=400)), "error_max")
    assert (largest.low, largest.high) == (None, None)


# The classifier of errors


def test_the_classes_of_errors_say_which_side_missed() -> None:
    data = images_of(np.zeros(5) + np.arange(5))
    errors = np.array([[0.0], [2.0], [2.1], [-2.5], [np.nan]])
    judged = Judged(Values(data.targets.values + errors), ("tilt",), np.float32([2.0]))
    logits, labels = predict(judged, data.images, data.truths)
    assert judged.class_names == ("within the tolerance", "too high", "too low")
    assert logits[:4].argmax(axis=1).tolist() == [0, 0, 1, 2]
    assert not np.isfinite(logits[4]).any()
    assert labels.tolist() == [0] * 5
    assert outcomes(("a", "b")) == (
        "within the tolerance",
        "a too high",
        "b too high",
        "a too low",
        "b too low",
    )
    assert judged_data(data).class_names == judged.class_names


def test_corruptions_that_move_pixels_are_left_out_of_a_regression() -> None:
    from safeml.audits.perturbation.measure import applicable

    names = PerturbationSettings().corruptions
    left_out = set(names) - set(applicable(names, 3, regression=True))
    assert left_out == {"rotation", "perspective", "rolling_shutter", "elastic_transform"}
    assert applicable(names, 3) == names


def test_the_gradients_of_a_regression_state_how_far_its_values_are_and_no_agreement_of_classes() -> None:
    values = spread(40)[:, None]
    near: Any = Values(values + 0.01, name="near", fingerprint="d" * 64)
    checked = with_gradients(Values(values), near, numbered_images(40), "safeml.toml").checked
    assert checked.agreement is None
    assert checked.largest == pytest.approx(0.01, abs=1e-5)
    assert 0 < checked.difference < 0.01
    assert json.loads(checked.model_dump_json())["agreement"] is None
    far: Any = Values(values + 5.0, name="far", fingerprint="d" * 64)
    with pytest.raises(InputRefused, match="of their spread over 40 test images"):
        with_gradients(Values(values), far, numbered_images(40), "safeml.toml")
