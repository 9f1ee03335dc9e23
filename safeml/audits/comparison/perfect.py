"""The comparison on a model of known answers and a reference that classifies every image correctly. Legend: N images, K classes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from safeml.audits.base import AuditInputs
from safeml.audits.comparison.run import run
from safeml.audits.perfect import Maker, Perfect, Request, Simulated
from safeml.data.dataset import ImageDataset
from safeml.results import StageResult
from safeml.stages.comparison import ComparisonSettings

# No gate reads a resampled metric.
RESAMPLES = 100


@dataclass(frozen=True, eq=False)
class Compared(Simulated):
    """labels: int64 [N], the predictions of the reference."""

    labels: np.ndarray


def _arrays(model: Simulated, request: Request) -> Mapping[str, Maker]:
    rows = request.rows
    labels = model.labels if isinstance(model, Compared) else model.answers
    shown = Simulated(labels, model.broken, model.classes) if "reference" in request.item else model
    broken = model.broken[rows] & (request.item == "attacked-model")
    return {
        "logits": lambda shape: shown.logits(rows),
        "similarity": lambda shape: np.ones(shape),
        "right": lambda shape: shown.answers[rows] == labels[rows],
        "robust": lambda shape: ~broken & (shown.answers[rows] == labels[rows]),
        "fools_other": lambda shape: np.zeros(shape, bool),
        "other_right": lambda shape: np.ones(shape, bool),
    }


def _simulate(data: ImageDataset, wrong: np.ndarray, metric: str) -> Simulated:
    """Simulate a model that misclassifies the images in `wrong`: always, or only under attack for the robust accuracy."""
    clean = metric != "robust_accuracy_drop"
    answers = np.where(wrong & clean, (data.labels + 1) % data.classes, data.labels)
    return Compared(answers, wrong, data.classes, data.labels)


def _run(inputs: AuditInputs, settings: ComparisonSettings) -> StageResult:
    return run(inputs, settings.model_copy(update={"resamples": RESAMPLES}))


PERFECT = Perfect(arrays=_arrays, simulate=_simulate, run=_run)
