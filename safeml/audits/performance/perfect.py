"""The performance stage on a model of known answers. Legend: N images, K classes."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

import numpy as np

from safeml.audits.base import AuditInputs
from safeml.audits.perfect import Maker, Perfect, Request, Simulated
from safeml.audits.performance.run import run
from safeml.data.dataset import ImageDataset
from safeml.metrics.hazard import cost_matrix
from safeml.results import StageResult
from safeml.stages.performance import PerformanceSettings

# A perfect model has no spread over resamples, and no gate that is simulated reads a resampled metric.
RESAMPLES = 2


@cache
def _costs(class_names: tuple[str, ...]) -> np.ndarray:
    """Return the cost of each mistake, float64 [K, K], computed once for many runs."""
    return cost_matrix(class_names, None)


def _arrays(model: Simulated, request: Request) -> Mapping[str, Maker]:
    return {"logits": lambda shape: model.logits(request.rows)}


def _simulate(data: ImageDataset, wrong: np.ndarray, metric: str) -> Simulated:
    """Return a model that predicts the most costly incorrect class for the images in `wrong`."""
    costliest = (_costs(data.class_names) - 2 * np.eye(data.classes)).argmax(axis=1)
    return Simulated(np.where(wrong, costliest[data.labels], data.labels), wrong, data.classes)


def _run(inputs: AuditInputs, settings: PerformanceSettings) -> StageResult:
    few = settings.model_copy(update={"bootstrap": RESAMPLES})
    return run(inputs, few, _costs(inputs.test.class_names))


PERFECT = Perfect(arrays=_arrays, simulate=_simulate, run=_run)
