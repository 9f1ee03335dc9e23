"""The monitor stage on a model of known answers, whose monitor trusts every prediction. Legend: N images, M images of a slice."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from safeml.audits.base import AuditInputs
from safeml.audits.monitors.measure import SLICE, Judged
from safeml.audits.monitors.metrics import decision_metrics
from safeml.audits.monitors.outputs import Reader
from safeml.audits.perfect import Maker, Perfect, Request, Simulated
from safeml.audits.slices import Slices, numbers
from safeml.data.dataset import ImageDataset
from safeml.results import StageResult
from safeml.stages.monitors import CLEAN, MONITORS, MonitorsSettings


def _arrays(model: Simulated, request: Request) -> Mapping[str, Maker]:
    return {"logits": lambda shape: model.logits(request.rows)}


def _simulate(data: ImageDataset, wrong: np.ndarray, metric: str) -> Simulated:
    answers = np.where(wrong, (data.labels + 1) % data.classes, data.labels)
    return Simulated(answers, wrong, data.classes)


def _run(inputs: AuditInputs, settings: MonitorsSettings) -> StageResult:
    """Measure what a monitor leaves that trusts every prediction: no other is more available."""
    sample = inputs.test.sample(settings.images, inputs.seed)
    reader = Reader(inputs, Slices(inputs.work, SLICE, {"images": inputs.predicting}), 0)
    outputs = reader.read("clean", "clean test images", sample.images, numbers(sample))
    part = Judged(outputs, sample.labels, sample.clustering)
    metrics = decision_metrics(part, np.ones(len(sample), bool), sample, CLEAN, "all")
    return StageResult(stage=MONITORS.name, title=MONITORS.title, metrics=metrics)


PERFECT = Perfect(arrays=_arrays, simulate=_simulate, run=_run)
