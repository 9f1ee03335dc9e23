"""The recipe as the manifest records it: checked by the rules of `recipe.toml`, and shown as settings with their meaning."""

from __future__ import annotations

from collections.abc import Mapping
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
# Every setting that is shown, in the order of a recipe: what it is, and in few words what it does.
SETTINGS: dict[str, tuple[str, str]] = {
    "name": ("Name", "of the recipe"),
    "architecture": ("Architecture", "the kind of network"),
    "width": ("Width", "channels of the first layer; later layers follow from it"),
    "dropout": ("Dropout", "share of the features left out at random while training"),
    "backbone.source": ("Backbone", "the network that is taken over"),
    "backbone.weights": (
        "Backbone weights",
        "where its weights come from",
    ),
    "backbone.layer": ("Backbone ends at", "the last layer that is kept"),
    "backbone.alpha": ("Backbone width", "multiplier of its channels (MobileNets only)"),
    "backbone.similar": ("Similar images", "whether it was trained on images that resemble these"),
    "backbone.freeze": ("Frozen", "what of it stays as it is; auto: decided by number and kind of images"),
    "backbone.head_epochs": ("Head epochs", "first epochs, in which the whole backbone stays as it is"),
    "backbone.fine_tune_rate": ("Fine-tuning rate", "factor of the learning rate in the later epochs"),
    "data.train": ("Training data", "what the weights are fitted to"),
    "data.valid": ("Validation data", "what the epoch is chosen on"),
    "data.valid_fraction": ("Held out", "share of the training data that the epoch is chosen on"),
    "data.split": ("Held out by", "track: whole signs; image: single images, which leaks"),
    "epochs": ("Epochs", "passes through the training images, at most"),
    "batch": ("Batch", "images to one step"),
    "optimizer": ("Optimizer", "how a gradient becomes a step"),
    "schedule": ("Schedule", "how the learning rate goes on after its warm-up"),
    "learning_rate": ("Learning rate", "its highest value"),
    "label_smoothing": ("Label smoothing", "share of each label that is spread over all classes"),
    "weight_decay": ("Weight decay", "pull of the weights towards 0"),
    "weight_average": ("Weight average", "momentum of the average that is validated and saved"),
    "bn_momentum": ("Batch-norm momentum", "how slowly running means follow the batches"),
    "balance": (
        "Class balance",
        "class_weights: rare classes count more; sampling: they are shown more often",
    ),
    "augment.shift": ("Random shift", "share of the side, at most"),
    "augment.rotation_degrees": ("Random rotation", "degrees to either side, at most"),
    "augment.zoom": ("Random zoom", "share, at most"),
    "augment.brightness": ("Random brightness", "share of full white, at most"),
    "augment.contrast": ("Random contrast", "share, at most"),
    "augment.blur_sigma": ("Random blur", "pixels, at most"),
    "adversarial.method": ("Adversarial training", "how each batch is attacked before it is learned"),
    "adversarial.norm": ("Attack norm", "how the size of a change is measured in training"),
    "adversarial.epsilon": ("Attack radius", "largest change in training, in pixel units of 0..1"),
    "adversarial.steps": ("Attack steps", "of PGD in training; FGSM-RS makes one"),
    "adversarial.step_size": (
        "Attack step size",
        "in pixel units of 0..1; the usual one where it is not given",
    ),
    "adversarial.validation_images": (
        "Attacked for validation",
        "validation images that PGD attacks after each epoch",
    ),
    "adversarial.validation_steps": ("Steps for validation", "of that PGD"),
    "early_stopping": ("Early stopping", "epochs without a better value after which training ends"),
    "monitor": ("Monitor", "the value by which the epoch is chosen"),
    "save_best_only": ("Save best only", "an epoch that is not better leaves no checkpoint"),
    "inflation": ("Random split too", "trained a second time, to show how much a random split flatters"),
    "seed": ("Seed", "of weights, order and augmentation"),
}
PROPORTIONS = (
    "augment.shift",
    "augment.zoom",
    "augment.brightness",
    "augment.contrast",
    "data.valid_fraction",
    "dropout",
    "label_smoothing",
)
# Of the tables of data: what says nothing about how the model came about, and where a reader finds it.
LEFT_OUT_OF_DATA = {
    "frames_per_sign": "a statement about the images, not a choice among them; the manifest counts the signs",
    "size": "the size of the images is that of the model's input",
}
NONE_AT_ZERO = (*PROPORTIONS, "weight_decay", "weight_average", "early_stopping", "augment.rotation_degrees", "augment.blur_sigma")  # fmt: skip


def recorded_settings(recipe: dict[str, Any]) -> dict[str, Setting]:
    """What is recorded of the recipe, by dotted name; a default that was not written down is not invented.

    Older manifests lack newer settings, and newer ones may have settings that this version does not know. Rules between
    settings are those of the version that trained. Raises InputRefused where a setting has no possible value.
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
    """The dotted name of a setting; pydantic adds which of several types it tried."""
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


def _source(data: Mapping[str, Any]) -> str:
    """Data settings in a few words: `npz gtsrb/train.npz`, `rendered, 12,900 images, seed 1`.

    Only GTSRB has parts to choose between, and only images that are drawn or sampled depend on a seed.
    """
    parts = [" ".join(str(data[key]) for key in ("kind", "path") if data.get(key))]
    if data.get("kind") == "gtsrb":
        parts += [f"split {data['split']}" for key in ("split",) if key in data]
        parts += [f"valid_fraction {data[key]:g}" for key in ("valid_fraction",) if data.get(key)]
    rendered = data.get("kind") == "rendered"
    if data.get("images"):
        parts.append(f"{'' if rendered else 'a sample of '}{data['images']:,} images")
    if "seed" in data and (rendered or data.get("images")):
        parts.append(f"seed {data['seed']}")
    if data.get("classes"):
        parts.append(f"{len(data['classes'])} classes")
    return ", ".join(parts)


def without_effect(settings: Mapping[str, Setting]) -> set[str]:
    """The settings that change nothing in this recipe, by dotted name: to show them would be to claim an effect."""
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
    """Whether a backbone is named by a path; an architecture of keras.applications has neither slash nor dot."""
    return "/" in source or "." in source


def recipe_table(settings: Mapping[str, Setting]) -> Table:
    """The recorded settings that have an effect, with their values and meanings."""
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
        caption="As the manifest records it. A setting that is not recorded, or changes nothing in this recipe, is left out.",
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
