"""Targets of a regression: what the settings, the data, a recipe and the renderer state."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from safeml.config.audit import parse_config
from safeml.config.quantization import QuantizeSettings
from safeml.config.recipe import Recipe
from safeml.data.npz import load
from safeml.data.place import Place
from safeml.data.rendered import render
from safeml.data.rendered.approach import Approach, homographies, project, tilt
from safeml.data.targets import Targets, targets_of
from safeml.errors import ConfigError, InputRefused
from safeml.settings.base import validated
from safeml.settings.data import DataSettings
from safeml.settings.targets import TargetSettings
from tests.fakes import numbered_images
from tests.regression_cases import DEGREES, gate, images_of, spread

# What the settings and the data refuse


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"unit": ""}, "unit"),
        ({"unit": " "}, "unit is blank"),
        ({"range": (3.0, 3.0)}, "smallest value"),
        ({"tolerance": 0.0}, "tolerance"),
        ({"tolerance": 40.0}, "cannot fail"),
        ({"name": "Tilt!"}, "name"),
    ],
)
def test_a_target_that_means_nothing_is_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        validated(TargetSettings, {**DEGREES.model_dump(), **changes}, "safeml.toml")


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (np.array([0.0, np.nan, 1.0]), "tilt is nan for image 1"),
        (np.array([0.0, np.inf, 1.0]), "finite"),
        (np.array([0.0, 21.0, 1.0]), "outside its range"),
        (np.array([3.0, 3.0, 3.0]), "constant"),
    ],
)
def test_targets_that_no_model_could_learn_are_refused(values: np.ndarray, words: str) -> None:
    with pytest.raises(InputRefused, match=words):
        targets_of({"tilt": values}, (DEGREES,), "data")


def test_class_ids_are_never_taken_as_targets(tmp_path: Path) -> None:
    images = numbered_images(6)
    np.savez(tmp_path / "labels.npz", images=images, labels=np.arange(6) % 2)
    np.savez(tmp_path / "integers.npz", images=images, targets=np.arange(6))
    np.savez(tmp_path / "cube.npz", images=images, targets=np.zeros((6, 2, 2)))
    place = Place(tmp_path)
    with pytest.raises(ConfigError, match="class ids are never taken as targets"):
        place.targeted(DataSettings(kind="npz", path="labels.npz"), (DEGREES,))
    with pytest.raises(InputRefused, match=r"targets are int64; expected floats"):
        load(tmp_path / "integers.npz")
    with pytest.raises(InputRefused, match=r"targets are \[6, 2, 2\]"):
        load(tmp_path / "cube.npz")


def test_targets_come_by_name_by_order_or_from_a_table(tmp_path: Path) -> None:
    images, columns = numbered_images(6), np.stack([np.arange(6.0), -np.arange(6.0)], axis=1)
    other = DEGREES.model_copy(update={"name": "roll"})
    np.savez(tmp_path / "named.npz", images=images, targets=columns, target_names=np.array(["roll", "tilt"]))
    np.savez(tmp_path / "plain.npz", images=images, targets=columns)
    np.savez(tmp_path / "labels.npz", images=images, labels=np.arange(6) % 2)
    rows = "".join(f"{number},{number / 2}\n" for number in range(6))
    (tmp_path / "targets.csv").write_text(f"image,tilt\n{rows}")
    place = Place(tmp_path)

    def read(name: str, *targets: TargetSettings, table: str = "") -> np.ndarray:
        found = place.targeted(DataSettings(kind="npz", path=name, targets=table), targets).targets
        assert found is not None
        return found.values

    assert np.array_equal(read("named.npz", DEGREES, other), columns[:, ::-1])
    assert np.array_equal(read("named.npz", DEGREES), columns[:, 1:])
    assert np.array_equal(read("plain.npz", DEGREES, other), columns)
    assert np.array_equal(read("labels.npz", DEGREES, table="targets.csv")[:, 0], np.arange(6) / 2)
    with pytest.raises(ConfigError, match="2 target columns"):
        read("plain.npz", DEGREES)
    (tmp_path / "targets.csv").write_text("image,tilt\n" + "".join(f"{number},fast\n" for number in range(6)))
    with pytest.raises(InputRefused, match=r"targets.csv:2: tilt is fast; expected a finite number"):
        read("labels.npz", DEGREES, table="targets.csv")


def test_targets_and_tolerance_are_part_of_the_fingerprint() -> None:
    data = images_of(spread(8))
    assert data.targets is not None
    moved = replace(data, targets=replace(data.targets, values=data.targets.values + 1e-9))
    looser = replace(
        data, targets=Targets(data.targets.values, (DEGREES.model_copy(update={"tolerance": 3.0}),))
    )
    assert len({data.fingerprint, moved.fingerprint, looser.fingerprint}) == 3
    part = data.take(np.array([3, 1]))
    assert part.targets is not None
    assert np.array_equal(part.targets.values, data.targets.values[[3, 1]])


BASE = {
    "model": {"path": "m.keras"},
    "data": {"test": {"kind": "rendered"}, "targets": [DEGREES.model_dump()]},
    "gates": [gate("within_tolerance", ">=", 0.9).model_dump(exclude={"waiver"})],
}


def test_declared_targets_make_the_outputs_values() -> None:
    assert parse_config(BASE, "safeml.toml").model.input.outputs == "values"
    assert parse_config(BASE, "safeml.toml").head == "regression"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model": {"path": "m.keras", "input": {"outputs": "logits"}}}, "declare targets"),
        ({"model": {"path": "m.keras", "input": {"class_order": (1, 0)}}}, "class_order"),
        ({"hazard": {"costs": "c.csv"}}, "costs"),
        ({"stages": {"adversarial": {"surrogate": {"path": "s.keras"}}}}, "surrogate"),
        (
            {"data": {"test": {"kind": "rendered"}}, "model": {"path": "m", "input": {"outputs": "values"}}},
            "no targets",
        ),
        ({"data": {"test": {"kind": "npz", "path": "d.npz", "targets": "t.csv"}}}, "none is declared"),
    ],
)
def test_settings_that_contradict_a_regression_are_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        parse_config({**BASE, **changes}, "safeml.toml")


STILL = {"shift": 0.0, "rotation_degrees": 0.0, "zoom": 0.0}
RECIPE = {
    "name": "r",
    "architecture": "lenet",
    "head": "regression",
    "epochs": 1,
    "augment": STILL,
    "data": {
        "train": {"kind": "rendered", "seed": 1},
        "valid": {"kind": "rendered"},
        "targets": [DEGREES.model_dump()],
    },
}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"augment": {**STILL, "rotation_degrees": 5.0}}, "moving pixels may change the target"),
        ({"augment": {}}, "moving pixels may change the target"),
        ({"monitor": "val_accuracy"}, "which a regression has not"),
        ({"label_smoothing": 0.1}, "label_smoothing is for classifiers"),
        ({"balance": "sampling"}, "balance is for classifiers"),
        ({"adversarial": {"epsilon": "4/255"}}, "adversarial"),
        ({"inflation": True}, "inflation"),
        ({"head": "classification"}, "requires"),
    ],
)
def test_a_recipe_of_a_regression_refuses_what_only_a_classifier_has(
    changes: dict[str, Any], words: str
) -> None:
    assert validated(Recipe, RECIPE, "recipe.toml").monitor == "val_mae"
    with pytest.raises(ConfigError, match=words):
        validated(Recipe, {**RECIPE, **changes}, "recipe.toml")


def test_a_classifier_has_no_mean_absolute_error() -> None:
    plain = {
        **RECIPE,
        "head": "classification",
        "data": {key: RECIPE["data"][key] for key in ("train", "valid")},
    }  # type: ignore[index]
    with pytest.raises(ConfigError, match="a classifier has not"):
        validated(Recipe, {**plain, "monitor": "val_mae"}, "recipe.toml")


def test_quantization_of_a_regression_is_selected_by_its_error() -> None:
    given = {"name": "q", "model": {"path": "m.keras"}, "data": RECIPE["data"]}
    settings = validated(QuantizeSettings, given, "quantize.toml")
    assert (settings.monitor, settings.model.input.outputs) == ("val_mae", "values")
    for changes, words in (
        ({"prune": {}}, "prune"),
        ({"backend": "tfmot"}, "tfmot"),
        ({"epochs": 1}, "moving pixels"),
    ):
        with pytest.raises(ConfigError, match=words):
            validated(QuantizeSettings, {**given, **changes}, "quantize.toml")


# The renderer's target


def test_the_tilt_is_the_angle_of_the_signs_axis_in_the_image() -> None:
    rng, one = np.random.default_rng(5), np.ones(6)
    approach = Approach(
        size=np.full(6, 32),
        roll=rng.normal(0, 0.3, 6),
        yaw=rng.normal(0, 0.4, 6),
        pitch=rng.normal(0, 0.2, 6),
        x=0.1 * one,
        y=-0.1 * one,
        fill=0.8 * one,
        depth=8 * one,
    )
    matrices = homographies(approach)
    # The same by finite differences: where the sign's centre and a point just above it are drawn. y points down.
    drawn = project(matrices, np.array([[0.0, 0.0], [0.0, -1e-6]]))
    right, up = drawn[:, 1, 0] - drawn[:, 0, 0], drawn[:, 0, 1] - drawn[:, 1, 1]
    assert tilt(matrices) == pytest.approx(np.rad2deg(np.arctan2(right, up)), abs=1e-3)
    straight = replace(approach, yaw=0 * one, pitch=0 * one, x=0 * one, y=0 * one)
    assert tilt(homographies(straight)) == pytest.approx(np.rad2deg(approach.roll), abs=1e-9)


def test_rendered_signs_know_their_tilt() -> None:
    data = render(86, seed=4)
    assert data.quantities["tilt"].shape == (86,)
    assert np.abs(data.quantities["tilt"]).max() < 45
    assert data.targets is None  # a classifier's data are unchanged
