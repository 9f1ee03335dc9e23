"""Resumable fits of recipes, epoch by epoch, with `keras.callbacks.ModelCheckpoint`."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import keras
import tensorflow as tf

from safeml import framework
from safeml.classifiers.base import DifferentiableClassifier
from safeml.config.recipe import FitSettings, Recipe
from safeml.data.dataset import ImageDataset
from safeml.errors import ConfigError, StageError, first_line
from safeml.store.files import content_key
from safeml.training import state as saved
from safeml.training.adversarial import RobustValidation, attacked_training
from safeml.training.architectures.registry import build
from safeml.training.batches import as_written, steps_per_epoch, training_batches, validation_batches
from safeml.training.callbacks import AfterEpoch, Epoch, LateCheckpoint, TensorBoardLog, WeightAverage
from safeml.training.distillation import taught_by
from safeml.training.feed import PLAIN, Feed, build_metrics
from safeml.training.optimizers import optimizer
from safeml.training.phases import Phase, recorded
from safeml.training.publish import LOWER_IS_BETTER, best_epoch, identity, versions
from safeml.training.regression import error_metrics, scaled_loss

CHECKPOINTS, LOGS = "checkpoints", "logs"
CHECKPOINT_NAMES = {
    "val_accuracy": "{epoch:02d}-{val_accuracy:.4f}.keras",
    "val_loss": "{epoch:02d}-{val_loss:.4f}.keras",
    "val_mae": "{epoch:02d}-{val_mae:.4f}.keras",
    "val_rmse": "{epoch:02d}-{val_rmse:.4f}.keras",
    "val_robust_accuracy": "{epoch:02d}-{val_robust_accuracy:.4f}.keras",
}
# Files of ModelCheckpoint and TensorFlow's writer.
CHECKPOINT = re.compile(r"\d{2,4}-\d+\.\d{4}\.keras")
LOG = re.compile(r"events\.out\.tfevents\..+")


@dataclass(frozen=True)
class Fit:
    """The result of a fit.

    epochs: all, at full precision.
    resumed_after: last epoch of an earlier run; 0 for none.
    note: why an earlier state in the folder was not used, or "".
    phases: for the manifest.
    """

    epochs: list[Epoch]
    resumed_after: int = 0
    note: str = ""
    phases: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True)
class Start:
    """The model that a fit starts from.

    build: returns it and the phases of the fit; called after the seeds are set.
    feed: what it takes and gives.
    callbacks: further ones, made for each phase, that run before the checkpoint is written.
    teach: changes the loss of the model; called before the model is compiled.
    select_from: the first epoch, counted from 0, that may be selected. Earlier ones have no checkpoint, and early stopping
        does not count them.
    """

    build: Callable[[], tuple[keras.Model, tuple[Phase, ...]]]
    feed: Feed = PLAIN
    callbacks: Callable[[], list[keras.callbacks.Callback]] = list
    teach: Callable[[keras.Model], None] = lambda model: None
    select_from: int = 0


def fit(
    recipe: Recipe,
    train: ImageDataset,
    valid: ImageDataset,
    folder: Path,
    on_epoch: Callable[[Epoch], None] = lambda epoch: None,
    base: Path = Path(),
    taken_over: Mapping[str, str] = MappingProxyType({}),
    teacher: DifferentiableClassifier | None = None,
) -> Fit:
    """Train the model of a recipe; see `fit_model`.

    base: folder of relative paths of the recipe.
    taken_over: sha256 of each file of a backbone, and of a teacher.
    teacher: of a recipe with [distill].
    """
    start = Start(lambda: build(recipe, train, base))
    if recipe.distill is not None:
        if teacher is None:
            raise ValueError("a recipe with [distill] is trained with its teacher")
        start = replace(start, teach=taught_by(teacher, recipe.distill))
    return fit_model(recipe, start, train, valid, folder, on_epoch, taken_over)


def fit_model(
    recipe: FitSettings,
    start: Start,
    train: ImageDataset,
    valid: ImageDataset,
    folder: Path,
    on_epoch: Callable[[Epoch], None] = lambda epoch: None,
    taken_over: Mapping[str, str] = MappingProxyType({}),
) -> Fit:
    """Train, and write `checkpoints/` (by ModelCheckpoint, with optimizer) and `logs/` (TensorBoard) into `folder`.

    An interrupted training resumes after its last finished epoch. With the same recipe, images, library versions
    and number of processor threads, an interrupted and an uninterrupted training end with the same weights.

    taken_over: sha256 of each file that the start depends on.

    Raises StageError if the loss becomes non-finite, or memory or disk do not suffice; ConfigError if `folder` holds
        the unfinished training of another recipe.
    """
    key = training_key(recipe, train, valid, taken_over)
    try:
        state = _earlier(folder, key, recipe)
        return _Training(recipe, start, train, valid, folder, key, on_epoch).run(state)
    except saved.Damaged as error:
        forget(folder)
        fitted = _Training(recipe, start, train, valid, folder, key, on_epoch).run(None)
        note = f"the state of an earlier training could not be used ({error})"
        return replace(fitted, note=note)


def training_key(
    recipe: FitSettings, train: ImageDataset, valid: ImageDataset, taken_over: Mapping[str, str]
) -> str:
    """Return the key of an unfinished training."""
    return content_key(
        {
            "recipe": recipe.model_dump(mode="json"),
            "train": identity(train),
            "valid": identity(valid),
            "versions": versions(),
            "taken_over": dict(taken_over),
        }
    )


def forget(folder: Path) -> None:
    """Remove an unfinished training from `folder`, but only files of a training."""
    saved.discard(folder)
    for name, ours in ((CHECKPOINTS, CHECKPOINT), (LOGS, LOG)):
        with suppress(OSError):  # a file that cannot be removed is harmless
            for path in (folder / name).iterdir() if not (folder / name).is_symlink() else ():
                if ours.fullmatch(path.name) and path.is_file():
                    path.unlink()
            (folder / name).rmdir()


@dataclass
class _Training:
    """A training in a folder; `epochs` lists those finished and on disk."""

    recipe: FitSettings
    start: Start
    train: ImageDataset
    valid: ImageDataset
    folder: Path
    key: str
    on_epoch: Callable[[Epoch], None]
    epochs: list[Epoch] = field(default_factory=list)

    def run(self, state: saved.State | None) -> Fit:
        """Train the epochs after `state`."""
        recipe, done = self.recipe, len(state.history) if state else 0
        self.epochs = list(state.history) if state else []
        (self.folder / CHECKPOINTS).mkdir(parents=True, exist_ok=True)
        self._remove_unfinished()
        if state is None:
            saved.save(
                self.folder, saved.State(self.key, [])
            )  # from now on the folder holds only this training
        with framework.deterministic_operations():
            keras.utils.clear_session()  # otherwise names, and so seeds, continue those of an earlier model
            keras.utils.set_random_seed(recipe.seed)
            model, phases = self.start.build()
            log = TensorBoardLog(self.folder / LOGS)
            try:
                for phase in phases:
                    # The state of the last epoch of a phase is the start of the next phase.
                    resumed = state if phase.first < done <= phase.end else None
                    if len(self.epochs) < phase.end or resumed is not None:
                        self._fit(model, phase, phases[-1].first, resumed, log)
            except (MemoryError, tf.errors.ResourceExhaustedError) as error:
                raise StageError(
                    f"{recipe.name}: out of memory with batch = {recipe.batch}; set a smaller one in the recipe, such as "
                    f"batch = {max(1, recipe.batch // 2)}."
                ) from error
            except OSError as error:
                self._remove_unfinished()
                raise StageError(
                    f"{self.folder}: epoch {len(self.epochs) + 1} cannot be written ({error.strerror or first_line(error)}); "
                    f"the training up to epoch {len(self.epochs)} is stored, and the same command resumes from it."
                ) from error
            finally:
                log.close()
        return Fit(self.epochs, done, "", recorded(phases))

    def _fit(
        self,
        model: keras.Model,
        phase: Phase,
        last_phase: int,
        resumed: saved.State | None,
        log: TensorBoardLog,
    ) -> None:
        """Train from the first unfinished epoch of the phase to its end. last_phase: first epoch of the last phase."""
        recipe, feed = self.recipe, self.start.feed
        steps = steps_per_epoch(self.train, recipe)
        phase.prepare(model)
        robust = []
        if recipe.adversarial is not None:
            attacked_training(model, recipe.adversarial, recipe.seed, feed)
            robust = [RobustValidation(recipe.adversarial, self.valid, recipe.batch, recipe.seed, feed)]
        self.start.teach(model)
        loss, metrics = self._loss()
        model.compile(
            optimizer=optimizer(recipe, phase.learning_rate, steps * (phase.end - phase.first)),
            loss=loss,
            metrics=metrics,
        )
        model.optimizer.build(model.trainable_variables)
        build_metrics(model, feed, self.train.classes)
        if resumed is not None:
            saved.restore(model, resumed)
        if len(self.epochs) == phase.end or self._patience_ends(last_phase):
            return
        average = WeightAverage() if recipe.weight_average else None

        def finished(epoch: Epoch) -> bool:
            if average is not None:
                average.back()
            values = [variable.numpy() for variable in saved.variables(model)]
            saved.save(self.folder, saved.State(self.key, [*self.epochs, epoch], values))
            self.epochs.append(epoch)
            log.write(epoch)
            self.on_epoch(epoch)
            return not self._patience_ends(last_phase)

        pattern = CHECKPOINT_NAMES[recipe.monitor]
        earlier = self.epochs[self.start.select_from :]
        best = best_epoch(earlier, recipe.monitor)[recipe.monitor] if earlier else None
        saver = LateCheckpoint(
            self.folder / CHECKPOINTS / pattern,
            monitor=recipe.monitor,
            mode="min" if recipe.monitor in LOWER_IS_BETTER else "max",
            save_best_only=recipe.save_best_only,
            initial_value_threshold=best,
            select_from=self.start.select_from,
        )
        model.fit(
            self._fed(training_batches(self.train, recipe, first=len(self.epochs))),
            validation_data=validation_batches(self.valid, recipe.batch).map(
                as_written(lambda images, labels: (feed.images(images), feed.labels(labels)))
            ),
            initial_epoch=len(self.epochs),
            epochs=phase.end,
            steps_per_epoch=steps,
            shuffle=False,  # the batches are
            verbose=0,
            callbacks=[
                *([average] if average else []),
                *self.start.callbacks(),
                *robust,  # before the checkpoint, whose monitor it may be
                saver,
                keras.callbacks.TerminateOnNaN(),
                AfterEpoch(self.folder / CHECKPOINTS, pattern, finished),
            ],
        )
        if len(self.epochs) < phase.end and not self._patience_ends(last_phase):
            forget(self.folder)
            raise StageError(
                f"{recipe.name}: the loss is not finite in epoch {len(self.epochs) + 1}; reduce learning_rate "
                f"({recipe.learning_rate:g})."
            )

    def _loss(self) -> tuple[Any, list[Any]]:
        """Return loss and metrics: of a classifier, or of the errors in units of the spread of the training targets."""
        recipe, targets = self.recipe, self.train.targets
        if targets is not None:
            return scaled_loss(
                recipe.loss if isinstance(recipe, Recipe) else "huber", targets
            ), error_metrics(targets)
        smoothing = recipe.label_smoothing
        loss = keras.losses.CategoricalCrossentropy(
            from_logits=self.start.feed.logits, label_smoothing=smoothing
        )
        return loss, ["accuracy"]

    def _fed(self, batches: tf.data.Dataset) -> tf.data.Dataset:
        """Return batches of pixels as the inputs and targets of the model; an attack needs the pixels, and feeds them itself."""
        feed = self.start.feed
        if self.recipe.adversarial is not None or feed is PLAIN:
            return batches
        return batches.map(
            as_written(lambda images, labels, weights: (feed.images(images), feed.labels(labels), weights))
        )

    def _patience_ends(self, last_phase: int) -> bool:
        """Return whether early stopping ends training, from the history alone, so that a resumed training decides alike.

        It applies to the last phase only.
        """
        done, select_from = len(self.epochs), self.start.select_from
        if not self.recipe.early_stopping or done <= max(last_phase, select_from):
            return False
        best = best_epoch(self.epochs[select_from:], self.recipe.monitor)["epoch"]
        return bool(done - max(last_phase, best) >= self.recipe.early_stopping)

    def _remove_unfinished(self) -> None:
        """Remove the checkpoint of an unfinished epoch, which may be incomplete; the epoch is trained again."""
        kept = {epoch["file"] for epoch in self.epochs}
        for path in (self.folder / CHECKPOINTS).iterdir():
            if path.name not in kept and CHECKPOINT.fullmatch(path.name) and path.is_file():
                path.unlink()


def _earlier(folder: Path, key: str, recipe: FitSettings) -> saved.State | None:
    """Return the state to resume from. Raises Damaged for a damaged one, ConfigError for one of another training."""
    checkpoints = folder / CHECKPOINTS
    state = saved.load(folder)
    if state is None and checkpoints.is_dir() and any(checkpoints.iterdir()):
        raise ConfigError(
            f"{checkpoints}: holds checkpoints that belong to no training of {recipe.name}; set another folder with "
            "--out, or start again with --force."
        )
    if state is not None and state.key != key:
        raise ConfigError(
            f"{folder}: holds the unfinished training of another recipe, other images or other library versions; "
            "set another folder with --out, or start again with --force."
        )
    for epoch in state.history if state else ():
        if epoch["file"] and not zipfile.is_zipfile(checkpoints / epoch["file"]):
            raise saved.Damaged(f"the checkpoint of epoch {epoch['epoch']} is missing or damaged")
    return state
