"""Training of a fake-quantized model, and of the float model that it is compared with: the fit of recipes, from a file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras

from safeml.quantization.inputs import QuantizationInputs
from safeml.quantization.rewrite import set_observing
from safeml.training.feed import Feed
from safeml.training.fit import CHECKPOINTS, Fit, Start, fit_model
from safeml.training.phases import whole
from safeml.training.publish import best_epoch

OnEpoch = Callable[[dict[str, Any]], None]


class ObserverSchedule(keras.callbacks.Callback):
    """A callback to move the activation ranges while training, except in the last `frozen` of `epochs` epochs.

    No file holds a model that still observes.
    """

    def __init__(self, epochs: int, frozen: int) -> None:
        super().__init__()
        self.moving = epochs - frozen

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        set_observing(self.model, epoch < self.moving)

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        set_observing(self.model, False)


def finetuned(
    inputs: QuantizationInputs, file: Path, folder: Path, kind: str, feed: Feed, on_epoch: OnEpoch
) -> tuple[Fit, keras.Model]:
    """Train the model in `file` in `folder`, and return the history and the model of the best epoch.

    kind: "quantized" or "float". Both kinds see the same images in the same order. A finished or interrupted fit in the
    folder is resumed. Raises as `fit_model`.
    """
    settings = inputs.settings

    def build() -> tuple[keras.Model, Any]:
        model = keras.models.load_model(file, compile=False, safe_mode=True)
        model.trainable = True
        return model, whole(settings)

    def callbacks() -> list[keras.callbacks.Callback]:
        return [ObserverSchedule(settings.epochs, settings.freeze_epochs)] if kind == "quantized" else []

    start = Start(build, feed, callbacks)
    fitted = fit_model(
        settings,
        start,
        inputs.training,
        inputs.choosing,
        folder,
        on_epoch,
        {"source": inputs.source_sha256, "kind": kind},
    )
    best = best_epoch(fitted.epochs, settings.monitor)
    model = keras.models.load_model(folder / CHECKPOINTS / best["file"], compile=False, safe_mode=True)
    return fitted, model
