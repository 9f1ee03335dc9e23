"""The adversary who knows the monitor, against linear models whose answers are known. Legend: N images, K classes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from safeml.attacks.base import Budget
from safeml.classifiers.base import penultimate_of
from safeml.errors import StageError
from safeml.monitors.registry import fit_scores, score
from safeml.threats import Threat
from tests.subjects import Subject, linear

pytestmark = pytest.mark.slow

SIDE, K = 4, 3
THREAT = Threat(norm="linf", epsilon=0.1)


@dataclass(frozen=True, eq=False)
class WithFeatures(Subject):
    """A model whose features are its pixels."""

    def penultimate(self, pixels: Any) -> Any:
        import tensorflow as tf

        return tf.reshape(pixels, [tf.shape(pixels)[0], SIDE * SIDE * 3])


def model() -> WithFeatures:
    weights = np.random.default_rng(0).normal(size=(SIDE * SIDE * 3, K))
    weights -= weights.mean(axis=0)  # so that grey images are near the border of all classes
    subject = linear(weights, np.zeros(K))
    return WithFeatures(subject.name, K, subject.function)


def images(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    pixels = np.random.default_rng(seed).uniform(0.3, 0.7, (count, SIDE, SIDE, 3)).astype(np.float32)
    return pixels, model().predict_logits(pixels).argmax(axis=1)


def known(name: str, share: float) -> Any:
    """The monitor that trusts all but the `share` of clean images with the lowest scores."""
    from safeml.attacks.knowing import KnownMonitor

    pixels, labels = images(300, 5)
    logits, features = model().predict_logits(pixels), model().features(pixels)
    arrays = fit_scores(logits, features, labels, K, 0)

    def scores(logits: np.ndarray, features: np.ndarray | None) -> np.ndarray:
        return score(name, arrays, logits, features)

    values = scores(logits, features)
    return KnownMonitor(name, arrays, float(np.quantile(values, share)), float(values.std()), scores)


def successes(monitor: Any, view: Any, adversarial: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """bool [N]: misclassified and trusted, by NumPy alone."""
    logits = model().predict_logits(adversarial)
    values = monitor.scores(logits, model().features(adversarial))
    return (logits.argmax(axis=1) != labels) & (values >= monitor.threshold)


@pytest.mark.parametrize("name", ["max_probability", "mahalanobis", "neighbours"])
def test_it_reaches_both_aims_where_the_blind_attack_reaches_one(name: str) -> None:
    from safeml.attacks.knowing import knowing, monitored
    from safeml.attacks.registry import ATTACKS

    pixels, labels = images(24, 1)
    monitor = known(name, 0.3)
    view = monitored(model(), monitor)
    budget, ids = Budget(20, 3, 7, 24), np.arange(24)
    outcome = knowing(view, pixels.copy(), labels, THREAT, budget, ids)
    assert np.abs(outcome.adversarial - pixels).max() <= THREAT.epsilon + 1e-6
    reached = successes(monitor, view, outcome.adversarial, labels)
    # What the attack says of itself is what NumPy says of its images.
    assert (reached == (outcome.first_step >= 0)).all()
    blind = ATTACKS["pgd"](model(), pixels.copy(), labels, THREAT, Budget(20, 1, 7, 24), ids)
    assert reached.sum() >= successes(monitor, view, blind.adversarial, labels).sum()
    assert reached.mean() >= 0.9


def test_a_monitor_that_trusts_nothing_cannot_be_evaded() -> None:
    from safeml.attacks.knowing import knowing, monitored

    pixels, labels = images(6, 2)
    monitor = replace(known("energy", 0.5), threshold=1e9)
    outcome = knowing(monitored(model(), monitor), pixels, labels, THREAT, Budget(5, 2, 7, 6), np.arange(6))
    assert (outcome.first_step == -1).all()


def test_an_image_that_is_misclassified_and_rejected_is_attacked_until_it_is_trusted() -> None:
    from safeml.attacks.knowing import knowing, monitored

    pixels, labels = images(12, 3)
    wrong = (labels + 1) % K
    monitor = known("max_probability", 0.9)
    view = monitored(model(), monitor)
    before = successes(monitor, view, pixels, wrong)
    outcome = knowing(view, pixels.copy(), wrong, THREAT, Budget(20, 3, 7, 12), np.arange(12))
    assert not before.all()
    assert (outcome.first_step[before] == 0).all()
    assert successes(monitor, view, outcome.adversarial, wrong).all()


def test_the_answers_of_an_exported_file_decide() -> None:
    """The file trusts nothing although the model that gives the gradients does: no image is evaded."""
    from safeml.attacks.knowing import knowing, monitored

    @dataclass(frozen=True, eq=False)
    class File(WithFeatures):
        def deployed_logits(self, pixels: Any) -> Any:
            return self.logits(pixels)

    subject = model()
    file = File(subject.name, K, subject.function)
    pixels, labels = images(6, 4)
    monitor = known("energy", 0.1)
    blind = replace(monitor, scores=lambda logits, features: np.full(len(logits), -1e9))
    outcome = knowing(monitored(file, blind), pixels, labels, THREAT, Budget(5, 1, 7, 6), np.arange(6))
    assert (outcome.first_step == -1).all()
    own = knowing(monitored(file, monitor), pixels, labels, THREAT, Budget(20, 3, 7, 6), np.arange(6))
    assert (own.first_step >= 0).any()


def test_a_model_without_a_gradient_of_its_features_is_refused() -> None:
    with pytest.raises(StageError, match="no gradient of its features"):
        penultimate_of(linear(np.ones((3, 2)), np.zeros(2)))
