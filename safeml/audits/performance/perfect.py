"""The performance stage on a model of known answers. Legend: N images, K classes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache

import numpy as np

from safeml.audits.base import AuditInputs
from safeml.audits.perfect import Maker, Perfect, Request, Simulated
from safeml.audits.performance.run import run
from safeml.data.dataset import ImageDataset
from safeml.metrics.hazard import cost_matrix, has_rules
from safeml.results import StageResult
from safeml.stages.performance import PerformanceSettings

# A perfect model has no spread over resamples, and no gate that is simulated reads a resampled metric.
RESAMPLES = 2


@cache
def _rules(class_names: tuple[str, ...]) -> np.ndarray:
    """Return the cost of each mistake by the rules, float64 [K, K], computed once for many runs."""
    return cost_matrix(class_names, None)


def _costs(data: ImageDataset) -> np.ndarray:
    return _rules(data.class_names) if data.costs is None else cost_matrix(data.class_names, data.costs)


def _arrays(model: Simulated, request: Request) -> Mapping[str, Maker]:
    return {"logits": lambda shape: model.logits(request.rows)}


def _simulate(data: ImageDataset, wrong: np.ndarray, metric: str) -> Simulated:
    """Return a model that predicts the most costly incorrect class for the images in `wrong`."""
    costliest = (_costs(data) - 2 * np.eye(data.classes)).argmax(axis=1)
    return Simulated(np.where(wrong, costliest[data.labels], data.labels), wrong, data.classes)


def _run(inputs: AuditInputs, settings: PerformanceSettings) -> StageResult:
    few = settings.model_copy(update={"bootstrap": RESAMPLES})
    test = inputs.test
    if has_rules(test.class_names):  # so that the rules are applied once
        test = replace(test, costs=_costs(test))
    return run(replace(inputs, test=test), few)


PERFECT = Perfect(arrays=_arrays, simulate=_simulate, run=_run)
