"""The implementations of quantization-aware training, by the setting `backend`. A new one is a function and a row of BACKENDS."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np

from safeml.classifiers.base import Classifier
from safeml.quantization.finetune import finetuned
from safeml.quantization.inputs import QuantizationInputs
from safeml.quantization.rewrite import set_bias_floors
from safeml.training.feed import feed_of
from safeml.training.fit import Fit


@dataclass(frozen=True, eq=False)
class Calibrated:
    """A calibrated model, before any training.

    out: the folder of the result. file: `quantized` in it.
    prepared: the float model that the quantizers were inserted into.
    quantized: the calibrated model.
    classifier: the source, with its input contract.
    values: float32 [N, H, W, C], the calibration images as the model takes them.
    on_epoch: receives the measurements of each finished epoch.
    say: receives lines of progress.
    """

    inputs: QuantizationInputs
    out: Path
    file: Path
    prepared: keras.Model
    quantized: keras.Model
    classifier: Classifier
    values: np.ndarray
    on_epoch: Callable[[dict[str, Any]], None]
    say: Callable[[str], None]


@dataclass(frozen=True, eq=False)
class Trained:
    """What a backend made of a calibrated model.

    fit, model: the training and its best model; None where `epochs` is 0.
    record: further entries of `quantization.json`.
    notes: sentences on the run.
    """

    fit: Fit | None = None
    model: keras.Model | None = None
    record: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def with_keras(start: Calibrated) -> Trained:
    """Train the Keras layers of `safeml.int8`."""
    if not start.inputs.settings.epochs:
        return Trained()
    fit, model = finetuned(
        start.inputs, start.file, start.out, "quantized", feed_of(start.classifier.spec), start.on_epoch
    )
    set_bias_floors(model)
    return Trained(fit, model)


def with_tfmot(start: Calibrated) -> Trained:
    """Train with TensorFlow Model Optimization, in a child process."""
    from safeml.quantization.tfmot.backend import trained

    return trained(start)


BACKENDS: dict[str, Callable[[Calibrated], Trained]] = {"keras": with_keras, "tfmot": with_tfmot}
