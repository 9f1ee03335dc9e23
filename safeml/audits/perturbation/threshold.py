"""The threshold of conformal sets that is fitted on clean validation images. Legend: K classes, n sign tracks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from safeml.audits.base import AuditInputs
from safeml.audits.calibration.fitting import fitting_images
from safeml.audits.calibration.sets import one_frame_each, too_few_signs
from safeml.audits.predictions import predicted_logits
from safeml.audits.slices import Slices
from safeml.metrics.calibration.forecasts import forecasts
from safeml.metrics.calibration.scores import label_losses
from safeml.monitors.conformal import Threshold, threshold_of
from safeml.stages.perturbation import SET_LEVEL


@dataclass(frozen=True)
class CleanThreshold:
    """The threshold of LAC sets.

    value: None if there is none, for the `reason`, a clause.
    """

    value: Threshold | None
    reason: str = ""


def clean_threshold(inputs: AuditInputs, slices: Slices) -> CleanThreshold:
    """Fit the threshold of LAC sets on one clean frame of each sign track that the stage calibration reserves for sets."""
    fitting = fitting_images(inputs)
    if fitting.data is None:
        return CleanThreshold(None, fitting.reason)
    if fitting.signs is None or not fitting.rest.any():
        reason = "the sign tracks of the validation images are not known, or there are fewer than two"
        return CleanThreshold(None, reason)
    rest = np.flatnonzero(fitting.rest)
    frames, ties, _ = one_frame_each(fitting.signs[rest], inputs.seed)
    data = fitting.data.take(rest[frames])
    logits = predicted_logits(inputs, slices, data, "validation-predictions", "predict validation images")
    if not np.isfinite(logits).all():
        return CleanThreshold(None, "the logits of some validation images are not finite")
    threshold = threshold_of(label_losses(forecasts(logits, data.labels)), ties, 1 - SET_LEVEL / 100)
    if threshold.rank > threshold.images:
        return CleanThreshold(None, too_few_signs(SET_LEVEL, threshold.images))
    return CleanThreshold(threshold)
