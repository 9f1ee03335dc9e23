"""Shadow models: the training of a recipe on other images, without checkpoints. Legend: N images, H W C pixels, K classes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np

from safeml import framework
from safeml.config.recipe import Recipe
from safeml.data.dataset import ImageDataset
from safeml.errors import StageError
from safeml.training.adversarial import attacked_training
from safeml.training.architectures.registry import build
from safeml.training.batches import steps_per_epoch, training_batches
from safeml.training.optimizers import optimizer

Predict = Callable[[np.ndarray], np.ndarray]
PREDICTED = 256


def train_shadow(recipe: Recipe, train: ImageDataset) -> Predict:
    """Train the recipe on `train` for all its epochs, and return the predictions of the last weights.

    The result is a function: uint8 [N, H, W, C] -> logits, float32 [N, K]. No checkpoint is selected, because the validation
    images would be one more difference between the shadow models. Equal recipes and images give equal models.
    Raises StageError if the predictions are not finite.
    """
    with framework.deterministic_operations():
        keras.utils.clear_session()
        keras.utils.set_random_seed(recipe.seed)
        model, phases = build(recipe, train, Path())
        steps = steps_per_epoch(train, recipe)
        for phase in phases:
            phase.prepare(model)
            if recipe.adversarial is not None:
                attacked_training(model, recipe.adversarial, recipe.seed)
            model.compile(
                optimizer=optimizer(recipe, phase.learning_rate, steps * (phase.end - phase.first)),
                loss=keras.losses.CategoricalCrossentropy(
                    from_logits=True, label_smoothing=recipe.label_smoothing
                ),
            )
            model.fit(
                training_batches(train, recipe, first=phase.first),
                initial_epoch=phase.first,
                epochs=phase.end,
                steps_per_epoch=steps,
                shuffle=False,
                verbose=0,
            )

    def predict(images: np.ndarray) -> np.ndarray:
        parts = [
            np.asarray(model(images[start : start + PREDICTED].astype(np.float32) / 255, training=False))
            for start in range(0, len(images), PREDICTED)
        ]
        logits: np.ndarray = np.concatenate(parts).astype(np.float32)
        if not np.isfinite(logits).all():
            raise StageError(
                f"{recipe.name}: a shadow model gives logits that are not finite; reduce learning_rate ({recipe.learning_rate:g})."
            )
        return logits

    return predict
