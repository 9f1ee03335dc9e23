"""PGD of an adversary who knows the run-time monitor: the image must be misclassified and its score above the threshold.

References:
    N. Carlini, D. Wagner, "Adversarial examples are not easily detected: bypassing ten detection methods", 2017 (both aims in one loss).
    O. Bryniarski et al., "Evading adversarial example detection defenses with orthogonal projected gradient descent", 2022 (why the
        weight between the aims has to differ).

Legend: N images, B slots, H W C pixels, K classes, F features.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import log
from typing import Any

import numpy as np

from safeml.attacks.base import AttackOutcome, Budget
from safeml.attacks.losses import log_odds
from safeml.attacks.monitor_scores import Arrays, needs_features, score
from safeml.attacks.norms import NORMS
from safeml.attacks.pgd import ProjectedGradient
from safeml.attacks.slots import attack
from safeml.attacks.views import View
from safeml.classifiers.base import DifferentiableClassifier, penultimate_of
from safeml.threats import Threat

# Of the missing score against the log-odds of misclassification; each restart takes the next.
WEIGHTS = (1.0, 10.0, 0.1)


@dataclass(frozen=True, eq=False)
class KnownMonitor:
    """What the adversary knows.

    name: of the score, a key of `safeml.monitors.registry.SCORES`.
    arrays: of the fitted monitor.
    threshold: a prediction is trusted from this score on.
    scale: one unit of the score, above 0, such as its spread on correct predictions.
    scores: (logits [N, K], features [N, F] or None) -> float64 [N], as the monitor computes them.
    """

    name: str
    arrays: Arrays
    threshold: float
    scale: float
    scores: Callable[[np.ndarray, np.ndarray | None], np.ndarray]


def monitored(classifier: DifferentiableClassifier, monitor: KnownMonitor) -> View:
    """Return the classifier with one more output: how far the score is above its threshold, in units of `monitor.scale`.

    An image counts as broken where it is misclassified and trusted.
    """
    import tensorflow as tf

    penultimate = penultimate_of(classifier) if needs_features(monitor.name) else None
    classes = classifier.classes

    def logits(pixels: Any) -> Any:
        own = tf.ensure_shape(classifier.logits(pixels), [None, classes])
        value = score(monitor.name, monitor.arrays, own, penultimate(pixels) if penultimate else None)
        above = tf.cast((value - monitor.threshold) / monitor.scale, tf.float32)
        return tf.concat([own, above[:, None]], axis=1)

    def predict(images: np.ndarray) -> np.ndarray:
        own = np.asarray(classifier.predict_logits(images), np.float32)
        rows = classifier.features(images) if penultimate else None
        above = (monitor.scores(own, rows) - monitor.threshold) / monitor.scale
        return np.concatenate([own, above[:, None].astype(np.float32)], axis=1)

    def deployed(pixels: Any) -> Any:
        return tf.ensure_shape(
            tf.numpy_function(predict, [pixels], tf.float32), [pixels.shape[0], classes + 1]
        )

    of_a_file = getattr(classifier, "deployed_logits", None) is not None
    return View(classes + 1, logits, predict, deployed if of_a_file else None, _trusted_error)


def feature_width(classifier: DifferentiableClassifier, image: np.ndarray) -> int:
    """Return F of the features that have a gradient. image: float32 [1, H, W, C], 0..1. Raises StageError where there are none."""
    import tensorflow as tf

    return int(penultimate_of(classifier)(tf.constant(image)).shape[1])


def _trusted_error(logits: Any, labels: Any) -> Any:
    """Return which rows are misclassified and trusted, bool [B]. logits: [B, K + 1], see `monitored`."""
    import tensorflow as tf

    misclassified = tf.argmax(logits[:, :-1], axis=1, output_type=tf.int32) != labels
    return misclassified & (logits[:, -1] >= 0.0)


def both_aims(logits: Any, labels: Any, weights: Any) -> Any:
    """Return the log-odds of misclassification, as far as they are needed, less the weighted part of the score that is missing, [B].

    logits: [B, K + 1], see `monitored`. weights: int32 [B], places in WEIGHTS.
    """
    import tensorflow as tf

    own = logits[:, :-1]
    # From here on the image is misclassified whatever the other logits are, and only the score counts.
    enough = log(int(own.shape[1])) + 1.0
    missing = tf.minimum(logits[:, -1], 0.0)
    return (
        tf.minimum(log_odds(own, labels, labels), enough) + tf.gather(tf.constant(WEIGHTS), weights) * missing
    )


def knowing(
    view: View, images: np.ndarray, labels: np.ndarray, threat: Threat, budget: Budget, ids: np.ndarray
) -> AttackOutcome:
    """Take `budget.steps` projected steps per restart until the image is misclassified and trusted.

    view: of `monitored`; one for all calls, because its graph is compiled once. The other arguments: see `Attack`.
    """
    method = ProjectedGradient(
        step_size=NORMS[threat.norm].step(threat.epsilon, budget.steps), loss=both_aims
    )
    weights = np.tile(np.arange(budget.attempts) % len(WEIGHTS), (len(images), 1))
    return attack(view, images, labels, threat, method, budget, ids, weights)  # type: ignore[arg-type]  # a view has what the engine reads
