"""DDN: the nearest misclassified image in L2, on a sphere that shrinks where the image is misclassified and grows where it is not.

J. Rony et al., "Decoupling direction and norm for efficient gradient-based L2 adversarial attacks and defenses", 2019.
Unlike FMN, an iterate always lies on the sphere of its radius, so that direction and norm are searched apart. Here the loss
is the margin instead of the cross entropy, which also pushes towards farther classes: on linear classifiers of five classes
its images end up to 31 % too far. A bisection ends the search.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from safeml.attacks.base import AttackOutcome, Budget
from safeml.attacks.losses import Loss, margin
from safeml.attacks.method import Ball, Seen, State, per_image
from safeml.attacks.minimal import nearest_of, nothing_yet, search
from safeml.attacks.norms import Norm
from safeml.classifiers.base import DifferentiableClassifier
from safeml.threats import Threat

FIRST_RADIUS = 1.0  # in pixel units of 0..1, as all of these of the source
FIRST_STEP, LAST_STEP = 1.0, 0.01
CHANGE = 0.05  # of the radius, in one step


def ddn(
    classifier: DifferentiableClassifier,
    images: np.ndarray,
    labels: np.ndarray,
    threat: Threat,
    budget: Budget,
    ids: np.ndarray,
) -> AttackOutcome:
    """Search the nearest misclassified image inside the L2 ball of `threat`, which may be large; return the clean image where there is none.

    first_step: the step at which an image was first misclassified, at whatever distance.
    """
    return search(ShrinkingSphere(), classifier, images, labels, threat, budget, ids)


@dataclass(frozen=True)
class ShrinkingSphere:
    """`own` of a slot: the radius of its sphere, and the nearest misclassified image with its distance."""

    loss: Loss = margin
    kind: str = "ddn"
    moved_start: bool = False
    gradient: bool = True
    leaves: bool = False
    stride: int = field(default=10, compare=False)
    draws: int = 0

    def hyperparameters(self, epsilon: float, steps: int, shape: tuple[int, ...]) -> State:
        return {"epsilon": np.float32(epsilon), "steps": np.int32(steps)}

    def start(
        self, norm: Norm, clean: np.ndarray, epsilon: float, ids: np.ndarray, seed: int, attempt: int
    ) -> np.ndarray:
        return clean

    def begin(self, clean: Any, images: Any) -> State:
        import tensorflow as tf

        return {"radius": tf.fill(tf.shape(clean)[:1], np.float32(FIRST_RADIUS)), **nothing_yet(clean)}

    def move(self, seen: Seen, ball: Ball, state: State, hyperparameters: State) -> tuple[Any, State]:
        import tensorflow as tf

        _, nearest = nearest_of(seen, ball, state)
        part = tf.cast(seen.count, tf.float32) / tf.cast(hyperparameters["steps"], tf.float32)
        size = LAST_STEP + (FIRST_STEP - LAST_STEP) * 0.5 * (1.0 + tf.cos(np.pi * part))
        stepped = seen.images - ball.clean + per_image(size) * seen.direction
        change = tf.where(seen.broken, 1.0 - CHANGE, 1.0 + CHANGE)
        # The clean image has no radius to shrink: its first step goes out to the first sphere.
        radius = tf.where(seen.count == 0, FIRST_RADIUS, state["radius"] * change)
        radius = tf.minimum(radius, hyperparameters["epsilon"])
        on_sphere = per_image(radius) * ball.norm.normalise(stepped)
        return tf.clip_by_value(ball.clean + on_sphere, 0.0, 1.0), {"radius": radius, **nearest}

    def result(self, images: Any, state: State) -> Any:
        return state["nearest"]
