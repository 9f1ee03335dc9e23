"""The recipe in the manifest: checked by the rules of `recipe.toml`, and listed as settings with their meaning."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from safeml.config.recipe import Recipe
from safeml.errors import InputRefused
from safeml.results import Column, Table
from safeml.settings.errors import EXPECTED, found
from safeml.wording import limit_percent

Setting = str | int | float | bool
LONGEST = 200
WITHOUT_BATCH_NORM = ("lenet", "safeml_cnn")
# Every listed setting in the order of a recipe: its name and its meaning.
SETTINGS: dict[str, tuple[str, str]] = {
    "name": ("Name", "of the recipe"),
    "architecture": ("Architecture", "the kind of network"),
    "width": ("Width", "channels of the first layer; later layers follow from it"),
    "dropout": ("Dropout", "share of features dropped at random in training"),
    "backbone.source": ("Backbone", "the network that is transferred"),
    "backbone.weights": (
        "Backbone weights",
        "where its weights come from",
    ),
    "backbone.layer": ("Backbone ends at", "the last layer of it that is used"),
    "backbone.alpha": ("Backbone width", "multiplier of its channels (MobileNets only)"),
    "backbone.similar": ("Similar images", "whether it was trained on images that resemble these"),
    "backbone.freeze": (
        "Frozen",
        "its layers that are not trained; auto: depends on number and kind of images",
    ),
    "backbone.head_epochs": ("Head epochs", "first epochs, in which the whole backbone is frozen"),
    "backbone.fine_tune_rate": ("Fine-tuning rate", "factor of the learning rate in the later epochs"),
    "head": ("Head", "classification, or the values of a regression"),
    "loss": ("Loss", "of a regression"),
    "data.targets": ("Targets", "what the outputs of a regression are, with their units"),
    "data.train": ("Training data", "the images that fit the weights"),
    "data.valid": ("Validation data", "the images that select the epoch"),
    "data.valid_fraction": ("Held out", "share of the training data that selects the epoch"),
    "data.split": ("Held out by", "track: whole signs; image: single images, which leaks"),
    "epochs": ("Epochs", "passes through the training images, at most"),
    "batch": ("Batch", "images per step"),
    "optimizer": ("Optimizer", "the update rule"),
    "schedule": ("Schedule", "the learning rate after its warm-up"),
    "learning_rate": ("Learning rate", "its highest value"),
    "label_smoothing": ("Label smoothing", "share of each label that is spread over all classes"),
    "weight_decay": ("Weight decay", "decay of the weights towards 0"),
    "weight_average": ("Weight average", "momentum of the average that is validated and saved"),
    "bn_momentum": ("Batch-norm momentum", "momentum of the running mean and variance"),
    "balance": (
        "Class balance",
        "class_weights: rare classes weigh more; sampling: rare classes are drawn more often",
    ),
    "augment.shift": ("Random shift", "share of the side, at most"),
    "augment.rotation_degrees": ("Random rotation", "degrees to either side, at most"),
    "augment.zoom": ("Random zoom", "share, at most"),
    "augment.brightness": ("Random brightness", "share of full white, at most"),
    "augment.contrast": ("Random contrast", "share, at most"),
    "augment.blur_sigma": ("Random blur", "pixels, at most"),
    "adversarial.method": ("Adversarial training", "the attack on each training batch"),
    "adversarial.norm": ("Attack norm", "the norm of the perturbation in training"),
    "adversarial.epsilon": ("Attack radius", "largest perturbation in training, in pixel units of 0..1"),
    "adversarial.steps": ("Attack steps", "of PGD in training; FGSM-RS takes one"),
    "adversarial.step_size": (
        "Attack step size",
        "in pixel units of 0..1; the usual one if not set",
    ),
    "adversarial.validation_images": (
        "Attacked for validation",
        "validation images that PGD attacks after each epoch",
    ),
    "adversarial.validation_steps": ("Steps for validation", "of that PGD"),
    "distill.teacher": ("Teacher", "the model whose logits are learnt as well as the labels"),
    "distill.temperature": ("Temperature", "divides the logits of both models before their softmax"),
    "distill.alpha": ("Share of the teacher", "of the training loss; the rest comes from the labels"),
    "early_stopping": ("Early stopping", "epochs without improvement after which training ends"),
    "monitor": ("Monitor", "the value that selects the epoch"),
    "save_best_only": ("Save best only", "an epoch without improvement has no checkpoint"),
    "inflation": ("Random split too", "a second training that measures the inflation by a random split"),
    "seed": ("Seed", "of weights, order and augmentation"),
}
PROPORTIONS = (
    "augment.shift",
    "augment.zoom",
    "augment.brightness",
    "augment.contrast",
    "data.valid_fraction",
    "distill.alpha",
    "dropout",
    "label_smoothing",
)
# Data settings that do not describe the training, and where they are reported.
LEFT_OUT_OF_DATA = {
    "frames_per_sign": "describes the images and selects none, except of rendered signs, where it is shown; the manifest counts the signs",
    "size": "the image size equals the input size of the model",
    "class_names": "names of the classes, which the images of a class do not depend on",
    "class_table": "names of the classes, which the images of a class do not depend on",
    "targets": "values of the images, which select none",
    "generated": "describes the images and selects none; the stage data_quality counts them",
}
NONE_AT_ZERO = (*PROPORTIONS, "weight_decay", "weight_average", "early_stopping", "augment.rotation_degrees", "augment.blur_sigma")  # fmt: skip


def recorded_settings(recipe: dict[str, Any]) -> dict[str, Setting]:
    """Return the recorded settings of the recipe by dotted name, without defaults for missing ones.

    Older manifests lack newer settings, and newer ones may have settings unknown to this version. Rules between
    settings are those of the version that trained. Raises InputRefused for an invalid value.
    """
    try:
        Recipe.model_validate(recipe)
    except ValidationError as error:
        _refuse_wrong_values(recipe, error)
    settings: dict[str, Setting] = {}
    for name in SETTINGS:
        value = _at(recipe, name)
        if isinstance(value, Mapping):
            value = _source(value)
        if name == "data.targets":
            value = _targets(value)
        if isinstance(value, str):
            value = value[:LONGEST]
        if isinstance(value, Setting) and value != "":
            settings[name] = value
    return settings


def _refuse_wrong_values(recipe: dict[str, Any], error: ValidationError) -> None:
    for entry in error.errors(include_url=False):
        between_settings = entry["type"] == "value_error" and isinstance(entry["input"], dict)
        if entry["type"] in ("missing", "extra_forbidden") or between_settings:
            continue
        where = f"training.json: recipe.{_place(recipe, entry['loc'])}"
        if entry["type"] == "value_error":
            raise InputRefused(f"{where} {entry['msg'].removeprefix('Value error, ')}.")
        wanted = EXPECTED.get(entry["type"], entry["msg"].removeprefix("Input should be "))
        raise InputRefused(f"{where} is {found(entry['input'])}; expected {wanted}.")


def _place(recipe: Any, loc: tuple[int | str, ...]) -> str:
    """Return the dotted name of a setting, without the union member that pydantic adds."""
    names = []
    for part in loc:
        if not isinstance(recipe, dict) or part not in recipe:
            break
        recipe = recipe[part]
        names.append(str(part))
    return ".".join(names)


def _at(values: Any, name: str) -> Any:
    for part in name.split("."):
        values = values.get(part) if isinstance(values, Mapping) else None
    return values


def _targets(targets: object) -> str:
    """Summarise the targets of a regression: `tilt in degrees`."""
    if not isinstance(targets, Sequence):
        return ""
    return ", ".join(f"{target['name']} in {target['unit']}" for target in targets)


def _source(data: Mapping[str, Any]) -> str:
    """Summarise data settings: `npz gtsrb/train.npz`, `rendered, 12,900 images, seed 1`.

    Only GTSRB has parts to select, and only rendered or sampled images depend on a seed.
    """
    parts = [" ".join(str(data[key]) for key in ("kind", "path") if data.get(key))]
    if data.get("kind") == "gtsrb":
        parts += [f"split {data['split']}" for key in ("split",) if key in data]
        parts += [f"valid_fraction {data[key]:g}" for key in ("valid_fraction",) if data.get(key)]
    rendered = data.get("kind") == "rendered"
    if data.get("images"):
        parts.append(f"{'' if rendered else 'a sample of '}{data['images']:,} images")
    if rendered and data.get("frames_per_sign"):
        parts.append(f"{data['frames_per_sign']:g} frames of each sign")
    if "seed" in data and (rendered or data.get("images")):
        parts.append(f"seed {data['seed']}")
    if data.get("classes"):
        parts.append(f"{len(data['classes'])} classes")
    if data.get("tracks"):
        parts.append(f"sign tracks of {data['tracks']}")
    if data.get("label_order"):
        parts.append(f"label_order {data['label_order']}")
    if data.get("decode", "upright") != "upright":
        parts.append(f"decode {data['decode']}")
    if data.get("max_refused"):
        parts.append(f"up to {data['max_refused']:,} unreadable files skipped")
    return ", ".join(parts)


def without_effect(settings: Mapping[str, Setting]) -> set[str]:
    """Return the settings without effect in this recipe, by dotted name; the table omits them."""
    idle = set()
    architecture, freeze = settings.get("architecture"), settings.get("backbone.freeze")
    source = str(settings.get("backbone.source", ""))
    if source or architecture == "backbone":
        idle.add("width")
    if own_model(source):
        idle |= {"backbone.weights", "backbone.alpha"}
    elif not source.lower().startswith("mobilenet"):
        idle.add("backbone.alpha")
    if freeze not in (None, "auto"):
        idle.add("backbone.similar")
    if freeze in ("all", 1):  # there is no later phase in which more is trained
        idle |= {"backbone.head_epochs", "backbone.fine_tune_rate"}
    if architecture in WITHOUT_BATCH_NORM:
        idle.add("bn_momentum")
    if "data.valid" in settings:
        idle.add("data.split")
    return idle


def own_model(source: str) -> bool:
    """Return whether a backbone is a path; an architecture of keras.applications has neither slash nor dot."""
    return "/" in source or "." in source


def recipe_table(settings: Mapping[str, Setting]) -> Table:
    """Return the table of recorded settings that have an effect, with values and meanings."""
    idle = without_effect(settings)
    return Table(
        id="recipe",
        title="Recipe",
        columns=[
            Column(key="setting", label="Setting"),
            Column(key="value", label="Value"),
            Column(key="meaning", label="Meaning"),
        ],
        rows=[
            [label, _shown(name, settings[name]), meaning]
            for name, (label, meaning) in SETTINGS.items()
            if name in settings and name not in idle
        ],
        caption="As recorded in the manifest. A setting that is not recorded or has no effect in this recipe is omitted.",
        fold=True,
    )


def _shown(name: str, value: Setting) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        return value
    if value == 0 and name in NONE_AT_ZERO:
        return "none"
    share = name in PROPORTIONS or (name == "backbone.freeze" and 0 <= value <= 1)
    return limit_percent(value) if share else f"{value:.10g}"
