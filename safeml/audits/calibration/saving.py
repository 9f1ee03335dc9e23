"""Scaling that becomes part of the model, so that the audited model is the deployed one. Legend: N images, K classes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from safeml.audits.base import AuditInputs
from safeml.audits.calibration.fitting import fitting_images
from safeml.classifiers.base import Classifier
from safeml.classifiers.scaled import with_scaled_logits
from safeml.errors import ConfigError, InputRefused, StageError
from safeml.metrics.calibration.forecasts import Forecasts, forecasts
from safeml.metrics.calibration.scaling import fit_temperature, fit_vector
from safeml.metrics.calibration.scores import nll_loss
from safeml.results import Finding
from safeml.wording import counted

Method = Literal["temperature", "vector"]


@dataclass(frozen=True, eq=False)
class ScaledModel:
    """A model with scaled logits.

    model: the Keras model.
    temperature: None for vector scaling.
    images: that the scaling was fitted on.
    before, after: NLL of these images in nats, on which `after` is optimistic.
    changed: images among them whose predicted class changed; 0 for a temperature.
    findings: of the images for fitting.
    """

    model: Any
    temperature: float | None
    images: int
    before: float
    after: float
    changed: int
    findings: tuple[Finding, ...]


def scaled_model(inputs: AuditInputs, method: Method) -> ScaledModel:
    """Fit scaling on the calibration part of the validation images, and put it into the model.

    Raises ConfigError without validation data, InputRefused where these are inadmissible or the model takes no layer, and StageError
    where no scaling fits.
    """
    if inputs.valid is None:
        raise ConfigError(
            "calibrate: no [data.valid] is configured; give validation images that trained no model."
        )
    fitting = fitting_images(inputs)
    if fitting.data is None or not fitting.scaling.any():
        raise InputRefused(
            f"calibrate: the validation images are inadmissible: {fitting.reason or 'none is left'}. "
            "Give images in [data.valid] that neither training nor test data hold."
        )
    data = fitting.data.take(np.flatnonzero(fitting.scaling))
    logits = inputs.classifier.predict_logits(data.images)
    made = forecasts(logits, data.labels)
    weights, biases, temperature = _fitted(logits, data.labels, method)
    after = forecasts(logits * weights + biases, data.labels)
    changed = int((after.predicted != made.predicted).sum())
    scaled = with_scaled_logits(inputs.classifier, weights, biases)
    result = ScaledModel(
        scaled, temperature, len(data), nll_loss(made), nll_loss(after), changed, fitting.findings
    )
    if temperature is not None and changed:
        raise StageError(
            f"calibrate: the temperature changed the class of {counted(changed, 'image')}; the model is not saved."
        )
    return result


def check_scaled(classifier: Classifier, inputs: AuditInputs, scaled: ScaledModel, method: Method) -> None:
    """Raise StageError where the reloaded model predicts otherwise than the model under test with scaled logits.

    classifier: the saved model, loaded again.
    """
    fitting = fitting_images(inputs)
    assert fitting.data is not None
    data = fitting.data.take(np.flatnonzero(fitting.scaling))
    before: Forecasts = forecasts(inputs.classifier.predict_logits(data.images), data.labels)
    after = forecasts(classifier.predict_logits(data.images), data.labels)
    changed = int((before.predicted != after.predicted).sum())
    if method == "temperature" and changed:
        raise StageError(
            f"calibrate: the saved model classifies {counted(changed, 'image')} otherwise; it is not kept."
        )
    if abs(nll_loss(after) - scaled.after) > 1e-3 * max(1.0, scaled.after):
        raise StageError(
            f"calibrate: the saved model has an NLL of {nll_loss(after):.6g}; expected {scaled.after:.6g}. It is not kept."
        )


def _fitted(
    logits: np.ndarray, labels: np.ndarray, method: Method
) -> tuple[np.ndarray, np.ndarray, float | None]:
    """Return weights and biases, float64 [1] or [K], and the temperature where one is fitted."""
    if method == "temperature":
        temperature = fit_temperature(logits, labels).value
        return np.array([1 / temperature]), np.zeros(1), temperature
    vector = fit_vector(logits, labels)
    return vector.weights, vector.biases, None
