"""What minimal-norm attacks share: the nearest misclassified iterate, and a bisection from it towards the clean image.

Legend: N images, B slots, H W C pixels.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from safeml.attacks.base import SURVIVED, AttackOutcome, Budget
from safeml.attacks.method import Ball, Method, Seen, State, choose
from safeml.attacks.slots import attack
from safeml.classifiers.base import DifferentiableClassifier
from safeml.classifiers.judged import predict
from safeml.metrics.classification import right_answers
from safeml.threats import Threat

HALVINGS = 18


def search(
    method: Method,
    classifier: DifferentiableClassifier,
    images: np.ndarray,
    labels: np.ndarray,
    threat: Threat,
    budget: Budget,
    ids: np.ndarray,
) -> AttackOutcome:
    """Run a minimal-norm `method` whose `result` is `nearest`, and bisect; return the clean image where nothing is misclassified.

    first_step: the step at which an image was first misclassified, at whatever distance.
    """
    outcome = attack(classifier, images, labels, threat, method, budget, ids)
    broken = np.flatnonzero(outcome.first_step > 0)
    nearest = outcome.adversarial
    if len(broken):  # not every classifier answers no image at all
        nearest[broken] = _bisect(classifier, images[broken], nearest[broken], labels[broken])
    nearest[outcome.first_step == SURVIVED] = images[outcome.first_step == SURVIVED]
    return outcome


def _bisect(
    classifier: DifferentiableClassifier, clean: np.ndarray, misclassified: np.ndarray, labels: np.ndarray
) -> np.ndarray:
    """The nearest misclassified image on the way from `misclassified` to `clean`, to 2^-18 of that way."""
    low, high = np.zeros((2, len(clean), 1, 1, 1), np.float32)
    high += 1.0
    nearest = misclassified.copy()
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        tried = clean + middle * (misclassified - clean)
        wrong = ~right_answers(*predict(classifier, tried, labels))
        nearest[wrong] = tried[wrong]
        nearer = wrong[:, None, None, None]
        high, low = np.where(nearer, middle, high), np.where(nearer, low, middle)
    return nearest


def nothing_yet(clean: Any) -> State:
    """The nearest misclassified image of each slot, [B, H, W, C], and its distance [B]: none at the start."""
    import tensorflow as tf

    return {"nearest": clean, "distance": tf.fill(tf.shape(clean)[:1], np.float32(np.inf))}


def nearest_of(seen: Seen, ball: Ball, state: State) -> tuple[Any, State]:
    """Return the distance of the images from the clean ones [B], and the nearest misclassified ones with this iterate."""
    import tensorflow as tf

    distance = ball.norm.size(seen.images - ball.clean)[:, 0, 0, 0]
    # A slot that is done may still be evaluated, for as long as its neighbours go on: that must not count.
    nearer = seen.going & seen.broken & (distance < state["distance"])
    return distance, {
        "nearest": choose(nearer, seen.images, state["nearest"]),
        "distance": tf.where(nearer, distance, state["distance"]),
    }
