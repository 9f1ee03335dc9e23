"""The calibration audit on models whose calibration is known before it runs. Legend: N images, K classes."""

from __future__ import annotations

import ast
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from safeml.audits.base import AuditInputs
from safeml.audits.calibration.fitting import fitting_images
from safeml.audits.calibration.run import run
from safeml.data.dataset import ImageDataset
from safeml.errors import StageError
from safeml.monitors import conformal
from safeml.results import Reliability, StageResult, Table
from safeml.stages.calibration import CALIBRATION, CalibrationSettings
from safeml.store.journal import Journal
from tests.fakes import Answers, dataset, oracle
from tests.records import codes, metric

pytestmark = pytest.mark.slow

QUICK = CalibrationSettings(resamples=100)
K = 6


def split(
    count: int, seed: int, start: int = 0, frames: int = 5, scale: float = 1.0
) -> tuple[ImageDataset, np.ndarray]:
    """Return a data set, and logits for it that are perfectly calibrated except for the factor `scale`.

    start: the first number of its sign tracks, and of its images on the list of the model.
    """
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2.5, (count, K))
    labels = (logits + rng.gumbel(size=logits.shape)).argmax(axis=1)
    names = tuple(f"class {k}" for k in range(K))
    data = dataset(labels, names, seed, tracks=start + np.arange(count) // frames)
    place = start + np.arange(count)
    data.images[:, 0, 0, 0], data.images[:, 0, 1, 0] = place // 256, place % 256
    return data, logits * scale


@pytest.fixture(scope="module")
def overconfident() -> StageResult:
    """A model whose logits are three times too large, with 300 validation signs of one frame."""
    test, first = split(2000, 1, frames=1, scale=3)
    valid, second = split(1400, 2, start=2000, frames=1, scale=3)
    model = Answers(np.concatenate([first, second]))
    return run(AuditInputs(model, test, valid=valid, train=split(40, 3, start=5000)[0]), QUICK)


def figure(result: StageResult, key: str) -> Table:
    (found,) = [entry for entry in result.figures if entry.id == key]
    assert isinstance(found, Table)
    return found


def test_every_declared_metric_is_recorded(overconfident: StageResult) -> None:
    declared = {row.name for row in CALIBRATION.records(QUICK)}
    assert {entry.name for entry in overconfident.metrics} == declared
    assert len(overconfident.metrics) == len(declared)
    assert overconfident.title == CALIBRATION.title


def test_overconfidence_is_found_and_temperature_scaling_removes_it(overconfident: StageResult) -> None:
    before, after = metric(overconfident, "smooth_ece"), metric(overconfident, "smooth_ece.temperature")
    excess = metric(overconfident, "smooth_ece_excess")
    assert before.value > 0.1
    assert after.value < 0.04
    assert excess.low > 0.04
    assert metric(overconfident, "nll.temperature").value < metric(overconfident, "nll").value
    temperature = next(fact for fact in overconfident.facts if fact.label == "Temperature")
    assert float(temperature.value) == pytest.approx(3, rel=0.15)
    [finding] = [entry for entry in overconfident.findings if entry.code == "miscalibrated"]
    assert "`safeml calibrate` divides the logits by" in finding.remedy
    assert "the smooth ECE of the test images falls from" in finding.remedy
    accuracy = {row[0]: row[-1] for row in figure(overconfident, "scaling").rows}
    assert accuracy["temperature"] == accuracy["isotonic"] == accuracy["none"]


def test_sets_and_thresholds_hold_what_they_guarantee(overconfident: StageResult) -> None:
    assert "set-coverage" not in codes(overconfident)
    for kind in ("lac", "aps", "raps"):
        for level in (95, 99):
            coverage = metric(overconfident, f"set_coverage.{kind}_{level}")
            assert coverage.value == pytest.approx(level / 100, abs=0.02)
            assert coverage.low is not None
    assert metric(overconfident, "set_size.lac_99").value > metric(overconfident, "set_size.lac_95").value > 1


def test_the_reliability_diagram_counts_every_image(overconfident: StageResult) -> None:
    diagram = overconfident.figures[0]
    assert isinstance(diagram, Reliability)
    assert sum(entry.n for entry in diagram.bins) == 2000
    outside = [entry for entry in diagram.bins if entry.n and not entry.low <= entry.accuracy <= entry.high]
    assert len(outside) > 3
    assert diagram.compare_label == "after temperature scaling"


def test_a_calibrated_model_passes_the_test_and_is_near_its_chance_value() -> None:
    test, logits = split(3000, 4)
    result = run(AuditInputs(Answers(logits), test), QUICK)
    assert "miscalibrated" not in codes(result)
    assert metric(result, "smooth_ece_excess").value < 0.015
    for name, value, low, high, perfect in figure(result, "calibration-measures").rows:
        assert low <= value <= high, name
        assert value == pytest.approx(perfect, rel=0.6, abs=0.012), name


def test_a_perfect_model_has_an_interval_of_its_signs() -> None:
    """100 signs without an error: the error may still be as large as one minus the exact lower end of the accuracy."""
    labels = np.repeat(np.arange(4), 100)
    model = Answers(np.eye(4)[labels] * 10)
    test = dataset(labels, tracks=np.arange(400) // 4)
    result = run(AuditInputs(model, test), QUICK)
    smooth = metric(result, "smooth_ece")
    gap = 3 / (np.exp(10) + 3)
    assert smooth.value == pytest.approx(gap, abs=1e-5)
    assert smooth.high == pytest.approx(gap + 1 - 0.025 ** (1 / 100), abs=1e-5)
    assert metric(result, "smooth_ece_excess").high <= smooth.high


def test_without_validation_data_only_the_delivered_model_is_measured() -> None:
    test, logits = split(500, 5)
    result = run(AuditInputs(Answers(logits), test), QUICK)
    assert metric(result, "smooth_ece").value is not None
    for name in ("nll.temperature", "set_coverage.lac_95", "selective_risk.one_percent"):
        assert metric(result, name).status == "undefined"
        assert "no [data.valid]" in metric(result, name).reason
    assert "no-fitting-data" in codes(result)


def test_few_validation_signs_leave_guarantees_unproven_with_their_number() -> None:
    test, first = split(400, 6)
    valid, second = split(100, 7, start=400)
    result = run(AuditInputs(Answers(np.concatenate([first, second])), test, valid=valid), QUICK)
    assert "99 sign tracks, and there are 10" in metric(result, "set_coverage.lac_99").reason
    assert "1\u202f% needs 299 sign tracks" in metric(result, "selective_risk.one_percent").reason
    assert "training-unknown" in codes(result)


def test_validation_images_of_the_test_set_leave_and_many_refuse_all() -> None:
    test, logits = split(400, 8)
    valid, _ = split(300, 9, start=400)
    inputs = AuditInputs(Answers(logits), test, valid=valid)
    few = valid.images.copy()
    few[:2] = test.images[:2]
    reduced = fitting_images(replace(inputs, valid=replace(valid, images=few)))
    assert reduced.data is not None
    assert len(reduced.data) == 298
    assert [entry.code for entry in reduced.findings] == ["fitting-reduced", "training-unknown"]
    refused = fitting_images(replace(inputs, valid=test))
    assert refused.data is None
    assert "400 of 400 validation images are also test images" in refused.reason
    trained = fitting_images(replace(inputs, train=valid))
    assert trained.data is None
    assert "also training images" in trained.reason


def test_the_two_parts_of_the_validation_images_share_no_sign() -> None:
    test, logits = split(50, 10)
    valid, _ = split(300, 11, start=50)
    fitting = fitting_images(AuditInputs(Answers(logits), test, valid=valid))
    tracks = fitting.signs
    assert not set(tracks[fitting.scaling]) & set(tracks[fitting.rest])
    assert fitting.scaling.sum() == fitting.rest.sum() == 150


def test_unknown_signs_fit_scaling_and_guarantee_nothing() -> None:
    test, first = split(400, 12)
    valid, second = split(300, 13, start=400)
    loose = replace(valid, tracks=None, frames_per_sign=5.0)
    result = run(AuditInputs(Answers(np.concatenate([first, second])), test, valid=loose), QUICK)
    assert metric(result, "nll.temperature").value is not None
    assert "sign tracks of the validation images are not known" in metric(result, "set_size.aps_95").reason


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_one_image_without_a_confidence_leaves_every_metric_undefined(bad) -> None:
    test, logits = split(60, 14)
    logits[7, 2] = bad
    result = run(AuditInputs(Answers(logits), test), QUICK)
    assert {entry.status for entry in result.metrics} == {"undefined"}
    assert {entry.name for entry in result.metrics} == {row.name for row in CALIBRATION.records(QUICK)}
    assert codes(result) == {"non-finite-logits"}


def test_a_class_without_validation_images_and_a_single_test_image() -> None:
    test, first = split(1, 15)
    valid, second = split(200, 16, start=1)
    rows = np.flatnonzero(valid.labels != 3)
    model = Answers(np.concatenate([first, second]))
    result = run(AuditInputs(model, test, valid=valid.take(rows)), QUICK)
    assert metric(result, "nll.vector").value is not None
    assert metric(result, "smooth_ece").n == 1


def test_a_constant_and_a_perfect_model_have_no_temperature() -> None:
    test, _ = split(100, 17)
    valid, _ = split(100, 18, start=100)
    for logits in (np.zeros((200, K)), oracle(np.r_[test.labels, valid.labels], K).table):
        result = run(AuditInputs(Answers(logits), test, valid=valid), QUICK)
        assert metric(result, "nll.temperature").status == "undefined"
        assert metric(result, "nll").value is not None
        assert "no-temperature" in codes(result)


def test_a_run_folder_keeps_both_predictions_and_a_second_run_asks_the_model_for_nothing(
    tmp_path: Path,
) -> None:
    test, first = split(60, 20)
    valid, second = split(100, 21, start=60)
    logits = np.concatenate([first, second])
    work = Journal(tmp_path).work("calibration", {})
    inputs = AuditInputs(Answers(logits), test, valid=valid, work=work)
    whole = run(inputs, QUICK)
    resumed = run(replace(inputs, classifier=Answers(np.full_like(logits, np.nan))), QUICK)
    assert resumed == whole


def test_an_output_of_another_shape_is_an_error() -> None:
    test, logits = split(20, 19)
    with pytest.raises(StageError, match="one logit per class"):
        run(AuditInputs(Answers(logits[:, :4]), test), QUICK)


def test_the_file_that_a_device_carries_is_python_3_6_and_needs_only_numpy() -> None:
    source = Path(conformal.__file__).read_text(encoding="utf-8")
    tree = ast.parse(source, feature_version=(3, 6))
    imported = {
        name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in (
            [node.module] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
        )
    }
    assert imported == {"numpy", "typing"}
