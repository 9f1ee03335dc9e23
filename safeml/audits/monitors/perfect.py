"""The monitor stage on a model of known answers, whose monitor trusts every prediction. Legend: N images, M images of a slice."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from safeml.audits.base import AuditInputs
from safeml.audits.monitors.material import FEW
from safeml.audits.monitors.measure import SLICE
from safeml.audits.monitors.metrics import decision_metrics, undefined_decisions
from safeml.audits.monitors.outputs import Judged, Reader
from safeml.audits.perfect import Maker, Perfect, Request, Simulated
from safeml.audits.slices import Slices, numbers
from safeml.data.dataset import ImageDataset
from safeml.monitors.thresholds import least_tracks
from safeml.results import StageResult
from safeml.stages.monitors import CLEAN, MONITORS, MonitorsSettings


def _arrays(model: Simulated, request: Request) -> Mapping[str, Maker]:
    return {"logits": lambda shape: model.logits(request.rows)}


def _simulate(data: ImageDataset, errors: np.ndarray, metric: str) -> Simulated:
    answers = np.where(errors, (data.labels + 1) % data.classes, data.labels)
    return Simulated(answers, errors, data.classes)


def _run(inputs: AuditInputs, settings: MonitorsSettings) -> StageResult:
    """Measure what a monitor leaves that trusts every prediction: no other is more available."""
    reason = _uncalibrated(inputs, settings)
    if reason:
        metrics = undefined_decisions(CLEAN, "all", reason)
        return StageResult(stage=MONITORS.name, title=MONITORS.title, metrics=metrics)
    sample = inputs.test.sample(settings.images, inputs.seed)
    reader = Reader(inputs, Slices(inputs.work, SLICE, {"images": inputs.predicting}), 0)
    outputs = reader.read("clean", "clean test images", sample.images, numbers(sample))
    part = Judged(outputs, sample.labels, sample.clustering)
    metrics = decision_metrics(part, np.ones(len(sample), bool), sample, CLEAN, "all")
    return StageResult(stage=MONITORS.name, title=MONITORS.title, metrics=metrics)


def _uncalibrated(inputs: AuditInputs, settings: MonitorsSettings) -> str:
    """Return why no threshold can be calibrated, as far as the number of validation signs shows it; "" where one can."""
    valid = inputs.valid
    if valid is None:
        return "no [data.valid] is configured"
    if valid.tracks is None and valid.frames_per_sign != 1:
        return FEW
    signs = len(valid) if valid.tracks is None else len(np.unique(valid.tracks))
    # Half of the signs; where no training images fit the monitor, half of what is left.
    calibration = (signs + 1) // 2 if inputs.train is not None else (signs // 2 + 1) // 2
    needed = least_tracks(settings.false_alarm_rate)
    if calibration >= needed:
        return ""
    return f"{calibration} validation signs calibrate a threshold, and {settings.false_alarm_rate:.4g} false alarms by sign need {needed}"


PERFECT = Perfect(arrays=_arrays, simulate=_simulate, run=_run, pixels=True)
