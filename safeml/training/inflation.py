"""By how much a random split of images flatters a model: the same recipe, trained again on such a split.

Frames of one sign are near copies. A random split puts some of them on each side, and the validation accuracy then says
how well signs are recognised that were seen in training (track leakage).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

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
) -> dict[str, Any]:
    """Pool the images of both splits, split them anew at random, image by image, and train in `folder`.

    Returns what the manifest records: images of the random validation half, how many of them show a sign that is also in
    its training half, and the best validation accuracy. Raises ConfigError where tracks are not known.
    """
    if train.tracks is None or valid.tracks is None:
        raise ConfigError(f"{recipe.name}: inflation = true needs data with track ids; leave it out.")
    everything = pooled(train, valid)
    training, choosing = split_by_image(everything, len(valid) / len(everything), recipe.seed)
    epochs = fit(recipe, training, choosing, folder, on_epoch, base).epochs
    shared = np.isin(np.asarray(choosing.tracks), np.asarray(training.tracks))
    return {
        "split": "image",
        "images": len(choosing),
        "images_of_shared_signs": int(shared.sum()),
        "val_accuracy": max(epoch["val_accuracy"] for epoch in epochs),
        "epochs": len(epochs),
    }
