"""Callbacks after each epoch, beside `keras.callbacks.ModelCheckpoint`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from safeml import interruption

Epoch = dict[str, Any]


class WeightAverage(keras.callbacks.Callback):
    """A callback to validate and save the optimizer's moving average of the weights, and train on the weights.

    The callback of Keras swaps by adding and subtracting, which rounds: a resumed training would differ.
    """

    def __init__(self) -> None:
        super().__init__()
        self.raw: list[np.ndarray] | None = None
        self.last: list[np.ndarray] | None = None

    def on_test_begin(self, logs: dict[str, float] | None = None) -> None:
        optimizer = self.model.optimizer
        self.raw = [variable.numpy() for variable in self.model.trainable_variables]
        for variable, average in zip(
            self.model.trainable_variables, optimizer._model_variables_moving_average, strict=True
        ):
            variable.assign(average)

    def back(self) -> None:
        """Restore the training weights in place of the average."""
        if self.raw is not None:
            self._assign(self.raw)
        self.last, self.raw = self.raw, None

    def on_train_end(self, logs: dict[str, float] | None = None) -> None:
        """Restore the training weights for the next phase: at the end of a fit, Keras assigns the average."""
        if self.last is not None:
            self._assign(self.last)

    def _assign(self, values: list[np.ndarray]) -> None:
        for variable, value in zip(self.model.trainable_variables, values, strict=True):
            variable.assign(value)


class LateCheckpoint(keras.callbacks.ModelCheckpoint):
    """A ModelCheckpoint that leaves out the epochs before `select_from`, counted from 0, whose models may not be selected."""

    def __init__(self, *arguments: Any, select_from: int = 0, **options: Any):
        super().__init__(*arguments, **options)
        self.select_from = select_from

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        if epoch >= self.select_from:
            super().on_epoch_end(epoch, logs)


class AfterEpoch(keras.callbacks.Callback):
    """A callback that reports each finished epoch at full precision, and stops training if told to.

    It is the last callback: when it runs, everything else of the epoch is on disk.
    """

    def __init__(self, checkpoints: Path, pattern: str, done: Callable[[Epoch], bool]):
        super().__init__()
        self.checkpoints = checkpoints
        self.pattern = pattern
        self.done = done

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        interruption.check()

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        values = {name: float(value) for name, value in (logs or {}).items()}
        if not np.isfinite(list(values.values())).all():
            self.model.stop_training = True
            return
        file = self.pattern.format(epoch=epoch + 1, **values)
        written = (self.checkpoints / file).is_file()
        if not self.done({"epoch": epoch + 1, **values, "file": file if written else ""}):
            self.model.stop_training = True


class TensorBoardLog:
    """Scalars for TensorBoard, one point per epoch, written by TensorFlow without TensorBoard installed."""

    def __init__(self, folder: Path):
        self._writer = tf.summary.create_file_writer(str(folder))

    def write(self, epoch: Epoch) -> None:
        for name, value in epoch.items():
            if isinstance(value, float):
                tf.raw_ops.WriteScalarSummary(
                    writer=self._writer._resource,
                    step=tf.constant(epoch["epoch"], tf.int64),
                    tag=f"epoch/{name}",
                    value=tf.constant(value, tf.float32),
                )
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()
