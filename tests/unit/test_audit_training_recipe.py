"""The recipe in the training report: every setting has its place, and none is shown that does nothing."""

from __future__ import annotations

from typing import Any, get_args

import pytest
from pydantic import BaseModel

from safeml.audits.training.recipe import (
    LEFT_OUT_OF_DATA,
    SETTINGS,
    WITHOUT_BATCH_NORM,
    recipe_table,
    recorded_settings,
)
from safeml.config.recipe import Recipe
from safeml.settings.data import DataSettings
from safeml.settings.targets import TargetSettings
from tests.unit.test_audit_training import audit, found, manifest

NPZ = {"kind": "npz", "path": "train.npz"}
OTHER_VALUES: dict[str, Any] = {
    "kind": "folder",
    "path": "elsewhere",
    "split": "train",
    "frames_per_sign": 30.0,
    "images": 700,
    "seed": 5,
    "size": 64,
    "valid_fraction": 0.25,
    "classes": ("Stop", "Yield"),
    "class_names": ("Stop", "Yield"),
    "class_table": "names.csv",
    "tracks": "tracks.csv",
    "generated": "generated.csv",
    "label_order": "text",
    "decode": "keras",
    "max_refused": 3,
    "targets": "targets.csv",
}


def settings_of(model: type[BaseModel], before: str = "") -> set[str]:
    """Dotted names of all settings, tables within tables included; where images come from is one setting."""
    names = set()
    for name, field in model.model_fields.items():
        kinds = [field.annotation, *get_args(field.annotation)]
        table = next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)), None)
        if table is None or table in (DataSettings, TargetSettings):
            names.add(before + name)
        else:
            names |= settings_of(table, f"{before}{name}.")
    return names


def labels(**recipe: Any) -> set[str]:
    """What the table shows of a recipe."""
    return {str(row[0]) for row in recipe_table(recorded_settings(recipe)).rows}


def test_every_setting_of_a_recipe_has_a_row() -> None:
    assert settings_of(Recipe) == set(SETTINGS)


@pytest.mark.parametrize("key", DataSettings.model_fields)
def test_every_setting_of_the_data_is_shown_or_left_out_by_name(key: str) -> None:
    values = {
        "kind": "gtsrb",
        "path": "gtsrb",
        "split": "valid",
        "valid_fraction": 0.5,
        "images": 300,
        "seed": 1,
    }
    other = values | {key: OTHER_VALUES[key]}
    shown, otherwise = (recorded_settings({"data": {"train": one}})["data.train"] for one in (values, other))
    assert (shown == otherwise) == (key in LEFT_OUT_OF_DATA)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (NPZ | {"seed": 3, "split": "test"}, "npz train.npz"),
        (NPZ | {"images": 1500, "seed": 3}, "npz train.npz, a sample of 1,500 images, seed 3"),
        ({"kind": "rendered", "images": 12900, "seed": 1}, "rendered, 12,900 images, seed 1"),
        (
            {"kind": "rendered", "images": 900, "frames_per_sign": 3.0, "seed": 1},
            "rendered, 900 images, 3 frames of each sign, seed 1",
        ),
        ({"kind": "gtsrb", "path": "x", "split": "train"}, "gtsrb x, split train"),
    ],
)
def test_data_in_words(data: dict[str, Any], words: str) -> None:
    assert recorded_settings({"data": {"train": data}})["data.train"] == words


ALL_OF_A_BACKBONE: dict[str, Any] = {
    "weights": "imagenet",
    "alpha": 1.0,
    "similar": True,
    "freeze": "auto",
    "head_epochs": 2,
    "fine_tune_rate": 0.1,
}


@pytest.mark.parametrize(
    ("changed", "idle"),
    [
        ({"source": "MobileNetV2"}, set()),
        ({"source": "ResNet50"}, {"Backbone width"}),
        ({"source": "../resnet-gtsrb"}, {"Backbone width", "Backbone weights"}),
        ({"source": "MobileNetV2", "freeze": 0.5}, {"Similar images"}),
        ({"source": "MobileNetV2", "freeze": "all"}, {"Similar images", "Head epochs", "Fine-tuning rate"}),
    ],
)
def test_settings_of_a_backbone_that_do_nothing_are_not_shown(
    changed: dict[str, Any], idle: set[str]
) -> None:
    shown = labels(architecture="backbone", width=16, backbone=ALL_OF_A_BACKBONE | changed)
    of_a_backbone = {SETTINGS[f"backbone.{name}"][0] for name in ("source", *ALL_OF_A_BACKBONE)}
    assert of_a_backbone - shown == idle
    assert "Width" not in shown


def test_the_evidence_of_a_transfer_has_no_setting_that_does_nothing() -> None:
    values = manifest()
    values["recipe"]["backbone"] = ALL_OF_A_BACKBONE | {"source": "../resnet-gtsrb"}
    assert found(audit(values), "transferred").evidence == {
        "source": "../resnet-gtsrb",
        "similar": True,
        "freeze": "auto",
        "head_epochs": 2,
        "fine_tune_rate": 0.1,
    }


@pytest.mark.parametrize(
    ("architecture", "has"),
    [("lenet", False), ("safeml_cnn", False), ("resnet18", True), ("vit", True), ("backbone", True)],
)
def test_batch_normalisation_is_spoken_of_where_there_is_some(architecture: str, has: bool) -> None:
    assert ("Batch-norm momentum" in labels(architecture=architecture, bn_momentum=0.9)) == has


def test_how_images_are_held_out_is_not_said_where_they_are_given() -> None:
    assert "Held out by" in labels(data={"train": NPZ, "valid_fraction": 0.2, "split": "track"})
    given = labels(data={"train": NPZ, "valid": NPZ | {"path": "valid.npz"}, "split": "track"})
    assert {"Validation data", "Held out by"} & given == {"Validation data"}


@pytest.mark.slow
@pytest.mark.parametrize(
    "architecture", ["lenet", "safeml_cnn", "resnet18", "mobilenet_v2", "efficientnet", "vit"]
)
def test_the_architectures_without_batch_normalisation_are_those_that_have_none(architecture: str) -> None:
    import keras

    from safeml.training.architectures.registry import ARCHITECTURES

    model = ARCHITECTURES[architecture](32, 32, 3, base=16, dropout=0.0, bn_momentum=0.9)
    has = any(isinstance(layer, keras.layers.BatchNormalization) for layer in model.layers)
    assert has == (architecture not in WITHOUT_BATCH_NORM)


def test_the_targets_of_a_regression_are_shown_with_their_units() -> None:
    target = {"name": "tilt", "unit": "degrees", "range": [-45.0, 45.0], "tolerance": 5.0}
    recipe = {"head": "regression", "loss": "huber", "data": {"targets": [target]}}
    assert recorded_settings(recipe)["data.targets"] == "tilt in degrees"
    assert {"Head", "Loss", "Targets"} <= labels(**recipe)
    assert "data.targets" not in recorded_settings({"data": {"train": NPZ}})
