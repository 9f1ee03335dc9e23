"""The monitor stage on models whose mistakes are known before it runs. Legend: N images, K classes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from safeml.audits.base import AuditInputs
from safeml.audits.monitors.perfect import PERFECT
from safeml.audits.monitors.run import run
from safeml.audits.perfect import NoModel
from safeml.audits.slices import numbers
from safeml.config.audit import parse_config
from safeml.data.dataset import ImageDataset
from safeml.data.place import Place
from safeml.errors import InputRefused
from safeml.gates import decide
from safeml.monitors.distances import DISTANCES
from safeml.monitors.registry import SCORES as LIBRARY_SCORES
from safeml.planning.perfect import PerfectWork
from safeml.results import StageResult
from safeml.stages.monitors import MONITORS, SCORES, DistanceName, MonitorsSettings
from safeml.subject import outside_images
from tests.monitor_cases import GATE, LEVELS, QUICK, SIZE, K, Levels, inputs, signs
from tests.records import codes, metric, table_rows, value

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def result() -> StageResult:
    return run(inputs(), QUICK)


def test_every_declared_metric_is_recorded_once(result: StageResult) -> None:
    declared = {(row.name, part) for row in MONITORS.records(QUICK) for part in row.slices}
    recorded = [(entry.name, entry.slice) for entry in result.metrics]
    assert set(recorded) == declared
    assert len(recorded) == len(declared)
    assert {row.name: row.direction for row in MONITORS.records(QUICK)} == {
        entry.name: entry.direction for entry in result.metrics
    }
    assert result.title == MONITORS.title


def test_the_names_of_the_row_are_those_of_the_library() -> None:
    assert {name: row.title for name, row in LIBRARY_SCORES.items()} == SCORES
    assert set(DistanceName.__args__) == set(DISTANCES)


def test_errors_between_two_levels_are_separated_from_correct_predictions(result: StageResult) -> None:
    """Near the border of two levels the model errs and its logits are close: every score of logits sees it."""
    assert metric(result, "error_auroc.max_probability", "clean").low > 0.6
    assert metric(result, "error_auroc.random", "clean").value == pytest.approx(0.5, abs=0.12)
    gain = metric(result, "error_auroc_gain.entropy", "clean")
    assert gain.low <= gain.value <= gain.high
    row = next(
        row
        for row in table_rows(result, "scores")
        if (row["set"], row["score"]) == ("clean images", "maximum probability")
    )
    assert row["auroc"] == value(result, "error_auroc.max_probability", "clean")
    assert row["aurc"] < next(
        row["aurc"]
        for row in table_rows(result, "scores")
        if (row["set"], row["score"]) == ("clean images", "random numbers")
    )


def test_hazard_splits_into_what_is_left_and_what_is_removed(result: StageResult) -> None:
    error = 1 - Levels().predict_logits(inputs().test.images).argmax(1).__eq__(inputs().test.labels).mean()
    residual, removed = metric(result, "residual_hazard"), metric(result, "safety_gain")
    assert residual.value + removed.value == pytest.approx(error)
    assert residual.low <= residual.value <= residual.high
    assert removed.value > 0
    assert value(result, "errors_stopped", "clean") == pytest.approx(removed.value / error)


def test_false_alarms_are_counted_by_sign_and_bounded(result: StageResult) -> None:
    alarms = metric(result, "false_alarms_per_1000", "score")
    assert alarms.n == alarms.signs
    assert alarms.n <= 30
    assert alarms.high > 200  # thirty signs cannot prove one alarm in five
    assert "false-alarms-score" in codes(result)
    assert 0.6 <= value(result, "availability") <= 1


def test_noise_of_another_contrast_raises_the_distance_and_clean_signs_do_not(result: StageResult) -> None:
    detected = metric(result, "shift_detected", "gaussian_noise")
    assert detected.value >= 0.0
    delay = metric(result, "detection_delay", "gaussian_noise")
    assert 1 <= delay.value <= 8
    assert delay.high <= 8


def test_a_model_without_features_has_the_scores_of_logits_alone() -> None:
    result = run(inputs(Levels(wide=False)), QUICK)
    assert metric(result, "error_auroc.vim", "clean").reason == "the model gives no features"
    assert value(result, "error_auroc.energy", "clean") is not None
    assert any(fact.label == "Scores of features" for fact in result.not_tested)


def test_without_validation_signs_nothing_is_trusted_and_nothing_is_zero() -> None:
    result = run(inputs(valid=None), QUICK)
    for name in ("residual_hazard", "safety_gain", "availability"):
        assert metric(result, name).status == "undefined"
        assert "no [data.valid]" in metric(result, name).reason
    assert metric(result, "false_alarms_per_1000", "score").status == "undefined"
    assert "no-threshold" in codes(result)
    assert value(result, "error_auroc.max_probability", "clean") is not None


def test_too_few_signs_for_the_declared_rate_calibrate_nothing() -> None:
    result = run(inputs(), QUICK.model_copy(update={"false_alarm_rate": 0.01}))
    reason = metric(result, "availability").reason
    assert "needs 99" in reason
    assert metric(result, "errors_stopped", "clean").value is None


def test_training_images_that_are_test_images_fit_no_monitor() -> None:
    test = signs(200, 4, 3)
    result = run(inputs(train=replace(test, tracks=None), test=test), QUICK)
    assert "training-shared" in codes(result)


def test_a_model_without_an_error_has_no_error_to_separate() -> None:
    easy = {
        "test": signs(60, 4, 3, 0.5),
        "valid": signs(60, 8, 2, 0.5, first=3000),
        "train": signs(40, 10, 1, 0.5, first=5000),
    }
    result = run(inputs(**easy), QUICK.model_copy(update={"corruptions": ("contrast",), "severity": 1}))
    first = metric(result, "error_auroc.max_probability", "clean")
    assert first.reason == "the model classifies all of the clean images correctly"
    assert value(result, "residual_hazard") == 0
    assert metric(result, "residual_hazard").high > 0


@dataclass(eq=False)
class Graph(Levels):
    """The same model with a gradient, and `known`: with one of its features too."""

    known: bool = True

    def logits(self, pixels):
        import tensorflow as tf

        mean = 255 * tf.reduce_mean(pixels, axis=[1, 2, 3])
        return -self.sharp * tf.abs(mean[:, None] - tf.constant(LEVELS, tf.float32))

    def predict_logits(self, images: np.ndarray) -> np.ndarray:
        return super().predict_logits(images if images.dtype == np.uint8 else 255 * images)

    def features(self, images: np.ndarray) -> np.ndarray:
        return super().features(images if images.dtype == np.uint8 else 255 * images)

    @property
    def penultimate(self):
        if not self.known:
            raise AttributeError
        return self._penultimate

    def _penultimate(self, pixels):
        import tensorflow as tf

        half = SIZE // 2
        means = 255 * tf.reduce_mean(tf.reshape(pixels, [-1, 2, half, 2, half]), axis=[2, 4])
        spread = 255 * tf.math.reduce_std(tf.reshape(pixels, [-1, SIZE * SIZE]), axis=1)
        return tf.concat([tf.reshape(means, [-1, 4]), spread[:, None]], axis=1)


ATTACKS = QUICK.model_copy(
    update={
        "attacked_images": 40,
        "steps": 5,
        "knowing_steps": 8,
        "knowing_restarts": 2,
        "epsilon": 25 / 255,
        "corruptions": ("contrast",),
    }
)


@pytest.mark.parametrize("name", ["max_probability", "mahalanobis"])
def test_an_adversary_who_knows_the_monitor_gets_at_least_as_many_errors_trusted(name: str) -> None:
    settings = ATTACKS.model_copy(update={"score": name})
    result = run(inputs(Graph()), settings)
    declared = {(row.name, part) for row in MONITORS.records(settings) for part in row.slices}
    assert {(entry.name, entry.slice) for entry in result.metrics} == declared
    blind, knowing = (value(result, "trusted_errors", where) for where in ("attacked", "knowing"))
    assert knowing >= blind
    assert value(result, "errors_stopped", "knowing") <= value(result, "errors_stopped", "attacked")
    rows = table_rows(result, "adversaries")
    assert [row["passed"] for row in rows] == [blind, knowing]
    # An incorrect prediction that is not stopped is trusted.
    for row in rows:
        assert row["errors"] * (1 - row["stopped"]) == pytest.approx(row["images"] * row["passed"])
    assert ("monitor-evaded" in codes(result)) == (knowing > blind)
    assert knowing > 0.3  # of the others the border of two levels is beyond epsilon


def test_the_attack_on_a_score_of_features_needs_their_gradient() -> None:
    settings = ATTACKS.model_copy(update={"score": "mahalanobis"})
    result = run(inputs(Graph(known=False)), settings)
    assert value(result, "trusted_errors", "attacked") is not None
    for name in ("trusted_errors", "errors_stopped"):
        assert metric(result, name, "knowing").reason == "the model gives no gradient of its features"
    without = run(inputs(), settings)
    assert "no gradient" in metric(without, "trusted_errors", "knowing").reason
    none = settings.model_copy(update={"knowing_restarts": 0})
    assert not any(entry.slice == "knowing" for entry in run(inputs(Graph()), none).metrics)


@dataclass(eq=False)
class Broken(Levels):
    """Gives no finite logits for dark images."""

    def predict_logits(self, images: np.ndarray) -> np.ndarray:
        logits = super().predict_logits(images)
        logits[images.reshape(len(images), -1).mean(axis=1) < 30] = np.nan
        return logits


def test_outputs_that_are_not_finite_are_rejected_and_reported() -> None:
    result = run(inputs(Broken()), QUICK)
    assert "non-finite-outputs" in codes(result)
    assert value(result, "errors_stopped", "clean") > 0
    assert value(result, "residual_hazard") + value(result, "safety_gain") <= 1


def test_images_from_outside_are_shown_and_their_labels_do_not_matter() -> None:
    settings = MonitorsSettings.model_validate(
        {**QUICK.model_dump(), "ood": {"kind": "npz", "path": "x.npz"}}
    )
    far = signs(40, 1, 9, 60.0)
    one = run(inputs(ood=replace(far, frames_per_sign=1, tracks=None)), settings)
    other = run(
        inputs(ood=replace(far, labels=(far.labels + 1) % K, frames_per_sign=1, tracks=None)), settings
    )
    for name in ("ood_auroc.neighbours", "ood_fpr_at_95.max_probability", "ood_stopped"):
        assert metric(one, name, "outside") == metric(other, name, "outside")
        assert metric(one, name, "outside").low is not None
    missing = run(inputs(), settings)
    assert "were not read" in metric(missing, "ood_stopped", "outside").reason


def test_images_from_outside_may_have_one_label(tmp_path: Path) -> None:
    """Their labels mean nothing, so that zeros must do."""
    np.savez(tmp_path / "far.npz", images=signs(4, 1, 9).images, labels=np.zeros(4, np.int64))
    np.savez(tmp_path / "test.npz", images=signs(4, 1, 9).images, labels=np.arange(4))
    ood = {"kind": "npz", "path": "far.npz", "frames_per_sign": 1}
    config = parse_config(
        {
            "model": {"path": "levels.keras"},
            "data": {"test": {"kind": "npz", "path": "test.npz", "frames_per_sign": 1}},
            "stages": {"monitors": {"ood": ood}},
            "gates": [GATE],
        },
        "safeml.toml",
    )
    assert len(outside_images(config, Place(tmp_path, None))) == 4
    with pytest.raises(InputRefused, match="has one class"):
        Place(tmp_path, None).plain(config.stages.monitors.ood)


def test_the_order_of_the_test_images_changes_no_number() -> None:
    test = signs(200, 4, 3)
    shuffled = test.take(np.random.default_rng(0).permutation(len(test)))
    one, two = run(inputs(test=test), QUICK), run(inputs(test=shuffled), QUICK)
    for name, part in (("error_auroc.energy", "clean"), ("residual_hazard", "all"), ("availability", "all")):
        assert value(one, name, part) == pytest.approx(value(two, name, part))


def test_fitting_leaves_the_outputs_of_the_model_as_they_are() -> None:
    model, images = Levels(), signs(20, 2, 8).images
    before = model.predict_logits(images).tobytes(), model.features(images).tobytes()
    run(inputs(model), QUICK)
    assert before == (model.predict_logits(images).tobytes(), model.features(images).tobytes())


def planned(wrong: int, valid: ImageDataset | None) -> StageResult:
    """The stage of a plan on 421 signs of 15 declared frames, `wrong` of them misclassified."""
    labels = np.repeat(np.arange(421) % K, 15)
    pixels = np.zeros((len(labels), 1, 1, 1), np.uint8)
    test = ImageDataset("test", pixels, labels, tuple(f"class {k}" for k in range(K)), frames_per_sign=15)
    broken = np.arange(len(labels)) < 15 * wrong
    model = PERFECT.simulate(test, broken, "residual_hazard")
    work = PerfectWork(model, PERFECT.arrays, numbers(test))
    no_model = NoModel("none", K)
    given = AuditInputs(no_model, test, train=signs(40, 10, 1, first=5000), valid=valid, work=work)
    return PERFECT.run(given, MonitorsSettings())


def test_a_perfect_model_passes_the_default_gates_on_421_signs() -> None:
    result = planned(0, signs(60, 8, 2, first=3000))
    rulings = decide([result], MONITORS.gates, "2026-01-01").gates
    assert [ruling.status for ruling in rulings] == ["pass", "pass"]
    some = decide([planned(3, signs(60, 8, 2))], MONITORS.gates, "2026-01-01").gates
    assert [ruling.status for ruling in some] == ["not_proven", "pass"]


def test_a_plan_says_where_no_threshold_can_be_calibrated() -> None:
    for valid, words in (
        (None, "no [data.valid]"),
        (signs(20, 8, 2), "need 19"),
        (signs(60, 8, 2, tracks=None), "not known"),
    ):
        result = planned(0, valid)
        assert words in metric(result, "availability").reason
        assert metric(result, "residual_hazard").value is None


def test_few_errors_give_a_value_without_an_interval() -> None:
    """One sign has all errors, so many resamples have none; no gate may pass on such a value."""
    test = signs(60, 4, 3, 0.5)
    labels = test.labels.copy()
    labels[:4] = (labels[:4] + 1) % K
    result = run(inputs(test=replace(test, labels=labels)), QUICK)
    auroc = metric(result, "error_auroc.energy", "clean")
    assert auroc.value is not None
    assert auroc.low is None
    assert "resamples hold no incorrect" in auroc.method


def test_the_other_rates_are_in_a_table_and_a_larger_rate_rejects_no_less(result: StageResult) -> None:
    rows = [row for row in table_rows(result, "rates") if row["errors"] is not None]
    assert [row["rate"] for row in table_rows(result, "rates")] == [10, 50, 100, 200, 300]
    assert rows[0]["rate"] > 10  # thirty signs calibrate no rate of one percent
    assert all(one["errors"] <= two["errors"] for one, two in pairwise(rows))
    assert next(row for row in rows if row["rate"] == 200)["errors"] == value(
        result, "errors_stopped", "clean"
    )
