"""Arguments and results of every attack. Legend: N images, H W C pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from safeml.classifiers.base import DifferentiableClassifier
from safeml.threats import Threat

SURVIVED = -1


@dataclass(frozen=True, eq=False)
class AttackOutcome:
    """The result of an attack, per image.

    adversarial: float32 [N, H, W, C], 0..1; the first misclassified iterate, or the last iterate of a survivor. A
        minimal-norm attack gives its nearest misclassified image, or the clean one where it found none; the transfer always the last iterate.
    first_step: int64 [N]; how often the image had been changed when it was first misclassified (a random start counts
        as one change), 0 where the clean image is misclassified already, -1 where it survived.
    zero_gradients: bool [N]; the first gradient was exactly zero everywhere, so the attack had no direction.
    attempt: int64 [N]; the restart, or the rank of the target class, in which it broke or which was the last.
    evaluations: int64 [N]; gradients or queries of this image's iterates, over all attempts: one before each step, and one at
        the end of an attempt that failed (FMN, DDN: not at the end), and the gradients that order APGD-T's targets. The clean check, the clean logits
        of APGD-PM and APGD-T, and the bisection of FMN and DDN are not counted.
    unconverged: float32 [N], 0..1; how much of its range the best loss still gained in the last tenth of the steps;
        0 where there are fewer than 11 steps.
    """

    adversarial: np.ndarray
    first_step: np.ndarray
    zero_gradients: np.ndarray
    attempt: np.ndarray
    evaluations: np.ndarray
    unconverged: np.ndarray


@dataclass(frozen=True)
class Budget:
    """The effort of an attack. Only `seed` and an image's id decide its random draws; `batch` changes speed only.

    steps: changes of an image in one attempt.
    attempts: restarts, or target classes, one after the other.
    clean_checked: the caller knows that every clean image is classified correctly; otherwise the attack checks first.
    first: attempt to start with; an earlier run with the same order has made those before it.
    nearest_first: APGD-T orders its targets by their distance in the linearised model, which takes K - 1 gradients an image,
        instead of by their logits.
    """

    steps: int
    attempts: int
    seed: int
    batch: int
    clean_checked: bool = False
    first: int = 0
    nearest_first: bool = False


class Attack(Protocol):
    """Evasion of the true label within a threat model."""

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
