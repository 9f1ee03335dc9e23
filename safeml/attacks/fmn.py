"""FMN: the nearest misclassified image, by a ball that shrinks where the image is misclassified and grows where it is not.

M. Pintor, F. Roli, W. Brendel, B. Biggio, "Fast minimum-norm adversarial attacks through adaptive norm constraints", 2021.
Here each step goes along the steepest direction of the norm, as long as the ball's radius at first; a bisection between
the clean image and the nearest one found ends it. One run gives the whole curve of robust accuracy against epsilon.
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

FIRST_STEP, LAST_STEP = 1.0, 0.01  # shares of the ball's radius
FIRST_CHANGE, LAST_CHANGE = 0.05, 0.001  # of the radius, in one step


def fmn(
    classifier: DifferentiableClassifier,
    images: np.ndarray,
    labels: np.ndarray,
    threat: Threat,
    budget: Budget,
    ids: np.ndarray,
) -> AttackOutcome:
    """Search the nearest misclassified image inside the ball of `threat`, which may be large; return the clean image where there is none.

    first_step: the step at which an image was first misclassified, at whatever distance.
    """
    return search(ShrinkingBall(), classifier, images, labels, threat, budget, ids)


@dataclass(frozen=True)
class ShrinkingBall:
    """`own` of a slot: the radius of its ball, and the nearest misclassified image with its distance."""

    loss: Loss = margin
    kind: str = "fmn"
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

        return {"radius": tf.zeros_like(images[:, 0, 0, 0]), **nothing_yet(clean)}

    def move(self, seen: Seen, ball: Ball, state: State, hyperparameters: State) -> tuple[Any, State]:
        import tensorflow as tf

        distance, nearest = nearest_of(seen, ball, state)
        least = nearest["distance"]

        # A half cosine from the first to the last value, in the exponent.
        part = tf.cast(seen.count, tf.float32) / tf.cast(hyperparameters["steps"], tf.float32)
        wave = 0.5 * (1.0 + tf.cos(np.pi * part))
        share = LAST_STEP * tf.pow(FIRST_STEP / LAST_STEP, wave)
        change = LAST_CHANGE * tf.pow(FIRST_CHANGE / LAST_CHANGE, wave)

        ahead = distance + tf.math.divide_no_nan(
            tf.abs(seen.loss), seen.slope
        )  # exact where the loss is linear
        unknown = tf.math.is_inf(least)
        grown = tf.where(unknown, ahead, state["radius"]) * (1.0 + change)
        shrunk = tf.minimum(state["radius"], least) * (1.0 - change)
        radius = tf.minimum(tf.where(seen.broken, shrunk, grown), hyperparameters["epsilon"])

        stepped = seen.images - ball.clean + per_image(share * radius) * seen.direction
        moved = ball.clean + ball.norm.project(stepped, per_image(radius))
        return tf.clip_by_value(moved, 0.0, 1.0), {"radius": radius, **nearest}

    def result(self, images: Any, state: State) -> Any:
        return state["nearest"]
