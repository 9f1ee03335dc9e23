"""Training of regression heads: outputs in the units of the targets, a loss on scaled errors. Legend: B images, T targets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import keras
import numpy as np
import tensorflow as tf

from safeml.data.targets import Targets

UNITS = "values"


def spread(targets: Targets) -> np.ndarray:
    """Return the standard deviation of each training target, float32 [T], > 0: data of equal targets are refused when read."""
    return targets.values.std(axis=0).astype(np.float32)


def in_units(model: keras.Model, targets: Targets) -> keras.Model:
    """Add the layer that turns outputs of mean 0 and spread 1 into values of the training targets; it is saved with the model."""
    scale, offset = spread(targets), targets.values.mean(axis=0).astype(np.float32)
    single = len(scale) == 1
    layer = keras.layers.Rescaling(
        float(scale[0]) if single else scale.tolist(),
        float(offset[0]) if single else offset.tolist(),
        name=UNITS,
    )
    return keras.Model(model.inputs[0], layer(model.outputs[0]), name=model.name)


def scaled_loss(kind: Literal["huber", "mse"], targets: Targets) -> Callable[[Any, Any], Any]:
    """Return the loss (targets [B, T], values [B, T]) -> [B]: the mean over targets of the loss of error / spread.

    P. J. Huber, "Robust estimation of a location parameter", The Annals of Mathematical Statistics, 1964; linear beyond 1.
    """
    scale = tf.constant(spread(targets))

    def scaled_errors(true: Any, predicted: Any) -> Any:
        errors = (predicted - true) / scale
        if kind == "mse":
            return tf.reduce_mean(tf.square(errors), axis=1)
        sizes = tf.abs(errors)
        return tf.reduce_mean(tf.where(sizes <= 1.0, 0.5 * tf.square(errors), sizes - 0.5), axis=1)

    return scaled_errors


def error_metrics(targets: Targets) -> list[keras.metrics.Metric]:
    """Return MAE and RMSE: in the unit of the target, and with several targets in units of their spread."""
    scale = spread(targets)
    units = tf.constant(np.ones(1, np.float32) if len(scale) == 1 else scale)

    def mae(true: Any, predicted: Any) -> Any:
        return tf.reduce_mean(tf.abs((predicted - true) / units), axis=1)

    return [keras.metrics.MeanMetricWrapper(mae, name="mae"), RootMeanSquare(units)]


class RootMeanSquare(keras.metrics.RootMeanSquaredError):
    """RMSE of errors that are divided by `units` (float32 [T] or [1])."""

    def __init__(self, units: Any):
        super().__init__(name="rmse")
        self.units = units

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        return super().update_state(y_true / self.units, y_pred / self.units, sample_weight)
