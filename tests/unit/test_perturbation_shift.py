"""Calibration, coverage and overconfident errors under corruptions, and predictions that flip between frames."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest

from safeml.audits.base import AuditInputs
from safeml.audits.calibration.metrics import not_below_accuracy
from safeml.audits.calibration.run import run as calibration
from safeml.audits.perturbation.flips import consecutive
from safeml.audits.perturbation.measure import measure
from safeml.audits.perturbation.metrics import all_metrics
from safeml.audits.perturbation.perfect import PERFECT
from safeml.audits.perturbation.run import run
from safeml.audits.slices import numbers
from safeml.corruptions.grid import grid
from safeml.metrics.calibration.binned import ece_error, equal_mass, fill
from safeml.planning.best_case import correct_model
from safeml.planning.cost import forward_passes
from safeml.planning.perfect import PerfectWork
from safeml.stages.calibration import CalibrationSettings
from safeml.statistics import bootstrap_metric, proportion_metric
from tests.fakes import Answers
from tests.perturbation_cases import MODEL, TWO, flats, settings, shifted, value

pytestmark = pytest.mark.slow


@dataclass(frozen=True, eq=False)
class Noisy(Answers):
    """Predicts class 1 the more confidently, the brighter the image is; half the dark images of odd level count as bright."""

    def predict_logits(self, images: np.ndarray) -> np.ndarray:
        level = images[:, 8, 8, 0].astype(float)
        margin = (level - 100) / 40 + np.where(level % 4 == 1, 3.0, 0.0)
        return np.stack([np.zeros(len(images)), margin], axis=1).astype(np.float32)


def test_calibration_under_shift_follows_from_the_accuracy() -> None:
    """All confidences are equal: the ECE is their distance from the accuracy, and the NLL has a closed form."""
    inputs, _ = shifted()
    result = run(inputs, settings())
    sure = 1 / (1 + np.exp(-4))
    for severity in range(1, 6):
        accuracy = value(result, "corruption_accuracy", f"mist-{severity}")
        assert value(result, "corruption_ece", f"mist-{severity}") == pytest.approx(abs(sure - accuracy))
        loss = -accuracy * np.log(sure) - (1 - accuracy) * np.log(1 - sure)
        assert value(result, "corruption_nll", f"mist-{severity}") == pytest.approx(loss)
    cells = [(f"{name}-{s}") for name in TWO for s in range(1, 6)]
    for name in ("corruption_ece", "corruption_nll", "corruption_set_coverage"):
        mean = np.mean([value(result, name, cell) for cell in cells])
        assert value(result, f"{name}_mean") == pytest.approx(mean)
    share = 1 - value(result, "corruption_accuracy_mean")
    assert value(result, "overconfident_errors") == pytest.approx(
        share
    )  # each error has a confidence of 98 %


def test_the_clean_threshold_is_that_of_the_calibration_stage() -> None:
    """On images that a corruption leaves as they are, the sets cover as many as in the stage calibration."""
    inputs, _ = shifted()
    noisy = replace(inputs, classifier=Noisy(np.eye(2)))
    flat = run(noisy, settings())
    calibrated = calibration(noisy, CalibrationSettings(resamples=100))
    [clean] = [m.value for m in calibrated.metrics if m.name == "set_coverage.lac_95"]
    assert 0.5 < clean < 1
    assert {value(flat, "corruption_set_coverage", f"contrast-{s}") for s in range(1, 6)} == {clean}


def test_a_plan_counts_every_form_of_an_image_and_the_validation_frames() -> None:
    inputs, data = shifted()
    own = settings()
    work = PerfectWork(correct_model(data), PERFECT.arrays, numbers(data))
    run(replace(inputs, work=work), own)
    points = grid(own.rotation_degrees, own.shift, own.brightness, own.blur)
    fitted = sum(call.images for call in work.calls if call.item == "validation-predictions")
    assert fitted == 40  # one frame of each sign track that is reserved for sets
    assert forward_passes(work.calls) == len(data) * (1 + 5 * len(TWO) + len(points)) + fitted


def test_an_interval_of_the_ece_is_the_bootstrap_of_the_published_function() -> None:
    inputs, data = shifted()
    measured = measure(replace(inputs, classifier=Noisy(np.eye(2))), settings())
    found = [
        m for m in all_metrics(measured, settings(), 5) if (m.name, m.slice) == ("corruption_ece", "mist-3")
    ]
    confidence, hits = measured.confidence[1, :, 2], measured.hits[1, :, 2]
    bins = equal_mass(confidence)
    plain = bootstrap_metric(
        "corruption_ece",
        "",
        lambda rows: ece_error(fill(bins[rows], confidence[rows], hits[rows])),
        len(hits),
        clustering=data.clustering,
        direction="down",
        unit="proportion",
        seed=5,
        resamples=100,
        bounds=(0.0, 1.0),
    )
    accuracy = proportion_metric("accuracy", "", hits, clustering=data.clustering)
    wide = not_below_accuracy(plain, accuracy)
    assert (found[0].value, found[0].low, found[0].high) == pytest.approx((wide.value, wide.low, wide.high))


def test_without_validation_data_the_coverage_is_undefined_with_its_reason() -> None:
    result = run(AuditInputs(MODEL, flats(20, 60, 200)), settings())
    for name, where in (("corruption_set_coverage_mean", "all"), ("corruption_set_coverage", "mist-3")):
        [metric] = [m for m in result.metrics if (m.name, m.slice) == (name, where)]
        assert (metric.status, metric.reason) == ("undefined", "no [data.valid] is configured")
    few, _ = shifted(fitted=10)
    [metric] = [m for m in run(few, settings()).metrics if m.name == "corruption_set_coverage_mean"]
    assert "19 sign tracks, and there are 10" in metric.reason


def test_overconfident_errors_are_listed_by_their_cost() -> None:
    data = replace(flats(20, 60, 95, 98, 200), costs=np.array([[0, 0.25], [1.0, 0]]))
    data = replace(data, labels=np.array([0, 0, 0, 0, 0]))
    result = run(AuditInputs(MODEL, data), settings())
    [gallery] = [figure for figure in result.figures if figure.id == "overconfident-errors"]
    assert gallery.items
    assert all("cost 0.25: configured cost matrix" in item.note for item in gallery.items)
    assert len({item.index for item in gallery.items}) == len(gallery.items) <= 12
    mixed = replace(data, labels=np.array([1, 0, 0, 0, 0]))
    first = next(
        f for f in run(AuditInputs(MODEL, mixed), settings()).figures if f.id == "overconfident-errors"
    )
    assert (first.items[0].true_name, first.items[0].index) == ("bright", 0)
    assert "cost 1" in first.items[0].note


def test_consecutive_frames_are_those_of_one_track_without_a_gap() -> None:
    tracks, frames = np.array([7, 3, 7, 3, 7, 3]), np.array([2, 0, 0, 1, 1, 3])
    assert consecutive(tracks, frames).tolist() == [[1, 3], [2, 4], [4, 0]]


def test_flip_probability_is_the_share_of_frames_where_the_answer_changes() -> None:
    """Two signs of four frames: the first is dark, bright, bright, dark (two flips of three), the second never changes."""
    data = flats(20, 200, 201, 21, 30, 31, 32, 33)
    tracks, frames = np.repeat([4, 9], 4), np.tile(np.arange(4), 2)
    result = run(AuditInputs(MODEL, replace(data, tracks=tracks, frames=frames)), settings())
    [flips] = [m for m in result.metrics if m.name == "flip_probability"]
    assert (flips.value, flips.n, flips.signs) == (2 / 6, 6, 2)
    assert flips.low < 2 / 6 < flips.high
    assert not any(fact.label == "Flip probability" for fact in result.not_tested)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"tracks": None}, "no track ids"),
        ({"frames": None}, "no frame ids"),
        ({"frames": np.array([0, 2, 4])}, "no two test images"),
    ],
)
def test_flip_probability_without_frames_is_undefined(changes: dict[str, object], reason: str) -> None:
    data = replace(flats(20, 60, 200), tracks=np.zeros(3, np.int64), frames=np.arange(3))
    result = run(AuditInputs(MODEL, replace(data, **changes)), settings())
    [flips] = [m for m in result.metrics if m.name == "flip_probability"]
    assert flips.status == "undefined"
    assert reason in flips.reason
    assert any(fact.label == "Flip probability" for fact in result.not_tested)
