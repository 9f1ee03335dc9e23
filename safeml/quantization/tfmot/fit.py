"""The training of TFMOT's model, with the images, loss and schedule of a fit of Keras 3. Runs in the child process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tf_keras

from safeml.classifiers.base import InputSpec
from safeml.config.quantization import QuantizeSettings
from safeml.data.dataset import ImageDataset
from safeml.errors import StageError
from safeml.quantization.tfmot.scheme import QuantizedNetwork
from safeml.training.batches import as_written, steps_per_epoch, training_batches, validation_batches
from safeml.training.feed import feed_of
from safeml.training.optimizers import optimizer

BEST = "best.weights.h5"
OnEpoch = Callable[[dict[str, Any]], None]


def train(
    network: QuantizedNetwork,
    settings: QuantizeSettings,
    spec: InputSpec,
    training: ImageDataset,
    valid: ImageDataset,
    folder: Path,
    on_epoch: OnEpoch,
) -> None:
    """Train, and leave the network with the weights and ranges of the best epoch by validation.

    folder: for the checkpoint. Raises StageError if the loss becomes non-finite.
    """
    feed = feed_of(spec)
    steps = steps_per_epoch(training, settings)
    model = network.model
    model.compile(
        optimizer=optimizer(settings, settings.learning_rate, steps * settings.epochs, tf_keras),
        loss=tf_keras.losses.CategoricalCrossentropy(
            from_logits=feed.logits, label_smoothing=settings.label_smoothing
        ),
        metrics=["accuracy"],
    )
    ranges = _Ranges(network, settings)
    # TFMOT saves weights and ranges as HDF5; a .keras file of its model is written, and does not load.
    mode = "min" if settings.monitor == "val_loss" else "max"
    saver = tf_keras.callbacks.ModelCheckpoint(
        str(folder / BEST), monitor=settings.monitor, mode=mode, save_best_only=True, save_weights_only=True
    )
    stopping = []
    if settings.early_stopping:
        stopping.append(
            tf_keras.callbacks.EarlyStopping(settings.monitor, patience=settings.early_stopping, mode=mode)
        )
    model.fit(
        training_batches(training, settings, first=0).map(
            as_written(lambda images, labels, weights: (feed.images(images), feed.labels(labels), weights))
        ),
        validation_data=validation_batches(valid, settings.batch).map(
            as_written(lambda images, labels: (feed.images(images), feed.labels(labels)))
        ),
        epochs=settings.epochs,
        steps_per_epoch=steps,
        shuffle=False,  # the batches are
        verbose=0,
        callbacks=[ranges, saver, *stopping, _Report(settings, on_epoch)],
    )
    model.load_weights(str(folder / BEST))
    network.set_decay(1.0)
    network.refresh()


class _Ranges(tf_keras.callbacks.Callback):
    """Move the ranges while training, except in the last epochs; give kernels their own ranges before a validation."""

    def __init__(self, network: QuantizedNetwork, settings: QuantizeSettings) -> None:
        super().__init__()
        self.network = network
        self.moving = settings.epochs - settings.freeze_epochs
        self.decay = settings.momentum

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self.network.set_decay(self.decay if epoch < self.moving else 1.0)

    def on_test_begin(self, logs: dict[str, float] | None = None) -> None:
        self.network.refresh()


class _Report(tf_keras.callbacks.Callback):
    """Report each epoch. Raises StageError for one whose loss is not finite."""

    def __init__(self, settings: QuantizeSettings, on_epoch: OnEpoch) -> None:
        super().__init__()
        self.settings = settings
        self.report = on_epoch

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        values = {name: float(value) for name, value in (logs or {}).items()}
        if not np.isfinite(list(values.values())).all():
            raise StageError(
                f"{self.settings.name}: the loss is not finite in epoch {epoch + 1}; reduce learning_rate "
                f"({self.settings.learning_rate:g})."
            )
        self.report({"epoch": epoch + 1, **values, "file": ""})
