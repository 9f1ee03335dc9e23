"""The inflation of accuracy by a random split of images: the same recipe, trained again on such a split.

Frames of one sign are near duplicates. A random split separates them, and the validation accuracy then measures the
recognition of signs that were seen in training (track leakage).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from safeml.classifiers.base import DifferentiableClassifier
from safeml.config.recipe import Recipe
from safeml.data.dataset import ImageDataset
from safeml.data.splits import pooled, split_by_image
from safeml.errors import ConfigError
from safeml.training.fit import fit


def measure_inflation(
    recipe: Recipe,
    train: ImageDataset,
    valid: ImageDataset,
    folder: Path,
    on_epoch: Callable[[dict[str, Any]], None],
    base: Path,
    teacher: DifferentiableClassifier | None = None,
) -> dict[str, Any]:
    """Pool the images of both splits, split them again at random, image by image, and train in `folder`.

    Returns the entry of the manifest: images of the random validation part, the number of them that show a sign also in the
    training part, and the best validation accuracy. Raises ConfigError if tracks are not known.
    """
    if train.tracks is None or valid.tracks is None:
        raise ConfigError(f"{recipe.name}: inflation = true needs data with track ids; remove it.")
    everything = pooled(train, valid)
    training, choosing = split_by_image(everything, len(valid) / len(everything), recipe.seed)
    epochs = fit(recipe, training, choosing, folder, on_epoch, base, teacher=teacher).epochs
    shared = np.isin(np.asarray(choosing.tracks), np.asarray(training.tracks))
    return {
        "split": "image",
        "images": len(choosing),
        "images_of_shared_signs": int(shared.sum()),
        "val_accuracy": max(epoch["val_accuracy"] for epoch in epochs),
        "epochs": len(epochs),
    }
