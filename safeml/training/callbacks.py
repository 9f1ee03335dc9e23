"""What happens after each epoch beside `keras.callbacks.ModelCheckpoint`."""

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
    """Validate and save the optimizer's moving average of the weights; train on with the weights themselves.

    Keras' own callback swaps by adding and subtracting, which rounds: a resumed training would not be the same one.
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
        """From the average back to the weights that training goes on with."""
        if self.raw is not None:
            self._assign(self.raw)
        self.last, self.raw = self.raw, None

    def on_train_end(self, logs: dict[str, float] | None = None) -> None:
        """Keras ends a fit by putting the average into the model; the next phase starts from the weights themselves."""
        if self.last is not None:
            self._assign(self.last)

    def _assign(self, values: list[np.ndarray]) -> None:
        for variable, value in zip(self.model.trainable_variables, values, strict=True):
            variable.assign(value)


class AfterEpoch(keras.callbacks.Callback):
    """Hand each finished epoch on, at full precision, once its checkpoint is written; it answers whether to go on.

    The last of the callbacks: when it is called, everything else of the epoch is on disk.
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
    """Scalars that TensorBoard shows, one point an epoch. Written by TensorFlow alone: TensorBoard need not be installed."""

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
