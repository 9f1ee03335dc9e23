"""What the training audit makes of a training's course and of the choices of its recipe."""

from __future__ import annotations

import numpy as np
import pytest

from safeml.results import Curve
from tests.fakes import dataset
from tests.records import severities, table
from tests.unit.test_audit_training import audit, found, manifest


@pytest.mark.parametrize(
    ("recipe", "code"),
    [
        ({"epochs": 9, "early_stopping": 2}, "stopped-early"),
        ({"epochs": 9, "early_stopping": 3}, "epochs-unlike-recipe"),
        ({"epochs": 9}, "epochs-unlike-recipe"),
        ({"epochs": 3}, "epochs-unlike-recipe"),
        ({"epochs": 4}, None),
        ({"epochs": 4, "early_stopping": 2}, None),
        ({"early_stopping": 2}, None),
    ],
)
def test_the_end_of_training_is_told_and_has_a_reason(recipe: dict[str, int], code: str | None) -> None:
    # Four epochs, the second is the best: two were waited for.
    values = manifest((0.5, 0.9, 0.8, 0.7))
    values["recipe"] |= recipe
    given = severities(audit(values)).keys() & {"stopped-early", "epochs-unlike-recipe"}
    assert given == ({code} if code else set())


def test_patience_begins_with_the_last_phase() -> None:
    values = manifest((0.9, 0.5, 0.6, 0.7), chosen=1)
    values["recipe"] |= {"epochs": 9, "early_stopping": 2}
    values["phases"] = [{"first": 1, "last": 2, "note": "head"}, {"first": 3, "last": 9, "note": "all"}]
    assert severities(audit(values))["stopped-early"] == "info"


@pytest.mark.parametrize(
    ("losses", "told"), [((0.10, 0.12, 0.5), True), ((0.10, 0.1099, 0.5), False), ((0.20, 0.12, 0.5), False)]
)
def test_a_loss_that_rises_with_the_accuracy_is_overconfidence(losses: tuple[float, ...], told: bool) -> None:
    values = manifest((0.8, 0.9, 0.7))
    for epoch, loss in zip(values["epochs"], losses, strict=True):
        epoch["val_loss"] = loss
    assert ("loss-rises" in severities(audit(values))) == told


@pytest.mark.parametrize(
    ("last_third", "signs", "told"),
    [
        ((0.80, 0.82, 0.84), None, True),
        ((0.84, 0.841, 0.842), None, False),
        ((0.80, 0.82, 0.84), 40, False),
        ((0.80, 0.82, 0.84), 60, True),
    ],
)
def test_accuracy_that_jumps_at_the_end_had_not_settled(
    last_third: tuple[float, ...], signs: int | None, told: bool
) -> None:
    # The standard deviation of 0.80, 0.82, 0.84 is 0.02: less than one sign of 40, more than one of 60.
    values = manifest((0.1, 0.2, 0.9, 0.4, 0.5, 0.6, *last_third), chosen=3)
    values["valid"]["signs"] = signs
    result = audit(values)
    assert ("not-settled" in severities(result)) == told
    if told:
        assert found(result, "not-settled").evidence["standard_deviation"] == pytest.approx(0.02)


def test_a_loss_is_lowest_after_the_chosen_epoch_or_at_a_lower_accuracy() -> None:
    values = manifest((0.8, 0.9, 0.7))
    for epoch, loss in zip(values["epochs"], (0.2, 0.2, 0.1), strict=True):
        epoch["val_loss"] = loss
    assert "loss-rises" not in severities(audit(values))  # what came later is not in the model
    values["chosen"]["epoch"] = 3
    values["epochs"][2]["val_loss"] = 0.5
    assert "loss-rises" not in severities(audit(values))  # accuracy falls, too: that is no overconfidence


def test_a_chosen_epoch_without_a_checkpoint_is_doubted() -> None:
    values = manifest()
    values["epochs"][1]["file"] = ""
    assert severities(audit(values))["chosen-not-saved"] == "warning"
    values["epochs"][0]["file"], values["epochs"][1]["file"] = "", "x.keras"
    assert "chosen-not-saved" not in severities(audit(values))


@pytest.mark.parametrize(
    ("balance", "code"),
    [
        ("none", None),
        ("class_weights", "classes-balanced"),
        ("sampling", "classes-balanced"),
    ],
)
def test_how_classes_were_balanced_is_told_and_leaves_chance_as_it_is(balance: str, code: str | None) -> None:
    valid = dataset(np.repeat([0, 1, 2, 3], [360, 20, 10, 10]), seed=5)
    values = manifest((0.5, 0.9, 0.8))
    values["valid"]["fingerprint"] = valid.fingerprint
    values["recipe"]["balance"] = balance
    result = audit(values, valid=valid)
    assert ("classes-balanced" in severities(result)) == (code is not None)
    assert found(result, "chance-level").evidence["chance"] == pytest.approx(0.9)


@pytest.mark.parametrize(("most", "told"), [(49, False), (50, True)])
def test_classes_of_very_different_size_are_told_where_nothing_balances_them(most: int, told: bool) -> None:
    train = dataset(np.repeat([0, 1], [most, 10]), seed=6)
    values = manifest()
    values["train"]["fingerprint"] = train.fingerprint
    values["recipe"]["balance"] = "none"
    assert ("classes-not-balanced" in severities(audit(values, train=train))) == told


BACKBONE = {"source": "MobileNetV2", "weights": "imagenet", "freeze": "auto"}
PHASES = [
    {"first": 1, "last": 1, "note": "the head alone"},
    {"first": 2, "last": 3, "note": "the upper half: 25 images a class are few"},
]


def test_a_transferred_backbone_is_told_with_its_phases() -> None:
    values = manifest() | {"phases": PHASES}
    values["recipe"]["backbone"] = BACKBONE
    result = audit(values)
    finding = found(result, "transferred")
    assert "MobileNetV2 with weights imagenet" in finding.message
    assert table(result, "phases").rows == [
        [1, "epoch 1", "the head alone"],
        [2, "epochs 2-3", "the upper half: 25 images a class are few"],
    ]
    assert [row[1] for row in table(result, "epochs").rows] == [1, 2, 2]
    curves = [figure for figure in result.figures if isinstance(figure, Curve)]
    assert all((2.0, "2 chosen, phase 2") in figure.x_ticks for figure in curves)
    assert "The transferred network" in [fact.label for fact in result.not_tested]
    assert "later-phases-gained-nothing" not in severities(result)


def test_the_start_of_a_phase_and_the_chosen_epoch_are_marked() -> None:
    accuracies = tuple(0.5 + 0.01 * n for n in range(10)) + (0.4,) * 10
    values = manifest(accuracies, chosen=10)
    values["phases"] = [{"first": 1, "last": 5, "note": ""}, {"first": 6, "last": 20, "note": ""}]
    [curve, _] = [figure for figure in audit(values).figures if isinstance(figure, Curve)]
    assert curve.x_ticks == [(1.0, "1"), (6.0, "6 phase 2"), (10.0, "10 chosen"), (20.0, "20")]


def test_a_model_from_the_first_phase_has_nothing_of_the_later_ones() -> None:
    values = manifest((0.9, 0.5, 0.6), chosen=1) | {"phases": PHASES}
    values["recipe"]["backbone"] = BACKBONE
    assert severities(audit(values))["later-phases-gained-nothing"] == "info"


def test_random_weights_are_no_transfer() -> None:
    values = manifest()
    values["recipe"]["backbone"] = BACKBONE | {"weights": "none"}
    assert "transferred" not in severities(audit(values))
    values["recipe"]["backbone"] = BACKBONE | {"source": "../resnet-gtsrb"}
    assert "from ../resnet-gtsrb;" in found(audit(values), "transferred").message


def test_the_recipe_is_a_table_of_what_is_recorded() -> None:
    values = manifest()
    values["recipe"] |= {
        "learning_rate": 0.0015,
        "label_smoothing": 0.05,
        "early_stopping": 0,
        "save_best_only": True,
        "augment": {"shift": 0.12},
        "data": {"train": {"kind": "rendered", "images": 12900, "seed": 1}},
        "a_setting_of_tomorrow": [1, 2],
    }
    shown = {row[0]: row[1] for row in table(audit(values), "recipe").rows}
    assert shown == {
        "Name": "small",
        "Training data": "rendered, 12,900 images, seed 1",
        "Learning rate": "0.0015",
        "Label smoothing": "5\u202f%",
        "Random shift": "12\u202f%",
        "Early stopping": "none",
        "Save best only": "yes",
    }
    assert table(audit(values), "recipe").fold


def test_what_is_promised_of_a_second_training() -> None:
    result = audit(manifest())
    assert any("same machine give the same weights" in line for line in result.limits)
    assert any(line.startswith("tensorboard --logdir") for line in result.reproduce)
