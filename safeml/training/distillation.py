"""Distillation: a model learns from the logits of a trained teacher.

The model itself is trained, and `keras.distillation` gives the loss alone. Its Distiller would be what ModelCheckpoint saves, with the
teacher inside, and its `val_loss` mixes in the teacher. Here the checkpoint is the student, and the validation is that of the
student on the labels.

References:
    G. Hinton, O. Vinyals, J. Dean, "Distilling the knowledge in a neural network", 2015.

Legend: B images in a batch, H W C pixels, K classes, M validation images.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import keras

from safeml.classifiers.base import DifferentiableClassifier, is_differentiable
from safeml.classifiers.keras import wrap
from safeml.classifiers.load import load_model
from safeml.config.recipe import DistillSettings, Recipe
from safeml.data.dataset import ImageDataset
from safeml.errors import ConfigError, InputRefused, StageError
from safeml.metrics.decisions import change_record, decision_record
from safeml.scan.formats import HDF5, KERAS
from safeml.settings.model import InputSettings

SETTING = "distill.teacher"
# A teacher that is correct less often than this multiple of chance takes other images or gives other classes.
LEAST_OVER_CHANCE = 1.5


@dataclass(frozen=True, eq=False)
class Teacher:
    """An opened teacher.

    classifier: gives logits in the order of the classes.
    decisions: int64 [M], its predicted classes of the validation images.
    identity: file, sha256, fingerprint and number of parameters, for the manifest.
    """

    classifier: DifferentiableClassifier
    decisions: Any
    identity: dict[str, Any]


def open_teacher(recipe: Recipe, settings: DistillSettings, base: Path, valid: ImageDataset) -> Teacher:
    """Open the teacher through the scan, and predict the validation images.

    base: folder of the relative paths of the recipe.
    Raises InputRefused and StageError like `load_model`; InputRefused too if the teacher has another number of classes, and
    ConfigError if it is no Keras model, takes images of another size or is no better than chance.
    """
    path = base / settings.teacher
    try:
        opened = load_model(path)
        classifier = opened.model.fed(InputSettings(), valid.class_names, path.name)
    except (InputRefused, ConfigError, StageError) as error:
        raise type(error)(f"{recipe.name}: {SETTING}: {error}") from error
    if opened.origin.scan.format not in (KERAS.name, HDF5.name) or not is_differentiable(classifier):
        raise ConfigError(
            f"{recipe.name}: {SETTING} is {path}, which has the format {opened.origin.scan.format}; expected a Keras model (.keras or "
            ".h5)."
        )
    height, width = (int(side) for side in valid.images.shape[1:3])
    if (classifier.spec.height, classifier.spec.width) != (height, width):
        raise ConfigError(
            f"{recipe.name}: {SETTING} ({path}) takes images of {classifier.spec.height}x{classifier.spec.width} pixels (height x "
            f"width); the training images have {height}x{width}, so set size to that of the teacher."
        )
    decisions = classifier.predict_logits(valid.images).argmax(axis=1)
    accuracy = float((decisions == valid.labels).mean())
    if accuracy <= LEAST_OVER_CHANCE / valid.classes:
        raise ConfigError(
            f"{recipe.name}: {SETTING} ({path}) classifies {accuracy:.1%} of the validation images correctly, no more than chance for "
            f"{valid.classes} classes; expected a teacher for RGB in 0..1 with the classes in this order."
        )
    identity = {
        "file": opened.source.file.name,
        "sha256": opened.file_sha256,
        "fingerprint": classifier.fingerprint,
        "parameters": classifier.parameters,
    }
    return Teacher(classifier, decisions, identity)


def taught_by(teacher: DifferentiableClassifier, settings: DistillSettings) -> Callable[[keras.Model], None]:
    """Return a function that adds the teacher to the training loss of a model of logits.

    The loss is (1 - alpha) times that of the labels plus alpha times T^2 times the mean Kullback-Leibler divergence from the teacher
    to the model, both at temperature T. Weights of classes apply to the part of the labels. Validation uses the labels alone. The
    class of the model, and so its file, does not change.
    """
    # An instance: for its name Keras 3.15 finds the function, and takes the divergence of the logits themselves, without softmax.
    divergence = keras.losses.KLDivergence()
    distillation = keras.distillation.LogitsDistillation(settings.temperature, divergence)
    alpha = settings.alpha

    def teach(model: keras.Model) -> None:
        def compute_loss(
            x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
        ) -> Any:
            labels = type(model).compute_loss(model, x, y, y_pred, sample_weight, training)
            if not training:
                return labels
            return (1 - alpha) * labels + alpha * distillation.compute_loss(teacher.logits(x), y_pred)

        model.compute_loss = compute_loss

    return teach


def measured(
    recipe: Recipe, settings: DistillSettings, teacher: Teacher, model: keras.Model, valid: ImageDataset
) -> dict[str, Any]:
    """Return the entry of the manifest: both models on the validation images, and how often they decide alike.

    model: the selected student.
    """
    student = wrap(model, InputSettings(), valid.class_names, recipe.name)
    decisions = student.predict_logits(valid.images).argmax(axis=1)
    recorded = partial(decision_record, labels=valid.labels, class_names=valid.class_names)
    return {
        "temperature": settings.temperature,
        "alpha": settings.alpha,
        "images": len(valid),
        "teacher": {**teacher.identity, **recorded(teacher.decisions)},
        "student": {"parameters": student.parameters, **recorded(decisions)},
        "agreement": float((decisions == teacher.decisions).mean()),
        **change_record(teacher.decisions, decisions, valid.labels, valid.class_names),
    }
