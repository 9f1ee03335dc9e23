"""Training of a pruned, of a fake-quantized model, and of the float model that it is compared with: the fit of recipes, from a file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import keras

from safeml.quantization.inputs import QuantizationInputs
from safeml.quantization.pruning import first_full_epoch, holding_callback, pruning_callback, pruning_fit
from safeml.quantization.rewrite import set_observing
from safeml.training.batches import steps_per_epoch
from safeml.training.feed import Feed
from safeml.training.fit import CHECKPOINTS, Fit, Start, fit_model
from safeml.training.phases import whole
from safeml.training.publish import best_epoch

OnEpoch = Callable[[dict[str, Any]], None]
Kind = Literal["pruned", "quantized", "float"]


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
    inputs: QuantizationInputs, file: Path, folder: Path, kind: Kind, feed: Feed, on_epoch: OnEpoch
) -> tuple[Fit, keras.Model]:
    """Train the model in `file` in `folder`, and return the history and the model of the best epoch.

    kind: "pruned" prunes the float model; "quantized" and "float" train what is calibrated and its float twin, on the same images
        in the same order, and keep the zeros of a pruned model.
    A finished or interrupted fit in the folder is resumed. Raises as `fit_model`, and ConfigError if nothing can be pruned.
    """
    settings, prune, select_from = inputs.settings, inputs.settings.prune, 0
    callbacks: list[Callable[[], keras.callbacks.Callback]] = []
    if kind == "pruned" and prune is not None:
        settings = pruning_fit(settings)
        steps = steps_per_epoch(inputs.training, settings)
        select_from = first_full_epoch(prune, steps)
        callbacks.append(lambda: pruning_callback(prune, steps * prune.epochs, str(inputs.source)))
    elif prune is not None:
        callbacks.append(holding_callback)
    if kind == "quantized":
        callbacks.append(lambda: ObserverSchedule(settings.epochs, settings.freeze_epochs))

    def build() -> tuple[keras.Model, Any]:
        model = keras.models.load_model(file, compile=False, safe_mode=True)
        if kind != "quantized":  # there, a batch normalization that was not folded keeps its statistics
            model.trainable = False  # Keras does not propagate an unchanged value to the layers
            model.trainable = True  # layers that were frozen in the source are trained in the INT8 model too
        return model, whole(settings)

    fitted = fit_model(
        settings,
        Start(build, feed, lambda: [make() for make in callbacks], select_from=select_from),
        inputs.training,
        inputs.choosing,
        folder,
        on_epoch,
        {"source": inputs.source_sha256, "kind": kind},
    )
    best = best_epoch(fitted.epochs[select_from:], settings.monitor)
    model = keras.models.load_model(folder / CHECKPOINTS / best["file"], compile=False, safe_mode=True)
    return fitted, model
