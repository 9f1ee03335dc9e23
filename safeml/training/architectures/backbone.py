"""Transfer learning: the early layers of a trained network, a new classifier, and the phases of their training.

The result is one flat functional model of Keras' own layers that maps float32 [N, H, W, 3] in 0..1 to logits [N, K].
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
from keras import layers

from safeml.config.recipe import BackboneSettings, Recipe
from safeml.data.dataset import ImageDataset
from safeml.errors import ConfigError
from safeml.training.architectures.flatten import flatten
from safeml.training.architectures.freezing import Decision, decide
from safeml.training.architectures.parts import image_input
from safeml.training.architectures.preprocessing import APPLICATIONS, LAYER, preprocessing, take_rgb
from safeml.training.architectures.source_model import open_source
from safeml.training.architectures.weights import application
from safeml.training.phases import Phase

MODEL_ENDINGS = (".keras", ".h5", ".hdf5", ".onnx", ".json")


def transfer(
    recipe: Recipe, settings: BackboneSettings, train: ImageDataset, base: Path
) -> tuple[keras.Model, tuple[Phase, ...]]:
    """Return the model of a recipe with a backbone, for the images of `train`, and its training phases.

    base: folder of relative paths of the recipe.
    Raises ConfigError if settings, source and images do not fit; InputRefused or StageError if a file is invalid or weights
    cannot be fetched.
    """
    height, width, depth = (int(side) for side in train.images.shape[1:])
    if depth != 3:
        raise ConfigError(
            f"{recipe.name}: the training images are grey, but a backbone needs RGB; use images with three channels."
        )
    image = image_input(height, width)
    name = _application(settings, base, recipe.name)
    if name:
        network = application(name, settings, (height, width, 3), base, recipe.name)
        take_rgb(network, APPLICATIONS[name])
        flat, names = flatten(network, image, preprocessing(APPLICATIONS[name]))
        given = "random weights" if settings.weights == "none" else f"weights: {settings.weights}"
        origin = f"{name} of keras.applications, {given}"
    else:
        _check_own(settings, recipe.name)
        network, origin = open_source(base / settings.source, (height, width, 3), recipe.name)
        flat, names = flatten(network, image)
    features = _cut(flat, settings.layer, names, whole=bool(name), where=recipe.name)
    model = keras.Model(
        flat.inputs[0], _head(features, train.classes, recipe.dropout), name=recipe.name.replace("-", "_")
    )
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.momentum = (
                recipe.bn_momentum
            )  # published networks have up to 0.999, for fits of a million steps
    kept = [
        layer.name
        for layer in model.layers
        if layer.trainable_weights and layer.name not in (LAYER, "logits")
    ]
    random = bool(name) and settings.weights == "none"
    decision = decide(settings, len(kept), len(train) / train.classes, random)
    return model, _phases(recipe, settings, kept, decision, origin)


def _application(settings: BackboneSettings, base: Path, where: str) -> str:
    """Return the architecture of the source, or "" if it is a path."""
    source = settings.source
    by_lower = {name.lower(): name for name in APPLICATIONS}
    if source.lower() in by_lower:
        return by_lower[source.lower()]
    if (base / source).exists():
        return ""
    if "/" in source or source.endswith(MODEL_ENDINGS):
        raise ConfigError(
            f"{where}: backbone.source is {base / source}, which does not exist; expected a Keras model, "
            "a folder of `safeml train`, or a name of keras.applications."
        )
    near = difflib.get_close_matches(source.lower(), by_lower, n=1)
    hint = (
        f'did you mean "{by_lower[near[0]]}"?' if near else f"known are: {', '.join(sorted(APPLICATIONS))}."
    )
    raise ConfigError(
        f'{where}: backbone.source is "{source[:60]}", neither a name of keras.applications nor a file; {hint}'
    )


def _check_own(settings: BackboneSettings, where: str) -> None:
    for key, default in (("weights", "imagenet"), ("alpha", 1.0)):
        if getattr(settings, key) != default:
            raise ConfigError(
                f"{where}: backbone.{key} applies only to names of keras.applications; remove it for the path of a model."
            )


def _cut(flat: Any, layer: str, names: dict[str, str], whole: bool, where: str) -> Any:
    """Return the input of the head: the output of `layer`, else of the application, else the input of the classifier."""
    if layer and layer not in names:
        near = difflib.get_close_matches(layer, names, n=3)
        hint = f"similar: {', '.join(near)}" if near else f"the last layers are {', '.join([*names][-5:])}"
        raise ConfigError(
            f'{where}: backbone.layer is "{layer[:60]}", which the source does not have; {hint}.'
        )
    if layer:
        if names[layer] not in {found.name for found in flat.layers}:
            raise ConfigError(
                f'{where}: backbone.layer is "{layer}", a model inside the source or an operation; set a layer in it.'
            )
        features = flat.get_layer(names[layer]).output
    elif whole:
        features = flat.outputs[0]
    else:
        classifier = [found for found in flat.layers if found.weights][-1]
        before = {id(found.output): found for found in flat.layers if isinstance(found, layers.Dropout)}
        features = classifier.input
        while id(features) in before:  # the recipe sets the dropout
            features = before[id(features)].input
    if isinstance(features, list) or len(features.shape) not in (2, 3, 4):
        raise ConfigError(
            f'{where}: backbone.layer is "{layer}", whose output is neither a feature map nor a vector; set another layer.'
        )
    return features


def _head(features: Any, classes: int, dropout: float) -> Any:
    """Add global pooling if needed, dropout, and one logit per class."""
    x = features
    if len(x.shape) == 4:
        x = layers.GlobalAveragePooling2D(name="pool")(x)
    elif len(x.shape) == 3:
        x = layers.GlobalAveragePooling1D(name="pool")(x)
    x = layers.Dropout(dropout, name="dropout")(x)
    return layers.Dense(classes, dtype="float32", name="logits")(x)


def _phases(
    recipe: Recipe, settings: BackboneSettings, kept: list[str], decision: Decision, origin: str
) -> tuple[Phase, ...]:
    """Return the training phases. kept: layers of the backbone with weights, from the input on."""
    about = f"backbone: {origin}; {decision.reason}"
    if decision.at_once:
        return (
            Phase(
                0,
                recipe.epochs,
                recipe.learning_rate,
                _freeze([]),
                f"{about}; all {len(kept)} layers are trained",
            ),
        )
    frozen = f"{about}; all {len(kept)} layers of the backbone are frozen, the head is trained"
    if decision.frozen == len(kept):
        return (Phase(0, recipe.epochs, recipe.learning_rate, _freeze(kept), frozen),)
    head = (Phase(0, settings.head_epochs, recipe.learning_rate, _freeze(kept), frozen),)
    trained = f"all {len(kept)} layers of the backbone are trained"
    if decision.frozen:
        trained = f"the first {decision.frozen} of {len(kept)} layers of the backbone are frozen, the others are trained"
    rest = Phase(
        settings.head_epochs,
        recipe.epochs,
        recipe.learning_rate * settings.fine_tune_rate,
        _freeze(kept[: decision.frozen]),
        f"{about}; {trained}",
    )
    return (head if settings.head_epochs else ()) + ((rest,) if settings.head_epochs < recipe.epochs else ())


def _freeze(names: list[str]) -> Callable[[keras.Model], None]:
    """Return a function that freezes these layers; Keras runs frozen batch normalisation in inference mode."""
    frozen = {*names, LAYER}

    def prepare(model: keras.Model) -> None:
        for layer in model.layers:
            layer.trainable = layer.name not in frozen

    return prepare
