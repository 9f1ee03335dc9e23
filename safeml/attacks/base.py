"""What every attack is given and gives back. Legend: N images, H W C pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from safeml.classifiers.base import DifferentiableClassifier
from safeml.config import Threat

SURVIVED = -1


@dataclass(frozen=True, eq=False)
class AttackOutcome:
    """What an attack found, image by image.

    adversarial: float32 [N, H, W, C], 0..1; the first misclassified iterate, or the last iterate of a survivor.
    first_step: int64 [N]; how often the image had been changed when it was first misclassified (a random start counts
        as one change), 0 where the clean image is misclassified already, -1 where it survived.
    zero_gradients: bool [N]; the first gradient was exactly zero everywhere, so the attack had nothing to follow.
    """

    adversarial: np.ndarray
    first_step: np.ndarray
    zero_gradients: np.ndarray


@dataclass(frozen=True)
class Budget:
    """How hard an attack tries. `seed` and an image's id alone decide its random starts; `batch` decides speed only."""

    steps: int
    restarts: int
    seed: int
    batch: int


class Attack(Protocol):
    """White-box evasion of the true label within a threat model."""

    def __call__(
        self,
        classifier: DifferentiableClassifier,
        images: np.ndarray,
        labels: np.ndarray,
        threat: Threat,
        budget: Budget,
        ids: np.ndarray,
    ) -> AttackOutcome:
        """images: float32 [N, H, W, C], 0..1; labels: int [N]; ids: int [N], >= 0, one number for each image."""
        ...
