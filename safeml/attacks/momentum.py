"""MI-FGSM: steps along a gradient that is accumulated on the way. Its adversarial examples transfer to other models more often.

Y. Dong et al., "Boosting adversarial attacks with momentum", 2018: decay 1, from the clean image. Here it climbs the margin and
goes on after the first misclassification, because an image that only just breaks the model that it was made on rarely breaks
another one. Steps are 2.5 times the source's epsilon / steps, as PGD's are: with those, an image comes to the border of its
ball with its very last step, and breaks its own model less often.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from safeml.attacks.base import SURVIVED, AttackOutcome, Budget
from safeml.attacks.losses import Loss, margin
from safeml.attacks.method import Ball, Seen, State
from safeml.attacks.norms import Norm
from safeml.attacks.slots import attack
from safeml.classifiers.base import DifferentiableClassifier
from safeml.classifiers.judged import predict
from safeml.metrics.classification import right_answers
from safeml.threats import Threat

DECAY = 1.0  # of the gradients so far, in one step
PATH = 2.5  # of epsilon, the length of all steps together


def momentum(
    classifier: DifferentiableClassifier,
    images: np.ndarray,
    labels: np.ndarray,
    threat: Threat,
    budget: Budget,
    ids: np.ndarray,
) -> AttackOutcome:
    """The last iterate of every image. One attempt: nothing in it is random.

    first_step: -1 where the last iterate is classified correctly, also if an earlier one was not.
    """
    once = replace(budget, attempts=1)
    outcome = attack(classifier, images, labels, threat, Momentum(), once, ids)
    if not len(images):
        return outcome
    right = right_answers(*predict(classifier, outcome.adversarial, labels))
    # The image after the last step has not been predicted yet.
    first = np.where(outcome.first_step == SURVIVED, budget.steps, outcome.first_step)
    return replace(outcome, first_step=np.where(right, SURVIVED, first))


@dataclass(frozen=True)
class Momentum:
    """`own` of a slot: the sum of its gradients, each scaled to a mean size of one."""

    loss: Loss = margin
    kind: str = "momentum"
    moved_start: bool = False
    gradient: bool = True
    leaves: bool = False
    stride: int = field(default=10, compare=False)
    draws: int = 0

    def hyperparameters(self, epsilon: float, steps: int, shape: tuple[int, ...]) -> State:
        size = PATH * epsilon / steps
        return {"epsilon": np.float32(epsilon), "steps": np.int32(steps), "size": np.float32(size)}

    def start(
        self, norm: Norm, clean: np.ndarray, epsilon: float, ids: np.ndarray, seed: int, attempt: int
    ) -> np.ndarray:
        return clean

    def begin(self, clean: Any, images: Any) -> State:
        import tensorflow as tf

        return {"momentum": tf.zeros_like(images)}

    def move(self, seen: Seen, ball: Ball, state: State, hyperparameters: State) -> tuple[Any, State]:
        import tensorflow as tf

        # Scaled by its largest entry first: the sum of honest gradients may overflow, and a mean of them underflow.
        gradient = tf.where(tf.math.is_finite(seen.gradient), seen.gradient, 0.0)
        largest = tf.reduce_max(tf.abs(gradient), axis=[1, 2, 3], keepdims=True)
        scaled = tf.math.divide_no_nan(gradient, largest)
        mean = tf.reduce_mean(tf.abs(scaled), axis=[1, 2, 3], keepdims=True)
        gathered = DECAY * state["momentum"] + tf.math.divide_no_nan(scaled, mean)
        moved = ball.nearest(seen.images + hyperparameters["size"] * ball.norm.normalise(gathered))
        return moved, {"momentum": gathered}

    def result(self, images: Any, state: State) -> Any:
        return images
