"""The training audit on manifests that were made to be doubted."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from safeml.audits.base import AuditInputs
from safeml.audits.training.run import run
from safeml.results import Curve, Finding, StageResult
from safeml.stages.training import TrainingSettings
from tests.fakes import dataset, oracle
from tests.records import severities, table

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


def test_without_a_manifest_the_stage_is_skipped_with_its_reason() -> None:
    result = audit(None)
    assert (result.status, result.metrics) == ("skipped", [])
    assert "training.json" in result.reason


def test_a_plain_manifest() -> None:
    result = audit(manifest())
    assert result.status == "ok"
    assert severities(result) == {"choice-flatters": "info"}
    accuracy, gap = result.metrics
    assert (accuracy.name, accuracy.value, accuracy.n) == ("validation_accuracy_chosen", 0.9, 400)
    assert (accuracy.low, accuracy.high, accuracy.clustering) == (None, None, "unknown")
    assert gap.value == pytest.approx(0.0)
    curves = [figure for figure in result.figures if isinstance(figure, Curve)]
    assert [curve.series[0].y for curve in curves] == [[0.5, 0.9, 0.8], pytest.approx([0.5, 0.1, 0.2])]


def test_the_last_epoch_as_the_best_is_doubted() -> None:
    assert severities(audit(manifest((0.5, 0.8, 0.9), chosen=3)))["best-epoch-is-last"] == "warning"


@pytest.mark.parametrize(("training", "doubted"), [(0.949, False), (0.951, True)])
def test_the_gap_between_training_and_validation(training: float, doubted: bool) -> None:
    values = manifest()
    values["epochs"][1]["accuracy"] = training
    assert ("train-validation-gap" in severities(audit(values))) == doubted


@pytest.mark.parametrize(("value", "doubted"), [(0.25, True), (0.31, True), (0.32, False)])
def test_chance_level_is_a_quarter_of_four_classes_and_three_standard_errors(
    value: float, doubted: bool
) -> None:
    # 0.25 + 3 sqrt(0.25 * 0.75 / 400) = 0.315
    assert ("chance-level" in severities(audit(manifest((0.1, value, 0.1))))) == doubted


def test_chance_of_an_unbalanced_validation_set_is_its_largest_class() -> None:
    valid = dataset(np.repeat([0, 1, 2, 3], [360, 20, 10, 10]), seed=5)
    values = manifest((0.5, 0.9, 0.8))
    values["valid"]["fingerprint"] = valid.fingerprint
    assert severities(audit(values, valid=valid))["chance-level"] == "serious"


def test_another_model_is_serious() -> None:
    values = manifest()
    values["model_fingerprint"] = "c" * 64
    assert severities(audit(values))["another-model"] == "serious"


@pytest.mark.parametrize(("role", "code"), [("train", "trained-on-test"), ("valid", "chosen-on-test")])
def test_the_test_set_among_the_training_data_is_serious(role: str, code: str) -> None:
    values = manifest()
    values[role]["fingerprint"] = TEST.fingerprint
    assert severities(audit(values))[code] == "serious"


def test_training_data_that_are_not_those_of_the_manifest() -> None:
    result = audit(manifest(), train=dataset(LABELS, seed=7))
    assert severities(result)["another-train-set"] == "warning"


def test_a_choice_that_is_not_the_best_is_serious() -> None:
    assert severities(audit(manifest(chosen=3)))["not-the-best-epoch"] == "serious"
    values = manifest()
    values["chosen"]["value"] = 0.99
    assert severities(audit(values))["not-the-best-epoch"] == "serious"


def test_names_that_tie_in_four_decimals_are_told_and_full_precision_decides() -> None:
    result = audit(manifest((0.5, 0.98204, 0.98196)))
    assert severities(result)["rounded-names-tie"] == "info"
    assert "not-the-best-epoch" not in severities(result)
    assert "not-the-best-epoch" in severities(audit(manifest((0.5, 0.98196, 0.98204))))


@pytest.mark.parametrize(
    ("chosen", "which"), [(2, "the earlier one was selected."), (4, "epoch 4 was selected.")]
)
def test_equal_epochs_are_called_equal_and_no_precision_is_said_to_decide(chosen: int, which: str) -> None:
    result = audit(manifest((0.5, 0.98204, 0.6, 0.98204), chosen=chosen))
    assert found(result, "epochs-equal").message.endswith(f"epochs 2, 4 are equal; {which}")
    assert not severities(result).keys() & {"rounded-names-tie", "not-the-best-epoch"}


def test_equal_epochs_are_not_counted_among_those_that_only_look_alike() -> None:
    # Epochs 2 and 4 are equal, epoch 3 has the same name, and epoch 1 is just less than a sign of four away.
    values = manifest((0.74, 0.98204, 0.98196, 0.98204))
    values["valid"]["signs"] = 4
    result = audit(values)
    assert found(result, "rounded-names-tie").message.startswith("Epochs 2, 3 have the same")
    assert found(result, "choice-within-one-sign").evidence["epochs_within_one_sign"] == 2
    values = manifest((0.1, 0.98204, 0.2, 0.98204))
    values["valid"]["signs"] = 4
    assert "choice-within-one-sign" not in severities(audit(values))


def test_accuracies_among_the_evidence_are_named_as_such() -> None:
    evidence = found(audit(manifest((0.5, 0.9, 0.8))), "choice-flatters").evidence
    assert evidence == {"epochs": 3, "accuracy_chosen": 0.9, "accuracy_median": 0.8}


def test_the_missing_interval_is_explained_once_and_the_gap_has_a_unit() -> None:
    values = manifest()
    values["valid"]["signs"] = 40
    result = audit(values)
    said = [*result.limits, *(metric.method for metric in result.metrics)]
    assert sum("no confidence interval" in line for line in said) == 1
    assert "in points" in result.metrics[1].title


def test_the_first_thing_to_repeat_is_the_training() -> None:
    assert audit(manifest()).reproduce[0] == (
        "safeml train recipe.toml --data-root DATA --out FOLDER    # the recipe of small"
    )


def test_the_loss_is_better_when_it_is_lower() -> None:
    values = manifest()
    values["chosen"] |= {"monitor": "val_loss", "value": values["epochs"][1]["val_loss"]}
    assert "not-the-best-epoch" not in severities(audit(values))
    values["chosen"] |= {"epoch": 1, "value": values["epochs"][0]["val_loss"]}
    assert "not-the-best-epoch" in severities(audit(values))


def found(result: StageResult, code: str) -> Finding:
    [finding] = [finding for finding in result.findings if finding.code == code]
    return finding


def with_inflation(accuracy: float, shared: int = 399, images: int = 400) -> dict[str, Any]:
    measured = {
        "split": "image",
        "images": images,
        "images_of_shared_signs": shared,
        "val_accuracy": accuracy,
        "epochs": 3,
    }
    return manifest() | {"inflation": measured}


def test_a_random_split_is_set_against_this_split() -> None:
    # Best of the epochs here is 0.9: 0.996 at random is 9.6 points more, and 399 of 400 images are 99.75 %.
    result = audit(with_inflation(0.996))
    assert [row[1:] for row in table(result, "random-split").rows] == [
        [400, None, 0.9, 3],
        [400, 399, 0.996, 3],
    ]
    assert "9.60 points higher" in table(result, "random-split").caption
    assert "the measurement is biased" in table(result, "random-split").caption
    # A gate can read a metric, and this is no property of the model: it is told, and stands in no metric.
    assert len(result.metrics) == 2
    evidence = found(result, "random-split-flatters").evidence
    assert (evidence["difference_in_points"], evidence["images_of_signs_in_training"]) == (9.6, 399)
    assert len(result.facts) == 5
    assert result.facts[4].label == "On a random split"
    assert any("399 of 400 validation images (99.8" in line for line in result.meaning)
    assert found(result, "random-split-flatters").severity == "info"
    assert "Random split" not in [fact.label for fact in result.not_tested]


@pytest.mark.parametrize(("accuracy", "told"), [(0.9049, False), (0.9051, True), (0.8, False)])
def test_a_random_split_is_told_where_it_flatters_by_more_than_half_a_point(
    accuracy: float, told: bool
) -> None:
    assert ("random-split-flatters" in severities(audit(with_inflation(accuracy)))) == told


def test_a_random_split_that_is_no_better_is_not_called_better() -> None:
    assert "10.00 points lower" in table(audit(with_inflation(0.8)), "random-split").caption


def test_the_best_accuracy_is_compared_also_where_the_loss_chose_another_epoch() -> None:
    values = with_inflation(0.95)
    values["epochs"][2]["val_loss"] = 0.01
    values["chosen"] |= {"monitor": "val_loss", "epoch": 3, "value": 0.01}
    assert "5.00 points higher" in audit(values).facts[4].detail


def test_without_a_second_training_the_random_split_is_not_measured() -> None:
    result = audit(manifest())
    assert [fact.value for fact in result.not_tested if fact.label == "Random split"] == ["not measured"]
    assert result.facts[4].label == "Parameters"


def test_a_random_split_of_another_size_is_no_fair_comparison() -> None:
    assert severities(audit(with_inflation(0.95, 90, 100)))["random-split-of-another-size"] == "warning"


def test_images_of_shared_signs_are_counted_where_both_sets_are_given() -> None:
    # Tracks 0-9 train, 8-17 validate, four frames each: two tracks, eight images, are on both sides.
    train = dataset(LABELS, seed=3, tracks=np.arange(40) // 4)
    valid = dataset(LABELS, seed=4, tracks=np.arange(40) // 4 + 8)
    values = with_inflation(0.95)
    values["train"]["fingerprint"], values["valid"]["fingerprint"] = train.fingerprint, valid.fingerprint
    assert table(audit(values, train=train, valid=valid), "random-split").rows[0][2] == 8
    assert (
        table(audit(values, train=replace(train, tracks=None), valid=valid), "random-split").rows[0][2]
        is None
    )


def test_a_recipe_that_splits_by_image_is_serious() -> None:
    values = manifest()
    values["recipe"]["data"] = {"split": "image"}
    result = audit(values)
    assert severities(result)["split-by-image"] == "serious"
    assert [fact.label for fact in result.not_tested][1] == "Split by sign"
    values["recipe"]["data"] = {"split": "track"}
    assert "split-by-image" not in severities(audit(values))


@pytest.mark.parametrize(("second", "told"), [(0.75, False), (0.7501, True), (0.2, False)])
def test_epochs_within_one_sign_are_not_told_apart(second: float, told: bool) -> None:
    # One of four signs is worth a quarter: 1.0 - 0.75 is a whole sign, and no less.
    values = manifest((second, 1.0, 0.1))
    values["valid"]["signs"] = 4
    result = audit(values)
    assert ("choice-within-one-sign" in severities(result)) == told
    assert "25.00 points" in result.facts[2].detail


@pytest.mark.parametrize(("signs", "told"), [(29, True), (30, False)])
def test_few_validation_signs_are_told(signs: int, told: bool) -> None:
    values = manifest()
    values["valid"]["signs"] = signs
    result = audit(values)
    assert ("few-validation-signs" in severities(result)) == told
    assert any(f"400 images are only {signs} independent observations" in line for line in result.limits)
    assert (result.metrics[0].signs, result.metrics[0].low) == (signs, None)


def test_classes_with_one_sign_in_validation_are_named() -> None:
    # Class k has the tracks of its ten images, numbered by tens: class 0 shows one sign ten times, the others two each.
    tracks = np.where(LABELS == 0, 0, LABELS * 10 + np.arange(40) % 8 // 4)
    valid = dataset(LABELS, seed=4, tracks=tracks)
    values = manifest()
    values["valid"]["fingerprint"] = valid.fingerprint
    finding = found(audit(values, valid=valid), "classes-with-one-validation-sign")
    assert (finding.severity, finding.evidence["classes"], finding.evidence["of"]) == ("warning", 1, 4)
    assert '"class 0"' in finding.message
    assert '"class 1"' not in finding.message
    assert "classes-with-one-validation-sign" not in severities(audit(manifest(), valid=valid))


def test_two_classes() -> None:
    labels = np.arange(40) % 2
    inputs = AuditInputs(
        replace(oracle(labels, 2)), dataset(labels, seed=1), manifest=manifest((0.4, 0.57, 0.5))
    )
    # 0.5 + 3 sqrt(0.25 / 400) = 0.575
    assert found(run(inputs, TrainingSettings()), "chance-level").evidence["chance"] == 0.5


def test_validation_data_with_more_classes_than_the_test_data() -> None:
    valid = dataset(np.arange(7), seed=4, tracks=np.arange(7))
    values = manifest()
    values["valid"]["fingerprint"] = valid.fingerprint
    finding = found(audit(values, valid=valid), "classes-with-one-validation-sign")
    assert finding.message.startswith("7 classes have at most one sign")
    assert "and 4 more" in finding.message
