"""The training audit on manifests that were made to be doubted."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

from safeml.audits.base import AuditInputs
from safeml.audits.training import run
from safeml.config import TrainingSettings
from safeml.errors import InputRefused
from safeml.results import Curve, StageResult
from tests.fakes import dataset, oracle

LABELS = np.arange(40) % 4
TEST = dataset(LABELS, seed=1)
MODEL = oracle(LABELS, 4)


def manifest(valid_accuracy: tuple[float, ...] = (0.5, 0.9, 0.8), chosen: int = 2) -> dict[str, Any]:
    return {
        "recipe": {"name": "small"},
        "epochs": [
            {
                "epoch": number,
                "loss": 1.0 / number,
                "accuracy": 0.9,
                "val_loss": 1.0 - value,
                "val_accuracy": value,
                "file": f"{number:02d}-{value:.4f}.keras",
            }
            for number, value in enumerate(valid_accuracy, start=1)
        ],
        "chosen": {
            "file": "x.keras",
            "epoch": chosen,
            "monitor": "val_accuracy",
            "value": valid_accuracy[chosen - 1],
        },
        "model_fingerprint": MODEL.fingerprint,
        "parameters": 10,
        "train": {"name": "train", "fingerprint": "a" * 64, "images": 1000, "signs": 100},
        "valid": {"name": "valid", "fingerprint": "b" * 64, "images": 400, "signs": None},
        "versions": {"keras": "3"},
    }


def audit(values: dict[str, Any] | None, **data: Any) -> StageResult:
    return run(AuditInputs(MODEL, TEST, manifest=values, **data), TrainingSettings())


def codes(result: StageResult) -> dict[str, str]:
    return {finding.code: finding.severity for finding in result.findings}


def test_without_a_manifest_the_stage_is_skipped_with_its_reason() -> None:
    result = audit(None)
    assert (result.status, result.metrics) == ("skipped", [])
    assert "training.json" in result.reason


def test_a_plain_manifest() -> None:
    result = audit(manifest())
    assert result.status == "ok"
    assert codes(result) == {"choice-flatters": "info"}
    accuracy, gap = result.metrics
    assert (accuracy.name, accuracy.value, accuracy.n) == ("validation_accuracy_chosen", 0.9, 400)
    assert (accuracy.low, accuracy.high, accuracy.clustering) == (None, None, "unknown")
    assert gap.value == pytest.approx(0.0)
    curves = [figure for figure in result.figures if isinstance(figure, Curve)]
    assert [curve.series[0].y for curve in curves] == [[0.5, 0.9, 0.8], pytest.approx([0.5, 0.1, 0.2])]


def test_the_last_epoch_as_the_best_is_doubted() -> None:
    assert codes(audit(manifest((0.5, 0.8, 0.9), chosen=3)))["best-epoch-is-last"] == "warning"


@pytest.mark.parametrize(("training", "doubted"), [(0.949, False), (0.951, True)])
def test_the_gap_between_training_and_validation(training: float, doubted: bool) -> None:
    values = manifest()
    values["epochs"][1]["accuracy"] = training
    assert ("train-validation-gap" in codes(audit(values))) == doubted


@pytest.mark.parametrize(("value", "doubted"), [(0.25, True), (0.31, True), (0.32, False)])
def test_chance_level_is_a_quarter_of_four_classes_and_three_standard_errors(
    value: float, doubted: bool
) -> None:
    # 0.25 + 3 sqrt(0.25 * 0.75 / 400) = 0.315
    assert ("chance-level" in codes(audit(manifest((0.1, value, 0.1))))) == doubted


def test_chance_of_an_unbalanced_validation_set_is_its_largest_class() -> None:
    valid = dataset(np.repeat([0, 1, 2, 3], [360, 20, 10, 10]), seed=5)
    values = manifest((0.5, 0.9, 0.8))
    values["valid"]["fingerprint"] = valid.fingerprint
    assert codes(audit(values, valid=valid))["chance-level"] == "serious"


def test_another_model_is_serious() -> None:
    values = manifest()
    values["model_fingerprint"] = "c" * 64
    assert codes(audit(values))["another-model"] == "serious"


@pytest.mark.parametrize(("role", "code"), [("train", "trained-on-test"), ("valid", "chosen-on-test")])
def test_the_test_set_among_the_training_data_is_serious(role: str, code: str) -> None:
    values = manifest()
    values[role]["fingerprint"] = TEST.fingerprint
    assert codes(audit(values))[code] == "serious"


def test_training_data_that_are_not_those_of_the_manifest() -> None:
    result = audit(manifest(), train=dataset(LABELS, seed=7))
    assert codes(result)["another-train-set"] == "warning"


def test_a_choice_that_is_not_the_best_is_serious() -> None:
    assert codes(audit(manifest(chosen=3)))["not-the-best-epoch"] == "serious"
    values = manifest()
    values["chosen"]["value"] = 0.99
    assert codes(audit(values))["not-the-best-epoch"] == "serious"


def test_names_that_tie_in_four_decimals_are_told_and_full_precision_decides() -> None:
    result = audit(manifest((0.5, 0.98204, 0.98196)))
    assert codes(result)["rounded-names-tie"] == "info"
    assert "not-the-best-epoch" not in codes(result)
    assert "not-the-best-epoch" in codes(audit(manifest((0.5, 0.98196, 0.98204))))


def test_the_loss_is_better_when_it_is_lower() -> None:
    values = manifest()
    values["chosen"] |= {"monitor": "val_loss", "value": values["epochs"][1]["val_loss"]}
    assert "not-the-best-epoch" not in codes(audit(values))
    values["chosen"] |= {"epoch": 1, "value": values["epochs"][0]["val_loss"]}
    assert "not-the-best-epoch" in codes(audit(values))


@pytest.mark.parametrize(
    ("path", "value", "word"),
    [
        (("epochs",), [], "epochs is empty"),
        (("epochs", 1, "val_accuracy"), float("nan"), r"epochs\[1\]\.val_accuracy is not a finite number"),
        (("epochs", 1, "val_accuracy"), 1.5, "expected a proportion"),
        (("epochs", 1, "val_loss"), "0.1", "not a finite number"),
        (("epochs", 1, "epoch"), 7, "not numbered"),
        (("epochs", 1), 3, r"epochs\[1\] is of type int"),
        (("chosen", "epoch"), 9, "expected 1-3"),
        (("chosen", "monitor"), "accuracy", "chosen.monitor"),
        (("model_fingerprint",), None, "model_fingerprint is missing"),
        (("valid", "images"), 0, "valid.images is 0"),
        (("train",), [], "train is of type list"),
    ],
)
def test_a_damaged_manifest_is_refused_with_its_place(path: tuple[Any, ...], value: Any, word: str) -> None:
    values = copy.deepcopy(manifest())
    place: Any = values
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    with pytest.raises(InputRefused, match=word):
        audit(values)
