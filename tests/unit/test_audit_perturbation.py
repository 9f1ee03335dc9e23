"""The perturbation stage on models of known answers, in numpy alone. Legend: N images, K classes."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
from pydantic import ValidationError

from safeml.audits.base import AuditInputs
from safeml.audits.perturbation.figures import first_below
from safeml.audits.perturbation.measure import measure
from safeml.audits.perturbation.metrics import all_metrics
from safeml.audits.perturbation.perfect import PERFECT
from safeml.audits.perturbation.probe import RIDGE, linear_head
from safeml.audits.perturbation.run import run
from safeml.corruptions.grid import Point, changed, grid
from safeml.corruptions.rows import CORRUPTIONS
from safeml.data.dataset import ImageDataset
from safeml.errors import StageError
from safeml.gates import decide
from safeml.report.charts.grid import marked
from safeml.report.figures import figure_view
from safeml.results import Finding, Grid, Metric
from safeml.stages.alarms import with_alarms
from safeml.stages.perturbation import PERTURBATION, PerturbationSettings
from safeml.wording import percent
from tests.fakes import Answers
from tests.perturbation_cases import MODEL, TWO, Threshold, flats, settings, shifted, value

pytestmark = pytest.mark.slow


@dataclass(frozen=True, eq=False)
class Broken(Answers):
    """Gives no finite logits."""

    def predict_logits(self, images: np.ndarray) -> np.ndarray:
        return np.full((len(images), 2), np.nan, np.float32)


def test_accuracies_follow_from_koschmieders_law() -> None:
    """Mist lifts a dark image of level x to x * t + 0.75 * 255 * (1 - t); contrast leaves a constant image."""
    data = flats(20, 60, 90, 200)
    result = run(AuditInputs(MODEL, data), settings())
    right = []
    for severity, density in enumerate(CORRUPTIONS["mist"].small, 1):
        through = np.exp(-density)
        misty = np.array([20, 60, 90, 200]) * through + 0.75 * 255 * (1 - through)
        right.append(float(((misty > 100) == (data.labels == 1)).mean()))
        assert value(result, "corruption_accuracy", f"mist-{severity}") == right[-1]
        assert value(result, "corruption_accuracy", f"contrast-{severity}") == 1.0
    assert value(result, "corruption_accuracy", "mist") == pytest.approx(np.mean(right))
    assert value(result, "corruption_accuracy_worst") == pytest.approx(np.mean(right))
    assert value(result, "corruption_accuracy_mean") == pytest.approx((1 + np.mean(right)) / 2)
    assert result.card is not None
    assert "worst: mist" in result.card.text
    [finding] = [f for f in result.findings if f.code == "weakest-corruption"]
    assert finding.evidence["severity"] == 1 + next(i for i, share in enumerate(right) if share < 0.8)


def test_mce_divides_by_the_stated_baseline() -> None:
    data = flats(20, 60, 90, 200)
    own = run(AuditInputs(MODEL, data), settings())
    assert value(own, "mce") is None  # the clean error is 0
    declared = run(AuditInputs(MODEL, data), settings(baseline_error=0.25))
    error = 1 - value(declared, "corruption_accuracy_mean")
    assert value(declared, "mce") == pytest.approx(error / 0.25)
    assert value(declared, "relative_mce") == pytest.approx(error / 0.25)
    mislabelled = replace(data, labels=1 - data.labels)
    result = run(AuditInputs(MODEL, mislabelled), settings())
    error = 1 - value(result, "corruption_accuracy_mean")
    assert value(result, "mce") == pytest.approx(error)  # the clean error is 1
    assert value(result, "relative_mce") == pytest.approx(error - 1)


def test_mce_without_a_clean_error_in_some_resample_has_a_value_and_no_interval() -> None:
    data = flats(20, 60, 90, 95, 200)
    data = replace(
        data, labels=np.where(np.arange(5) == 0, 1, data.labels)
    )  # one clean error among five images
    result = run(AuditInputs(MODEL, data), settings())
    [mce] = [m for m in result.metrics if m.name == "mce"]
    assert mce.value == pytest.approx((1 - value(result, "corruption_accuracy_mean")) / 0.2)
    assert (mce.low, mce.high) == (None, None)
    assert mce.method.startswith("none: some resamples")


def test_the_worst_of_the_grid_is_taken_per_image() -> None:
    """At a quarter less or more light, 90 becomes 112 and 120 becomes 90, so only 20 and 200 stay."""
    result = run(AuditInputs(MODEL, flats(20, 90, 120, 200)), settings())
    assert value(result, "grid_accuracy_worst") == 0.5


def test_logits_that_are_not_finite_count_as_incorrect() -> None:
    result = run(AuditInputs(Broken(np.eye(2)), flats(20, 60, 200)), settings())
    names = {
        "clean_accuracy_perturbation_sample",
        "corruption_accuracy",
        "corruption_accuracy_mean",
        "grid_accuracy_worst",
    }
    assert {m.value for m in result.metrics if m.name in names} == {0.0}
    [finding] = [f for f in result.findings if f.code == "non-finite-logits"]
    assert finding.severity == "serious"
    assert finding.evidence["predictions"] == 3 * (1 + 2 * 5 + 54)
    assert result.worst_cases is not None
    assert result.worst_cases.items == []


def test_the_interval_of_the_worst_holds_over_all_corruptions() -> None:
    data = flats(*range(10, 250, 6))
    metrics = all_metrics(measure(AuditInputs(MODEL, data), settings()), settings(), 7)
    own = [m for m in metrics if m.slice in TWO]
    [worst] = [m for m in metrics if m.name == "corruption_accuracy_worst"]
    assert worst.low == min(m.low for m in own)
    assert min(m.high for m in own) <= worst.high  # the joint level is wider


def test_without_known_tracks_no_metric_has_an_interval() -> None:
    data = replace(flats(20, 60, 90, 200), tracks=None)
    metrics: list[Metric] = run(AuditInputs(MODEL, data), settings()).metrics
    assert {m.low for m in metrics if m.unit == "proportion"} == {None}


def test_grey_images_have_no_corruption_of_colours() -> None:
    result = run(AuditInputs(MODEL, flats(20, 200, channels=1)), settings(corruptions=("mist", "saturate")))
    assert {m.slice for m in result.metrics if m.name == "corruption_accuracy"} == {
        "mist",
        *(f"mist-{s}" for s in range(1, 6)),
    }
    assert any("Saturation" in fact.label for fact in result.not_tested)


def test_small_images_are_undefined_and_never_a_number() -> None:
    """A model of 8 pixels still gets a verdict: the stage says that it measured nothing, and its gate cannot pass."""
    data = replace(flats(20, 200), images=np.zeros((2, 15, 16, 3), np.uint8))
    result = run(AuditInputs(MODEL, data), settings())
    assert result.status == "ok"
    assert {metric.status for metric in result.metrics} == {"undefined"}
    declared = {
        (row.name, part)
        for row in PERTURBATION.records(settings())
        if not row.requires
        for part in row.slices
    }
    assert {(metric.name, metric.slice) for metric in result.metrics} == declared
    assert [finding.code for finding in result.findings] == ["too-small"]
    [gate] = PERTURBATION.gates
    assert decide([result], [gate], "2026-06-15").gates[0].status == "error"
    assert PERFECT.run(AuditInputs(MODEL, data), settings()).metrics == result.metrics


def test_every_declared_metric_is_recorded() -> None:
    chosen = settings()
    result = run(AuditInputs(MODEL, flats(20, 60, 200)), chosen)
    declared = {
        (record.name, where)
        for record in PERTURBATION.records(chosen)
        if not record.requires
        for where in record.slices
    }
    assert {(m.name, m.slice) for m in result.metrics} == declared


def test_a_gate_may_not_read_a_mean_over_some_corruptions() -> None:
    weak = {r.name for r in PERTURBATION.records(settings()) if r.weak}
    sets = {"corruption_set_coverage_mean", "corruption_set_coverage"}
    means = {"corruption_accuracy_mean", "corruption_ece_mean", "corruption_nll_mean"}
    errors = {"corruption_mae_mean", "corruption_mae_worst", "corruption_mae"}  # of a regression
    assert weak == {*sets, *means, *errors, "corruption_accuracy_worst", "overconfident_errors"}
    assert {r.name for r in PERTURBATION.records(PerturbationSettings()) if r.weak} == sets


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"corruptions": ("fogg",)}, 'did you mean "fog"'),
        ({"corruptions": ("fog", "fog")}, "name each once"),
        ({"corruptions": ()}, "at least 1 item"),
        ({"rotation_degrees": 0, "shift": 0, "brightness": 0, "blur": 0}, "the grid changes nothing"),
    ],
)
def test_bad_settings_are_refused(changes: dict[str, object], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        PerturbationSettings(**changes)


def test_the_grid_starts_unchanged_and_holds_every_combination() -> None:
    points = grid(8, 0.1, 0.25, 0.02)
    assert len(points) == len(set(points)) == 54
    images = np.random.default_rng(0).integers(0, 256, (2, 16, 20, 3), dtype=np.uint8)
    assert np.array_equal(changed(images, points[0]), images)
    assert np.array_equal(changed(images, Point(shift=0.1))[:, :, 2:], images[:, :, :-2])  # to the right
    assert np.array_equal(
        changed(images[:, :, :16], Point(degrees=90)), np.rot90(images[:, :, :16], 1, (1, 2))
    )
    assert np.array_equal(changed(images, Point(light=0.5)), np.rint(images / 2))


def test_the_first_severity_below_a_limit() -> None:
    assert first_below(np.array([0.9, 0.85, 0.79, 0.9, 0.5]), 0.8) == "3"
    assert first_below(np.array([0.9, 0.8, 0.8, 0.8, 0.8]), 0.8) == "none"


def test_a_mean_ece_above_its_level_raises_the_alarm() -> None:
    data = replace(flats(20, 60, 200), labels=np.array([1, 1, 0]))
    result = with_alarms(run(AuditInputs(MODEL, data), settings()), PERTURBATION.alarms(settings()))
    raised = {finding.evidence["metric"] for finding in result.findings if finding.code == "alarm"}
    assert "corruption_ece_mean" in raised


def test_what_a_gate_reads_is_marked_in_the_heat_tables() -> None:
    result = run(AuditInputs(MODEL, flats(20, 60, 200)), settings())
    accuracy, errors = [figure for figure in result.figures if isinstance(figure, Grid)]

    def places(grid: Grid, *read: tuple[str, str]) -> set[tuple[str, str]]:
        return {(mark.row, mark.column) for mark in marked(grid, set(read)).marks}

    assert places(accuracy, ("corruption_accuracy_mean", "severity-2")) == {("", "2")}
    assert places(accuracy, ("corruption_accuracy", "mist-4")) == {("Mist", "4")}
    assert places(accuracy, ("corruption_accuracy", "mist")) == {("Mist", s) for s in "12345"}
    assert places(errors, ("corruption_ece", "contrast-1")) == {("Contrast", "1")}
    assert places(errors, ("corruption_accuracy", "mist-4")) == set()
    read = marked(errors, {("corruption_ece", "contrast-1")})
    folded = [bool(figure_view(figure)["folded"]) for figure in (accuracy, errors, read)]
    assert folded == [False, True, False]
    whole = marked(accuracy, {("corruption_accuracy_mean", "all")})
    assert (whole.marks, whole.reading) == ([], ["A gate reads the mean of all cells."])


def test_the_next_steps_name_the_costliest_group_the_lost_coverage_and_the_overconfident_errors() -> None:
    """Contrast leaves flat images, so all that is lost is lost to mist, and each error has a confidence of 98 %."""
    inputs, _ = shifted()
    result = run(inputs, settings())
    found = {finding.code: finding for finding in result.findings}
    lost = value(result, "clean_accuracy_perturbation_sample") - value(result, "corruption_accuracy_mean")
    assert found["costliest-group"].evidence["group"] == CORRUPTIONS["mist"].group
    assert found["costliest-group"].evidence["cost"] == pytest.approx(lost, abs=1e-6)
    weakest = min(range(1, 6), key=lambda s: value(result, "corruption_set_coverage", f"mist-{s}"))
    assert found["set-coverage-under-shift"].evidence["slice"] == f"mist-{weakest}"
    assert found["overconfident-errors"].evidence["corruption"] == "mist"
    assert all(
        found[code].remedy for code in ("costliest-group", "set-coverage-under-shift", "overconfident-errors")
    )


def probed(model: Answers, train: ImageDataset | None, **changes: object) -> list[Finding]:
    test = flats(*range(20, 200, 3))
    result = run(AuditInputs(model, test, train), settings(corruptions=("mist",), **changes))
    return [finding for finding in result.findings if finding.code == "augmentation-probe"]


@dataclass(frozen=True, eq=False)
class Blind(Threshold):
    """Has the same features for every image."""

    def features(self, images: np.ndarray) -> np.ndarray:
        return np.ones((len(images), 3), np.float32)


@dataclass(frozen=True, eq=False)
class Closed(Threshold):
    """Gives no features."""

    def features(self, images: np.ndarray) -> np.ndarray:
        raise StageError("m.onnx: gives no features.")


def test_a_probe_says_whether_the_worst_corruption_in_training_would_help() -> None:
    """Mist lifts every image above the middle of the clean classes: a head that saw no mist calls them all bright."""
    train = flats(*range(21, 199, 2))
    [gains] = probed(MODEL, train)
    lifted = np.arange(20, 200, 3) * np.exp(-1.0) + 0.75 * 255 * (1 - np.exp(-1.0))
    assert lifted.min() > 110  # the middle of the classes in training
    bright = float((np.arange(20, 200, 3) > 100).mean())
    assert percent(bright) in gains.message.split("; fitted also")[0]
    assert gains.evidence["gain"] > 0.05
    assert gains.remedy.startswith("Add mist to the augmentation")
    [same] = probed(Blind(np.eye(2)), train)
    assert same.evidence["gain"] == 0
    assert same.remedy.startswith("Train the whole network with mist")
    assert probed(MODEL, train, probe_images=0) == []
    assert probed(MODEL, None) == []
    assert probed(Closed(np.eye(2)), train) == []


def test_the_probes_head_is_the_ridge_regression_in_its_primal_form() -> None:
    rng = np.random.default_rng(0)
    features, labels = rng.normal(2, 1, (40, 6)), rng.integers(0, 3, 40)
    weights, means = linear_head(features, labels, 3)
    centred = features - features.mean(axis=0)
    strength = RIDGE * (centred**2).sum() / len(centred)
    primal = np.linalg.inv(centred.T @ centred + strength * np.eye(6)) @ centred.T @ np.eye(3)[labels]
    assert np.abs(means - features.mean(axis=0)).max() < 1e-12
    assert np.abs(weights - primal).max() < 1e-9
