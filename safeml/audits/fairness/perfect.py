"""The fairness stage on a model of known answers. Legend: N images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from safeml.audits.base import AuditInputs
from safeml.audits.fairness.conditions import columns_of, with_conditions
from safeml.audits.fairness.metrics import accuracies, all_metrics
from safeml.audits.fairness.run import SLICE
from safeml.audits.perfect import Maker, Perfect, Request, Simulated
from safeml.audits.predictions import predicted_logits
from safeml.audits.slices import Slices
from safeml.data.dataset import ImageDataset
from safeml.metrics.classification import predictions
from safeml.results import StageResult
from safeml.stages.fairness import FAIRNESS, FairnessSettings


def _arrays(model: Simulated, request: Request) -> Mapping[str, Maker]:
    return {"logits": lambda shape: model.logits(request.rows)}


def _simulate(data: ImageDataset, wrong: np.ndarray, metric: str) -> Simulated:
    return Simulated(np.where(wrong, (data.labels + 1) % data.classes, data.labels), wrong, data.classes)


def _prepare(inputs: AuditInputs) -> AuditInputs:
    """Return the inputs with the columns of the conditions, and without the pixels that they were measured on."""
    prepared = with_conditions(inputs)
    blank = np.zeros((len(prepared.test), 1, 1, 1), np.uint8)
    return replace(prepared, test=replace(prepared.test, images=blank, boxes=None), train=None, valid=None)


def _run(inputs: AuditInputs, settings: FairnessSettings) -> StageResult:
    """Compute the metrics alone, on images that `_prepare` sorted."""
    slices = Slices(inputs.work, SLICE, {"clean images": inputs.predicting})
    logits = predicted_logits(inputs, slices, inputs.test, "predictions", "predict test images")
    answers = predictions(logits).classes
    groups = accuracies(columns_of(inputs.test), answers == inputs.test.labels)
    return StageResult(
        stage=FAIRNESS.name, title=FAIRNESS.title, metrics=all_metrics(inputs.test, groups, answers)
    )


PERFECT = Perfect(arrays=_arrays, simulate=_simulate, run=_run, prepare=_prepare, pixels=True)
