"""PGD: many small steps from a random point of the ball, projected after each."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from safeml.attacks.base import AttackOutcome, Budget
from safeml.attacks.losses import Loss, log_odds
from safeml.attacks.method import Ball, Seen, State
from safeml.attacks.norms import NORMS, Norm, random_starts
from safeml.attacks.slots import attack
from safeml.classifiers.base import DifferentiableClassifier
from safeml.threats import Threat


def pgd(
    classifier: DifferentiableClassifier,
    images: np.ndarray,
    labels: np.ndarray,
    threat: Threat,
    budget: Budget,
    ids: np.ndarray,
) -> AttackOutcome:
    """Take `budget.steps` projected steps per restart along the gradient of the log-odds of misclassification.

    A. Madry et al., "Towards deep learning models resistant to adversarial attacks", 2018."""
    step_size = NORMS[threat.norm].step(threat.epsilon, budget.steps)
    return attack(classifier, images, labels, threat, ProjectedGradient(step_size=step_size), budget, ids)


@dataclass(frozen=True)
class ProjectedGradient:
    """Steps of one size along the steepest direction. step_size: in pixel units of 0..1."""

    # Two of them with other step sizes are the same graph.
    random_start: bool = field(default=True, compare=False)
    step_size: float = field(default=0.0, compare=False)
    loss: Loss = log_odds
    kind: str = "pgd"
    gradient: bool = True
    leaves: bool = True
    stride: int = field(default=10, compare=False)
    draws: int = 0

    @property
    def moved_start(self) -> bool:
        return self.random_start

    def hyperparameters(self, epsilon: float, steps: int, shape: tuple[int, ...]) -> State:
        return {
            "epsilon": np.float32(epsilon),
            "steps": np.int32(steps),
            "size": np.float32(self.step_size),
        }

    def start(
        self, norm: Norm, clean: np.ndarray, epsilon: float, ids: np.ndarray, seed: int, attempt: int
    ) -> np.ndarray:
        if not self.random_start:
            return clean
        points = random_starts(norm, clean.shape[1:], ids, seed, attempt)
        return np.clip(clean + np.float32(epsilon) * points, 0.0, 1.0)

    def begin(self, clean: Any, images: Any) -> State:
        return {}

    def move(self, seen: Seen, ball: Ball, state: State, hyperparameters: State) -> tuple[Any, State]:
        return ball.nearest(seen.images + hyperparameters["size"] * seen.direction), {}

    def result(self, images: Any, state: State) -> Any:
        return images
