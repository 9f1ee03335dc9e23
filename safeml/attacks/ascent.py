"""The largest error of a regression model inside a ball: APGD on the error itself, which goes on after the tolerance is missed.

F. Croce, M. Hein, "Reliable evaluation of adversarial robustness with an ensemble of diverse parameter-free attacks", 2020 (APGD).
Legend: N images, H W C pixels, T targets.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from safeml.attacks.apgd import AutoProjectedGradient
from safeml.attacks.base import Budget
from safeml.attacks.losses import Loss, target_logit
from safeml.attacks.method import State
from safeml.attacks.slots import attack
from safeml.classifiers.base import DifferentiableClassifier
from safeml.threats import Threat


@dataclass(frozen=True)
class Ascent(AutoProjectedGradient):
    """APGD whose images never leave; it gives back the image of the largest loss."""

    loss: Loss = target_logit
    kind: str = "ascent"
    leaves: bool = False

    def result(self, images: Any, state: State) -> Any:
        return state["best_image"]


def ascend(
    classifier: DifferentiableClassifier,
    images: np.ndarray,
    targets: np.ndarray,
    threat: Threat,
    budget: Budget,
    ids: np.ndarray,
    side: int,
) -> np.ndarray:
    """Return the images inside the ball of `threat` with the largest error found to one side: float32 [N, H, W, C], 0..1.

    classifier: a judged regression model or a view of it. images: float32 [N, H, W, C], 0..1. targets: float32 [N, T].
    side: class that the value moves to: 1..T is too high in that target, T+1..2T too low.
    """
    sides = np.full((len(images), 1), side, np.int32)
    effort = replace(budget, attempts=1, first=0, clean_checked=True)
    return attack(classifier, images, targets, threat, Ascent(), effort, ids, sides).adversarial
