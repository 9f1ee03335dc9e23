"""The perturbation stage on a model of known answers. Legend: N images, M images of a slice."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from safeml.audits.base import AuditInputs
from safeml.audits.judged import judged_inputs, lacks_tolerance
from safeml.audits.perfect import Maker, Perfect, Request, Simulated
from safeml.audits.perturbation.measure import measure
from safeml.audits.perturbation.metrics import all_metrics
from safeml.audits.perturbation.run import run
from safeml.corruptions.rows import LEAST_SIDE
from safeml.data.dataset import ImageDataset
from safeml.results import StageResult
from safeml.stages.perturbation import PERTURBATION, PerturbationSettings

# Absolute error of a regression model that is correct.
SMALL = 1e-6


def _arrays(model: Simulated, request: Request) -> Mapping[str, Maker]:
    """The model gives the same answer in every form of an image."""
    return {
        "answers": lambda shape: np.repeat(model.answers[request.rows][:, None], shape[1], axis=1).astype(
            np.int64
        ),
        "confidence": lambda shape: np.ones(shape),
        "errors": lambda shape: (
            np.full(shape, SMALL) + np.where(model.broken[request.rows], 1e3, 0.0)[:, None, None]
        ),
        "logits": lambda shape: model.logits(request.rows),
        "losses": lambda shape: np.repeat(
            np.where(model.broken[request.rows], 10.0, 0.0)[:, None], shape[1], axis=1
        ),
    }


def _simulate(data: ImageDataset, wrong: np.ndarray, metric: str) -> Simulated:
    answers = np.where(wrong, (data.labels + 1) % data.classes, data.labels)
    return Simulated(answers, wrong, data.classes)


def _run(inputs: AuditInputs, settings: PerturbationSettings) -> StageResult:
    """Run without the validation images: no gate reads what is fitted on them."""
    inputs = replace(inputs, valid=None)
    if lacks_tolerance(inputs):
        return run(inputs, settings)
    inputs = judged_inputs(inputs)
    if min(inputs.test.images.shape[1:3]) < LEAST_SIDE:
        return run(inputs, settings)
    metrics = all_metrics(
        measure(inputs, settings), settings.model_copy(update={"bootstrap": 2}), inputs.seed
    )
    return StageResult(stage=PERTURBATION.name, title=PERTURBATION.title, metrics=metrics)


PERFECT = Perfect(arrays=_arrays, simulate=_simulate, run=_run, pixels=True)
