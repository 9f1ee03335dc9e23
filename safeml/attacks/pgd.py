"""PGD: many small steps from a random point of the ball, projected after each."""

from __future__ import annotations

import numpy as np

from safeml.attacks.base import AttackOutcome, Budget
from safeml.attacks.descent import attack
from safeml.classifiers.base import DifferentiableClassifier
from safeml.config import Threat


def pgd(
    classifier: DifferentiableClassifier,
    images: np.ndarray,
    labels: np.ndarray,
    threat: Threat,
    budget: Budget,
    ids: np.ndarray,
) -> AttackOutcome:
    """A. Madry et al., "Towards deep learning models resistant to adversarial attacks", 2018."""
    return attack(
        classifier,
        images,
        labels,
        threat,
        steps=budget.steps,
        random_start=True,
        restarts=budget.restarts,
        seed=budget.seed,
        batch=budget.batch,
        ids=ids,
    )
