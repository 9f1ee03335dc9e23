"""The duration of a training, from a few steps on this machine, and the untrained model."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safeml.config.recipe import Recipe
from safeml.data.dataset import ImageDataset
from safeml.planning.base import TrainingPlan
from safeml.planning.cost import about
from safeml.planning.probe import timed
from safeml.settings.model import VALUES, InputSettings

STEPS = 6
PATIENCE = 10.0  # seconds after which no further step is timed
VALIDATION_BATCHES = 3
TAUGHT = "without the predictions of the teacher, which a plan does not open"
TRANSFER = "not timed: a plan does not fetch the weights of a transferred model"


@dataclass(frozen=True)
class Trained:
    """The plan of a training, and the untrained model as a classifier; None if not built.

    starting: seconds to start the framework.
    """

    plan: TrainingPlan
    classifier: Any = None
    starting: float = 0.0


def plan_training(
    recipe: Recipe, train: ImageDataset, valid: ImageDataset, base: Path, timing: bool, name: str
) -> Trained:
    """Plan the training of `recipe`, with times if `timing`. base: folder of its relative paths. Writes nothing."""
    epochs, steps = recipe.epochs * (2 if recipe.inflation else 1), -(-len(train) // recipe.batch)
    untimed = TrainingPlan(recipe=recipe.name, epochs=epochs, steps=steps, images=len(train))
    if not timing:
        return Trained(untimed)
    if recipe.backbone is not None:
        return Trained(untimed.model_copy(update={"note": TRANSFER}))
    from safeml import framework

    starting, _ = timed(framework.start)
    import keras

    from safeml.classifiers.keras import from_keras
    from safeml.training.architectures.registry import build

    with framework.deterministic_operations():
        keras.utils.set_random_seed(recipe.seed)
        model, phases = build(recipe, train, base)
        phases[0].prepare(model)
        compiling, step, validation = _time(model, recipe, train, valid)
    epoch = steps * step + validation
    patience = f"at most: early stopping ends it {recipe.early_stopping} epochs after the best one"
    plan = untimed.model_copy(
        update={
            "seconds": about(compiling + epochs * epoch),
            "first_epoch": about(compiling + epoch),
            "note": "; ".join(
                ([TAUGHT] if recipe.distill is not None else [])
                + ([patience] if recipe.early_stopping else [])
            ),
        }
    )
    contract = InputSettings(outputs=VALUES if recipe.data.targets else None)
    classifier = from_keras(model, recipe.name).fed(contract, train.outputs, name)
    return Trained(plan, classifier, starting)


def _time(model: Any, recipe: Recipe, train: ImageDataset, valid: ImageDataset) -> tuple[float, float, float]:
    """Return the seconds of compiling, of one training step and of the validation of one epoch."""
    import keras

    from safeml.training.batches import steps_per_epoch, training_batches, validation_batches
    from safeml.training.feed import PLAIN, build_metrics
    from safeml.training.optimizers import optimizer

    steps = steps_per_epoch(train, recipe)
    loss: Any = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=recipe.label_smoothing)
    metrics: list[Any] = ["accuracy"]
    if train.targets is not None:
        from safeml.training.regression import error_metrics, scaled_loss

        loss, metrics = scaled_loss(recipe.loss, train.targets), error_metrics(train.targets)
    model.compile(
        optimizer=optimizer(recipe, recipe.learning_rate, steps * recipe.epochs), loss=loss, metrics=metrics
    )
    build_metrics(model, PLAIN, train.classes)
    ends: list[float] = []

    def ended(batch: int, logs: object) -> None:
        ends.append(time.perf_counter())
        model.stop_training = ends[-1] - ends[0] > PATIENCE

    clock = keras.callbacks.LambdaCallback(on_train_batch_end=ended)
    most = min(STEPS, steps)
    began = time.perf_counter()
    batches = training_batches(train, recipe, first=0).take(most)
    model.fit(batches, steps_per_epoch=most, epochs=1, verbose=0, shuffle=False, callbacks=[clock])
    step = (ends[-1] - ends[0]) / (len(ends) - 1) if len(ends) > 1 else ends[0] - began
    whole = -(-len(valid) // recipe.batch)
    few = validation_batches(valid, recipe.batch).take(min(VALIDATION_BATCHES, whole))
    first, _ = timed(lambda: model.evaluate(few, verbose=0))
    again, _ = timed(lambda: model.evaluate(few, verbose=0))
    compiling = max(0.0, ends[0] - began - step) + max(0.0, first - again)
    return compiling, step, again / min(VALIDATION_BATCHES, whole) * whole
