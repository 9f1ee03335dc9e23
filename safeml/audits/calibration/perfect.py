"""The calibration stage on a model of known answers. Legend: N images, M images of a slice."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from safeml.audits.base import AuditInputs
from safeml.audits.calibration.run import run
from safeml.audits.perfect import Maker, Perfect, Request, Simulated
from safeml.data.dataset import ImageDataset
from safeml.results import StageResult
from safeml.stages.calibration import CalibrationSettings

# The interval of a model without an error comes from the accuracy, and few resamples do for the others.
RESAMPLES = 20


def _arrays(model: Simulated, request: Request) -> Mapping[str, Maker]:
    return {"logits": lambda shape: model.logits(request.rows)}


def _simulate(data: ImageDataset, wrong: np.ndarray, metric: str) -> Simulated:
    """Return a model that is as confident in an incorrect class for the images in `wrong`."""
    return Simulated(np.where(wrong, (data.labels + 1) % data.classes, data.labels), wrong, data.classes)


def _run(inputs: AuditInputs, settings: CalibrationSettings) -> StageResult:
    """Run without the validation images: no gate reads what is fitted on them."""
    return run(replace(inputs, valid=None), settings.model_copy(update={"resamples": RESAMPLES}))


PERFECT = Perfect(arrays=_arrays, simulate=_simulate, run=_run)
