"""The adversarial stage on a model of known answers. Legend: N images, K classes."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Literal

import numpy as np

from safeml.audits.base import AuditInputs
from safeml.audits.perfect import Maker, Perfect, Request, Simulated
from safeml.classifiers.base import is_differentiable
from safeml.data.dataset import ImageDataset
from safeml.stages.adversarial import AdversarialSettings

# A certificate for every threat except the unbounded one, which breaks every image at the largest pixel distance.
CERTIFIED, UNBOUNDED = 1 - 1e-6, 1.0
# No faults of an attack, and no cost.
NOTHING = {
    "zero_gradients": bool,
    "faults": np.uint8,
    "step": np.int64,
    "attempt": np.int64,
    "evaluations": np.int64,
    "answers": np.int64,
    "attacked": np.float32,
    "hidden": np.float32,
    "errors": np.float64,
}


def _arrays(model: Simulated, request: Request) -> Mapping[str, Maker]:
    rows = request.rows
    within = model.broken[rows]
    broken = np.ones(len(rows), bool) if _is_unbounded(request) else within
    return {
        "logits": lambda shape: model.logits(rows),
        "right": lambda shape: np.ones(shape, bool),
        "robust": lambda shape: ~broken,
        "size": lambda shape: np.where(within, 0, np.where(broken, UNBOUNDED, np.inf)).astype(np.float32),
        "claimed": lambda shape: broken,
        "wrong": lambda shape: broken,
        "linearity": partial(np.ones, dtype=np.float32),
        "radius": lambda shape: np.where(within, 0.0, CERTIFIED),
        # Every loss still rises, so that the plan counts each check that needs more steps.
        "unconverged": lambda shape: np.ones(shape, np.float32),
        **{name: partial(np.zeros, dtype=kind) for name, kind in NOTHING.items()},
    }


def _is_unbounded(request: Request) -> bool:
    """Return whether this is the check that an unbounded attack breaks every image, even of a perfect model."""
    threat = request.parts.get("threat", {})
    if request.parts.get("attack") != "pgd":
        return False
    return bool(threat.get("norm") == "linf" and threat.get("epsilon") == 1.0)


def _simulate(data: ImageDataset, wrong: np.ndarray, metric: str) -> Simulated:
    """Simulate a model that misclassifies the images in `wrong`: always, or only under attack for a robust metric."""
    labels = data.labels
    clean = metric == "clean_accuracy_attacked_sample"
    return Simulated(
        np.where(wrong, (labels + 1) % data.classes, labels) if clean else labels, wrong, data.classes
    )


def _state(
    inputs: AuditInputs, settings: AdversarialSettings, untrained: bool
) -> tuple[Literal["runs", "idle"], str]:
    if is_differentiable(inputs.classifier):
        return "runs", ""
    by = "queries only" if settings.surrogate is None else "queries and transfer only"
    return "runs", f"a model of this kind gives no gradient: {by}, and no robust accuracy"


PERFECT = Perfect(arrays=_arrays, simulate=_simulate, state=_state)
