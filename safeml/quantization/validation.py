"""The accuracy of a model on the validation images: one measurement for float, calibrated and trained models alike."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from scipy.special import log_softmax

from safeml.classifiers.base import Classifier
from safeml.classifiers.keras import wrap
from safeml.config.quantization import QuantizeSettings
from safeml.data.dataset import ImageDataset
from safeml.metrics.regression import mean_absolute_error, root_mean_squared_error
from safeml.training.adversarial import RobustValidation
from safeml.training.feed import feed_of
from safeml.training.publish import LOWER_IS_BETTER
from safeml.training.regression import spread


@dataclass(frozen=True, eq=False)
class Validation:
    """The validation of models under one input contract.

    data: the validation images.
    """

    settings: QuantizeSettings
    data: ImageDataset

    def classifier(self, model: keras.Model, name: str) -> Classifier:
        """Return the model as a checked classifier. Raises InputRefused if it does not fit the data."""
        return wrap(model, self.settings.model.input, self.data.outputs, name, name)

    def decisions(self, model: keras.Model, name: str) -> np.ndarray:
        """Return the predicted classes of the validation images, int64 [N]."""
        return self.classifier(model, name).predict_logits(self.data.images).argmax(axis=1)

    def measure(self, model: keras.Model, name: str) -> dict[str, float]:
        """Return `val_accuracy`, `val_loss` (negative log-likelihood), and `val_robust_accuracy` with [adversarial].

        Of a regression: `val_mae`, `val_rmse` and `val_loss` (mean squared error), with several targets in units of their spread.
        """
        settings, data = self.settings, self.data
        classifier = self.classifier(model, name)
        if data.targets is not None:
            errors = classifier.predict_logits(data.images) - data.targets.values
            if len(data.targets.settings) > 1:
                errors = errors / spread(data.targets)
            rmse = root_mean_squared_error(errors)
            return {"val_mae": mean_absolute_error(errors), "val_rmse": rmse, "val_loss": rmse**2}
        logits = classifier.predict_logits(data.images).astype(np.float64)
        losses = -log_softmax(logits, axis=1)[np.arange(len(data)), data.labels]
        measured = {
            "val_accuracy": float(np.mean(logits.argmax(axis=1) == data.labels)),
            "val_loss": float(np.mean(losses)),
        }
        if settings.adversarial is not None:
            attack = RobustValidation(
                settings.adversarial, data, settings.batch, settings.seed, feed_of(classifier.spec)
            )
            attack.set_model(model)
            measured["val_robust_accuracy"] = attack.accuracy()
        return measured


def better(one: dict[str, float], other: dict[str, float], monitor: str) -> bool:
    """Return whether the measurement `one` is better than `other` by `monitor`; equal is not better."""
    lower = monitor in LOWER_IS_BETTER
    return one[monitor] < other[monitor] if lower else one[monitor] > other[monitor]


def model_inputs(classifier: Classifier, images: np.ndarray) -> Any:
    """Return uint8 images as the values that the model takes, float32 [N, height, width, channels]."""
    import tensorflow as tf

    from safeml.classifiers.contract import as_pixels, model_values

    parts = [
        model_values(tf.constant(as_pixels(images[start : start + 256])), classifier.spec).numpy()
        for start in range(0, len(images), 256)
    ]
    return np.concatenate(parts)
