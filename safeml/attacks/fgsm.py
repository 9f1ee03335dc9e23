"""FGSM: one step of size epsilon along the normalised gradient, from the clean image."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from safeml.attacks.base import AttackOutcome, Budget
from safeml.attacks.pgd import ProjectedGradient
from safeml.attacks.slots import attack
from safeml.classifiers.base import DifferentiableClassifier
from safeml.threats import Threat


def fgsm(
    classifier: DifferentiableClassifier,
    images: np.ndarray,
    labels: np.ndarray,
    threat: Threat,
    budget: Budget,
    ids: np.ndarray,
) -> AttackOutcome:
    """Take one step of size epsilon.

    I. Goodfellow, J. Shlens, C. Szegedy, "Explaining and harnessing adversarial examples", 2015."""
    method = ProjectedGradient(random_start=False, step_size=threat.epsilon)
    return attack(classifier, images, labels, threat, method, replace(budget, steps=1, attempts=1), ids)
