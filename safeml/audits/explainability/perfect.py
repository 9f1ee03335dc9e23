"""The explainability stage on a model of known answers, whose maps lie on the sign. Legend: N images, M images of a slice."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from safeml.audits.base import AuditInputs
from safeml.audits.explainability.measure import measure
from safeml.audits.explainability.metrics import all_metrics
from safeml.audits.perfect import Maker, Perfect, Request, Simulated
from safeml.data.dataset import ImageDataset
from safeml.results import StageResult
from safeml.stages.explainability import EXPLAINABILITY, ExplainabilitySettings

# No gate of `safeml init` needs more for a perfect model, whose lift hardly varies.
RESAMPLES = 200


def _arrays(model: Simulated, request: Request) -> Mapping[str, Maker]:
    """All energy is on the sign, and none on images that the simulated model misreads; the maps of another model or class are unlike it."""
    broken = model.broken[request.rows]
    right = model.answers[request.rows] >= 0
    return {
        "logits": lambda shape: model.logits(request.rows),
        "mapped": lambda shape: np.ones(shape, bool),
        "inside": lambda shape: (
            np.zeros(shape) if request.item.startswith("shuffled") else np.where(broken, 0.0, 1.0)
        ),
        "hits": lambda shape: ~broken,
        "iou": lambda shape: np.where(broken, 0.0, 1.0),
        "error": lambda shape: np.zeros(shape),
        "insertion": lambda shape: np.ones(shape),
        "deletion": lambda shape: np.zeros(shape),
        "similarity": lambda shape: np.ones(shape) if request.item.startswith("changed") else np.zeros(shape),
        "swapped": lambda shape: ~broken & right,
        "grey": lambda shape: ~broken & right,
        "removed": lambda shape: np.zeros(shape, bool),
    }


def _simulate(data: ImageDataset, wrong: np.ndarray, metric: str) -> Simulated:
    """Simulate a model that depends on the surroundings of the images in `wrong` alone."""
    lost = metric == "clean_accuracy_explainability_sample"
    answers = np.where(wrong & lost, (data.labels + 1) % data.classes, data.labels)
    return Simulated(answers, wrong, data.classes)


def _run(inputs: AuditInputs, settings: ExplainabilitySettings) -> StageResult:
    """Run without figures, which no gate reads."""
    few = settings.model_copy(update={"bootstrap": min(settings.bootstrap, RESAMPLES)})
    metrics, _ = all_metrics(measure(inputs, few), few, inputs.seed)
    return StageResult(stage=EXPLAINABILITY.name, title=EXPLAINABILITY.title, metrics=metrics)


PERFECT = Perfect(arrays=_arrays, simulate=_simulate, run=_run, pixels=True)
