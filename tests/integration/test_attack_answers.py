"""Attacks on classifiers whose answers are known before: undefined, flat, or with one class within reach."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest

from safeml.attacks.base import SURVIVED, AttackOutcome, Budget
from safeml.attacks.pgd import ProjectedGradient
from safeml.attacks.registry import ATTACKS
from safeml.attacks.slots import attack
from safeml.errors import StageError
from safeml.threats import Threat
from tests import subjects
from tests.attack_cases import (
    SIDE,
    K,
    convolutional,
    counted,
    run,
)

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("compiled_attacks_kept")]


@pytest.mark.parametrize("name", sorted(ATTACKS))
def test_a_classifier_of_nan_is_never_robust(name):
    labels = np.zeros(4, dtype=int)
    images, subject = subjects.corner_images(labels), subjects.undefined(K)
    for checked in (False, True):  # even a caller that is wrong about the clean images gets no survivor
        outcome = run(name, subject, images, labels, checked=checked)
        assert (outcome.first_step != SURVIVED).all()
        assert np.isfinite(outcome.adversarial).all()


@pytest.mark.parametrize(
    ("name", "norm"),
    [("pgd", "linf"), ("pgd", "l2"), ("apgd_ce", "l2"), ("fmn", "linf"), ("fmn", "l2"), ("ddn", "l2")],
)
def test_a_zero_gradient_is_reported_and_moves_nothing_to_nan(name, norm):
    """Rounded pixels: no gradient to follow, and no reason to call an image broken that nothing has broken."""
    labels = np.array([0, 1, 2, 0])
    images = subjects.corner_images(labels)
    masked = run(name, subjects.stepped(subjects.corner_oracle(3)), images, labels, norm, 0.05)
    assert masked.zero_gradients.all()
    assert (masked.first_step == SURVIVED).all()
    assert np.isfinite(masked.adversarial).all()
    assert not run(name, subjects.corner_oracle(3), images, labels, norm, 0.05).zero_gradients.any()


@cache
def only_the_third() -> subjects.Subject:
    """Class 0 is right. By their clean logits the wrong ones are 1, 2, 3, 4; the image can raise class 3 alone."""
    import tensorflow as tf

    def logits(x: Any) -> Any:
        third = 20 * (tf.reduce_mean(x, axis=[1, 2, 3]) - 0.5) - 3
        zero = tf.zeros_like(third)
        return tf.stack([zero, zero - 1, zero - 2, third, zero - 4], axis=1)

    return subjects.Subject("third", K, logits)


def test_targets_are_the_runners_up_in_turn_and_the_attempt_names_the_one_that_broke():
    images, labels = np.full((3, SIDE, SIDE, 1), 0.5, np.float32), np.zeros(3, int)

    def targeted(attempts: int) -> AttackOutcome:
        return run("apgd_t", only_the_third(), images, labels, epsilon=0.3, spends=(10, attempts))

    for attempts in (3, 4, 99):
        outcome = targeted(attempts)
        assert (outcome.attempt == 2).all()
        assert (outcome.first_step > 0).all()
        assert (
            outcome.evaluations == 2 * 11 + outcome.first_step
        ).all()  # the random start is one change, and one look
    survived = targeted(2)
    assert (survived.first_step == SURVIVED).all()
    assert (survived.attempt == 1).all()


def test_targets_by_gradient_start_with_the_class_that_the_image_can_reach():
    """By their logits it is the third; the others do not move at all. The order costs a gradient for each incorrect class."""
    images, labels = np.full((3, SIDE, SIDE, 1), 0.5, np.float32), np.zeros(3, int)
    outcome = run("apgd_t", only_the_third(), images, labels, epsilon=0.3, spends=(10, 1), nearest_first=True)
    assert (outcome.attempt == 0).all()
    assert (outcome.first_step > 0).all()
    assert (outcome.evaluations == K - 1 + outcome.first_step).all()


@pytest.mark.parametrize(
    ("name", "evaluations"),
    # A survivor's attempt: one look before each step and one at the end. The last one of FMN and DDN is before their last step.
    [
        ("fgsm", 2),
        ("pgd", 2 * 9),
        ("apgd_pm", 2 * 16),
        ("apgd_ce", 2 * 16),
        ("apgd_t", 4 * 16),
        ("square", 121),
        ("fmn", 25),
        ("ddn", 25),
    ],
)
def test_evaluations_are_what_the_model_was_really_asked(name, evaluations):
    rows: list[int] = []
    labels = np.zeros(1, int)
    images = subjects.corner_images(labels)
    survivor = counted(subjects.constant(K).function, rows)
    outcome = run(name, survivor, images, labels, batch=1, checked=True)
    clean = int(name in ("apgd_pm", "apgd_t"))  # they ask once for the clean logits
    assert outcome.evaluations.tolist() == [evaluations] == [sum(rows) - clean]


@pytest.mark.parametrize(
    ("images", "labels", "budget", "message"),
    [
        (np.zeros((2, 8, 8, 1)), np.zeros(2, int), Budget(1, 1, 0, 1), "images are float64"),
        (np.zeros((2, 8, 8), np.float32), np.zeros(2, int), Budget(1, 1, 0, 1), r"expected float32 \[N"),
        (np.zeros((2, 8, 8, 1), np.float32), np.zeros(3, int), Budget(1, 1, 0, 1), r"labels are int64 \[3\]"),
        (np.zeros((2, 8, 8, 1), np.float32), np.zeros(2, int), Budget(0, 1, 0, 1), "steps, attempts, batch"),
    ],
)
def test_what_cannot_be_attacked_is_refused(images, labels, budget, message):
    with pytest.raises(StageError, match=message):
        attack(convolutional(), images, labels, Threat(norm="linf", epsilon=0.1), ProjectedGradient(), budget)
