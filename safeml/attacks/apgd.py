"""APGD: PGD with momentum that halves its step size when the loss stagnates, and restarts from the best image so far.

F. Croce, M. Hein, "Reliable evaluation of adversarial robustness with an ensemble of diverse parameter-free attacks", 2020.
APGD-CE climbs the cross entropy, by its log-odds (see `losses.log_odds`); APGD-PM the margin of probabilities (see
`losses.probability_margin`); APGD-T the difference of logits to each of the incorrect classes with the highest logits.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from safeml.attacks.base import AttackOutcome, Budget
from safeml.attacks.losses import Loss, log_odds, probability_margin, targeted_difference_of_logits_ratio
from safeml.attacks.method import Ball, Seen, State, choose, per_image
from safeml.attacks.norms import NORMS, Norm, random_starts
from safeml.attacks.slots import attack
from safeml.attacks.targets import nearest_classes, runners_up
from safeml.classifiers.base import DifferentiableClassifier
from safeml.classifiers.judged import predict
from safeml.threats import Threat

# Of the source: first window and how it shrinks, least window (shares of all steps); share of steps that must improve.
FIRST_WINDOW, SHRINK, LEAST_WINDOW, ENOUGH = 0.22, 0.03, 0.06, 0.75
CLEAN_MARGIN = (
    60.0  # of the scaled clean logits of APGD-PM; of 5, 20 and 60 it left the fewest validation images
)
MOMENTUM = 0.75  # of the new step; the rest goes on in the old direction


def apgd_ce(
    classifier: DifferentiableClassifier,
    images: np.ndarray,
    labels: np.ndarray,
    threat: Threat,
    budget: Budget,
    ids: np.ndarray,
) -> AttackOutcome:
    """Attack without a target, on the log-odds of misclassification; budget.attempts are restarts."""
    return attack(classifier, images, labels, threat, AutoProjectedGradient(), budget, ids)


def apgd_pm(
    classifier: DifferentiableClassifier,
    images: np.ndarray,
    labels: np.ndarray,
    threat: Threat,
    budget: Budget,
    ids: np.ndarray,
) -> AttackOutcome:
    """Attack without a target, on the margin of probabilities; budget.attempts are restarts."""
    method = AutoProjectedGradient(loss=probability_margin)
    scales = equal_margins(*predict(classifier, images, labels))
    return attack(classifier, images, labels, threat, method, budget, ids, scales=scales)


def equal_margins(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return float32 [N]: the factor (inverse temperature) that gives the clean logits [N, K] of each image the margin `CLEAN_MARGIN`.

    A softmax of the scaled logits is neither saturated nor flat, whatever the scale of the model's logits. The factor is 1
    where the margin is not positive or not finite.
    """
    rows = np.arange(len(labels))
    others = logits.astype(np.float64)
    others[rows, labels] = -np.inf
    with np.errstate(invalid="ignore", divide="ignore"):
        margin = logits[rows, labels] - others.max(axis=1)
        scales = CLEAN_MARGIN / margin
    usable = np.isfinite(scales) & (scales > 0) & (scales < np.finfo(np.float32).max)
    return np.where(usable, scales, 1.0).astype(np.float32)


def apgd_t(
    classifier: DifferentiableClassifier,
    images: np.ndarray,
    labels: np.ndarray,
    threat: Threat,
    budget: Budget,
    ids: np.ndarray,
) -> AttackOutcome:
    """Attack towards one target class after the other, on the difference of logits.

    The targets are the budget.attempts incorrect classes with the highest logits, or with budget.nearest_first the nearest ones.
    """
    method = AutoProjectedGradient(loss=targeted_difference_of_logits_ratio)
    effort = replace(budget, attempts=min(budget.attempts, classifier.classes - 1))
    if not budget.nearest_first:
        targets = runners_up(*predict(classifier, images, labels), effort.attempts)
        return attack(classifier, images, labels, threat, method, effort, ids, targets)
    targets, gradients = nearest_classes(
        classifier, images, labels, NORMS[threat.norm], effort.attempts, budget.batch
    )
    outcome = attack(classifier, images, labels, threat, method, effort, ids, targets)
    return replace(outcome, evaluations=outcome.evaluations + gradients)


def checkpoints(steps: int) -> np.ndarray:
    """int32 [steps + 1]: at a checkpoint the number of steps since the one before, elsewhere 0."""
    window = max(int(FIRST_WINDOW * steps), 1)
    shrink, least = max(int(SHRINK * steps), 1), max(int(LEAST_WINDOW * steps), 1)
    table = np.zeros(steps + 1, np.int32)
    step = window
    while step <= steps:
        table[step] = window
        window = max(window - shrink, least)
        step += window
    return table


@dataclass(frozen=True)
class AutoProjectedGradient:
    """`own` of a slot: the image before, the best image and its direction, the step size, and what the halving reads."""

    loss: Loss = log_odds
    kind: str = "apgd"
    moved_start: bool = True
    gradient: bool = True
    leaves: bool = True
    stride: int = field(default=10, compare=False)
    draws: int = 0

    def hyperparameters(self, epsilon: float, steps: int, shape: tuple[int, ...]) -> State:
        return {
            "epsilon": np.float32(epsilon),
            "steps": np.int32(steps),
            "window": checkpoints(steps),
        }

    def start(
        self, norm: Norm, clean: np.ndarray, epsilon: float, ids: np.ndarray, seed: int, attempt: int
    ) -> np.ndarray:
        points = random_starts(norm, clean.shape[1:], ids, seed, attempt)
        return np.clip(clean + np.float32(epsilon) * points, 0.0, 1.0)

    def begin(self, clean: Any, images: Any) -> State:
        import tensorflow as tf

        nothing = tf.zeros_like(images[:, 0, 0, 0])
        return {
            "before": images,
            "best_image": images,
            "best_direction": images,
            "best": nothing - np.float32(np.inf),
            "best_at_check": nothing - np.float32(np.inf),
            "loss": nothing,
            "rises": tf.cast(nothing, tf.int32),
            "halvings": nothing,
            "halved": tf.cast(nothing, tf.bool),
        }

    def move(self, seen: Seen, ball: Ball, state: State, hyperparameters: State) -> tuple[Any, State]:
        import tensorflow as tf

        images, direction = seen.images, seen.direction
        better = (seen.loss > state["best"]) | (seen.count == 0)
        best_image, best_direction = tf.cond(
            tf.reduce_any(better),
            lambda: (
                choose(better, images, state["best_image"]),
                choose(better, direction, state["best_direction"]),
            ),
            lambda: (state["best_image"], state["best_direction"]),
        )
        best = tf.where(better, seen.loss, state["best"])
        rises = state["rises"] + tf.cast((seen.loss > state["loss"]) & (seen.count > 0), tf.int32)

        window = tf.gather(hyperparameters["window"], seen.count)
        check = (window > 0) & seen.going
        slow = tf.cast(rises, tf.float32) < ENOUGH * tf.cast(window, tf.float32)
        stuck = ~state["halved"] & (best <= state["best_at_check"])
        halve = check & (slow | stuck)
        images, direction = tf.cond(
            tf.reduce_any(halve),
            lambda: (choose(halve, best_image, images), choose(halve, best_direction, direction)),
            lambda: (images, direction),
        )
        halvings = state["halvings"] + tf.cast(halve, tf.float32)
        size = per_image(2.0 * hyperparameters["epsilon"] * tf.pow(0.5, halvings))

        stepped = ball.nearest(images + size * direction)
        share = per_image(tf.where(seen.count == 0, 1.0, MOMENTUM))
        moved = ball.nearest(images + share * (stepped - images) + (1.0 - share) * (images - state["before"]))
        return moved, {
            "before": images,
            "best_image": best_image,
            "best_direction": best_direction,
            "best": best,
            "best_at_check": tf.where(check, best, state["best_at_check"]),
            "loss": seen.loss,
            "rises": tf.where(check, 0, rises),
            "halvings": halvings,
            "halved": tf.where(check, halve, state["halved"]),
        }

    def result(self, images: Any, state: State) -> Any:
        return images
