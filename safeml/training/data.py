"""The images of a fit: those to train on, and those that select its checkpoint."""

from __future__ import annotations

import numpy as np

from safeml.config.recipe import FitSettings
from safeml.data.dataset import ImageDataset
from safeml.data.place import Place
from safeml.data.splits import split_by_image, split_by_track
from safeml.errors import ConfigError


def recipe_data(recipe: FitSettings, place: Place) -> tuple[ImageDataset, ImageDataset]:
    """Return the training images of a recipe, and the validation images that select its checkpoint.

    Raises ConfigError if their classes differ or a class has no image.
    """
    settings = recipe.data
    training = place.data(settings.train, settings.targets)
    if settings.valid is not None:
        choosing = place.data(settings.valid, settings.targets)
    elif settings.split == "image":
        training, choosing = split_by_image(training, settings.valid_fraction or 0.0, recipe.seed)
    else:
        held = settings.valid_fraction or 0.0
        parts = split_by_track(training, {"train": 1 - held, "valid": held}, recipe.seed)
        training, choosing = parts["train"], parts["valid"]
    if settings.targets:
        return training, choosing
    if training.class_names != choosing.class_names:
        raise ConfigError(
            f"{recipe.name}: {training.name} has {training.classes} classes and {choosing.name} has {choosing.classes}, or "
            "their names or order differ; expected the same classes in both."
        )
    for role, data in (("training", training), ("validation", choosing)):
        empty = np.flatnonzero(np.bincount(data.labels, minlength=data.classes) == 0)
        if len(empty):
            raise ConfigError(
                f"{recipe.name}: the {role} data ({data.name}) have no image of {len(empty)} of {data.classes} classes, "
                f'the first is "{data.class_names[empty[0]]}"; add images, or exclude the class with `classes`.'
            )
    return training, choosing
