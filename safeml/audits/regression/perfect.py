"""The stage *regression error* on a model of known answers. Legend: N images, T targets."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from safeml.audits.base import AuditInputs
from safeml.audits.perfect import Maker, Perfect, Request, Simulated
from safeml.audits.regression.run import run
from safeml.data.dataset import ImageDataset
from safeml.results import StageResult
from safeml.stages.regression import RegressionSettings

# An error in units of the tolerance; of an incorrect prediction any larger one would do.
BEYOND = 2.0
# Of a correct prediction. A model without any error has no spread over resamples, and so no interval; a real one has some.
NOT_ZERO = 1e-6


def _arrays(model: Simulated, request: Request) -> Mapping[str, Maker]:
    tolerances = np.array([1.0 if value is None else value for value in request.parts["tolerances"]])
    wrong = model.broken[request.rows]
    # Alternating signs and two sizes, so that neither bias nor errors are constant.
    correct = NOT_ZERO * np.where(request.rows % 2 == 0, 1.0, -2.0)
    sizes = np.where(wrong, BEYOND, correct)
    return {"errors": lambda shape: sizes[:, None] * tolerances}


def _simulate(data: ImageDataset, wrong: np.ndarray, metric: str) -> Simulated:
    return Simulated(data.labels, wrong, data.classes)


def _run(inputs: AuditInputs, settings: RegressionSettings) -> StageResult:
    """Run the stage without the gallery's pictures, with few resamples."""
    return run(inputs, settings.model_copy(update={"bootstrap": 100}))


PERFECT = Perfect(arrays=_arrays, simulate=_simulate, run=_run)
