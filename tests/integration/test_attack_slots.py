"""The engine and its slots: what an attack gives back, when an image leaves, what is counted, and what is compiled."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from safeml.attacks.base import SURVIVED, AttackOutcome, Budget
from safeml.attacks.pgd import ProjectedGradient
from safeml.attacks.registry import ATTACKS
from safeml.attacks.rows import ROWS
from safeml.attacks.slots import attack
from safeml.errors import StageError
from safeml.metrics.perturbation import perturbation_size
from safeml.threats import Threat
from tests import subjects
from tests.attack_cases import (
    ATTACKS_AND_NORMS,
    GRADIENT,
    SIDE,
    SOME,
    SPENDS,
    Function,
    K,
    convolutional,
    counted,
    network,
    run,
    same,
)

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("compiled_attacks_kept")]


@pytest.mark.parametrize(("name", "norm"), ATTACKS_AND_NORMS)
def test_every_adversarial_is_allowed_and_really_misclassified(name, norm):
    classifier, images, labels = network(40)
    outcome = run(name, classifier, images, labels, norm)
    broken = outcome.first_step != SURVIVED
    assert broken.any()
    assert not broken.all()
    assert (perturbation_size(images, outcome.adversarial, norm) <= SOME[norm] * (1 + 1e-5)).all()
    assert outcome.adversarial.min() >= 0
    assert outcome.adversarial.max() <= 1
    assert ((classifier.predict_logits(outcome.adversarial).argmax(1) != labels) == broken).all()


@pytest.mark.parametrize("name", sorted(ATTACKS))
def test_an_image_misclassified_when_clean_is_step_zero_and_unchanged(name):
    classifier, images, labels = network(40)
    outcome = run(name, classifier, images, (labels + 1) % K)
    assert (outcome.first_step == 0).all()
    assert (outcome.evaluations == 0).all()
    np.testing.assert_array_equal(outcome.adversarial, images)


def test_the_first_misclassified_iterate_is_the_first():
    """With as many steps as an image needed it breaks; with one step fewer it does not (same path, fixed step size)."""
    classifier, images, labels = network(40)

    def climb(steps: int, rows: Any = slice(None)) -> AttackOutcome:
        budget, ids = Budget(steps, 1, seed=11, batch=16), np.arange(len(images))[rows]
        threat, method = Threat(norm="linf", epsilon=0.08), ProjectedGradient(step_size=0.004)
        return attack(classifier, images[rows], labels[rows], threat, method, budget, ids)

    whole = climb(20)
    several = [needed for needed in np.unique(whole.first_step) if needed >= 3][:4]
    assert len(several) >= 3
    for needed in several:
        rows = np.flatnonzero(whole.first_step == needed)
        # A random start is the first change, so an image that needed n of them took n - 1 steps.
        assert (climb(int(needed) - 2, rows).first_step == SURVIVED).all()
        exactly = climb(int(needed) - 1, rows)
        assert (exactly.first_step == needed).all()
        np.testing.assert_allclose(exactly.adversarial, whole.adversarial[rows], atol=1e-6)


def poisoned(where: Function, gradient_only: bool) -> subjects.Subject:
    """The network, with NaN as the answer (or as the gradient alone) for images that `where` picks: [N, H, W, C] -> bool [N]."""
    import tensorflow as tf

    @tf.custom_gradient
    def answer(x: Any) -> Any:
        sick = where(x)
        logits, back = convolutional().logits, np.float32("nan")
        with tf.GradientTape() as tape:
            tape.watch(x)
            good = logits(x)

        def gradient(upstream: Any) -> Any:
            [plain] = tape.gradient(good, [x], upstream)
            return tf.where(sick[:, None, None, None], back, plain) if gradient_only else plain

        return good if gradient_only else tf.where(sick[:, None], back, good), gradient

    return subjects.Subject("poisoned", K, answer)


@pytest.mark.parametrize(
    ("name", "gradient_only"),
    [
        *((name, True) for name in GRADIENT),
        ("pgd", False),
        ("fmn", False),
        ("ddn", False),
        ("square", False),
        ("transfer", False),
    ],
)
def test_nan_breaks_its_own_image_and_none_beside_it(name, gradient_only):
    """One image in three is marked in a corner, and its answer or gradient is NaN; the others must not notice."""
    classifier, images, labels = network(24)
    images = images.copy()
    images[:, 0, 0, 0], marked = 0.0, np.arange(24) % 3 == 0
    images[marked, 0, 0, 0] = 1.0
    labels = classifier.predict_logits(images).argmax(1)
    subject = poisoned(lambda x: x[:, 0, 0, 0] > 0.5, gradient_only)
    outcome, honest = (run(name, one, images, labels) for one in (subject, classifier))
    assert (outcome.first_step[marked] != SURVIVED).all()
    assert np.isfinite(outcome.adversarial).all()
    np.testing.assert_array_equal(outcome.first_step[~marked], honest.first_step[~marked])
    np.testing.assert_allclose(outcome.adversarial[~marked], honest.adversarial[~marked], atol=1e-5)


@pytest.mark.parametrize("name", ["pgd", "fmn", "ddn", "apgd_t", "square"])
def test_an_answer_of_nan_that_only_a_changed_image_gets_is_broken(name):
    classifier, images, labels = network(24)
    images = np.clip(images, 0.2, 0.8)
    labels = classifier.predict_logits(images).argmax(1)
    nearby = poisoned(_beyond_the_clean_ones, False)
    outcome = run(name, nearby, images, labels, epsilon=0.003)
    assert (outcome.first_step > 0).all()
    assert np.isfinite(outcome.adversarial).all()


def _beyond_the_clean_ones(x: Any) -> Any:
    import tensorflow as tf

    return (tf.reduce_max(x, axis=[1, 2, 3]) > 0.8001) | (tf.reduce_min(x, axis=[1, 2, 3]) < 0.1999)


@pytest.mark.parametrize(
    ("name", "norm"),
    [
        ("apgd_pm", "linf"),
        ("apgd_pm", "l2"),
        ("apgd_t", "linf"),
        ("fmn", "linf"),
        ("fmn", "l2"),
        ("ddn", "l2"),
    ],
)
def test_the_scale_of_the_logits_changes_no_verdict(name, norm):
    import tensorflow as tf

    classifier, images, labels = network(40)
    plain = run(name, classifier, images, labels, norm)
    scale = tf.Variable(1.0)  # is read at each call: both scales share their graphs
    scaled = subjects.Subject("scaled", K, lambda x: classifier.function(x) * scale)
    for value in (1e-4, 1e4):
        scale.assign(value)
        other = run(name, scaled, images, labels, norm)
        assert ((other.first_step != SURVIVED) == (plain.first_step != SURVIVED)).all()
        sizes = [perturbation_size(images, found.adversarial, norm) for found in (other, plain)]
        if ROWS[name].minimal:
            np.testing.assert_allclose(*sizes, rtol=1e-3)


@pytest.mark.parametrize(("name", "nearest_first"), [("pgd", False), ("apgd_t", False), ("apgd_t", True)])
def test_attempts_made_in_two_parts_are_those_made_at_once(name, nearest_first):
    classifier, images, labels = network(40)

    def part(first: int, attempts: int) -> AttackOutcome:
        spends = (SPENDS[name][0], attempts)
        return run(name, classifier, images, labels, spends=spends, first=first, nearest_first=nearest_first)

    whole, early, late = part(0, 4), part(0, 2), part(2, 4)
    order = (K - 1) * nearest_first
    by_the_first = early.first_step != SURVIVED
    assert ((whole.first_step != SURVIVED) == by_the_first | (late.first_step != SURVIVED)).all()
    for rows, outcome in ((by_the_first, early), (~by_the_first, late)):
        np.testing.assert_array_equal(whole.first_step[rows], outcome.first_step[rows])
        np.testing.assert_array_equal(whole.attempt[rows], outcome.attempt[rows])
        np.testing.assert_allclose(whole.adversarial[rows], outcome.adversarial[rows], atol=1e-5)
    both = (early.evaluations + late.evaluations - order)[~by_the_first]
    np.testing.assert_array_equal(whole.evaluations[~by_the_first], both)
    with pytest.raises(StageError, match="the first attempt is 4 of 4; expected 0-3"):
        part(4, 4)


@pytest.mark.parametrize("name", ["pgd", "apgd_ce", "square"])
def test_an_image_that_breaks_is_looked_at_no_more(name):
    rows: list[int] = []
    classifier, images, labels = network(40)
    broken = np.flatnonzero(run(name, classifier, images, labels).first_step > 1)[:3]
    assert len(broken)
    outcome = run(
        name,
        counted(classifier.function, rows),
        images[broken],
        labels[broken],
        batch=1,
        ids=broken,
        checked=True,
    )
    assert (outcome.first_step > 1).all()
    assert outcome.evaluations.sum() == sum(rows)


@pytest.mark.parametrize("name", sorted(ATTACKS))
def test_more_images_than_lanes_fewer_and_none(name):
    classifier, images, labels = network(40)
    whole = run(name, classifier, images, labels)
    same(run(name, classifier, images, labels, batch=3), whole)
    few = run(name, classifier, images[:5], labels[:5], batch=64)
    same(few, AttackOutcome(*(getattr(whole, field)[:5] for field in AttackOutcome.__dataclass_fields__)))
    none = run(name, classifier, images[:0], labels[:0])
    assert none.adversarial.shape == (0, SIDE, SIDE, 1)
    assert none.first_step.shape == none.evaluations.shape == (0,)


@pytest.mark.parametrize("name", ["pgd", "apgd_t", "fmn", "ddn", "square"])
def test_other_epsilons_steps_and_batches_compile_nothing_again(name):
    import tensorflow as tf

    traces: list[int] = []

    def logits(x: Any) -> Any:
        if not tf.executing_eagerly():
            traces.append(1)
        return convolutional().function(x)

    _, images, labels = network(40)
    traced = subjects.Subject("traced", K, logits)
    run(name, traced, images[:20], labels[:20], epsilon=0.01)
    first = len(traces)
    assert first == 2  # the loop, and the look without a gradient
    for epsilon, batch, (steps, attempts) in ((0.2, 5, (7, 1)), (0.004, 32, (12, 3))):
        run(name, traced, images, labels, epsilon=epsilon, batch=batch, spends=(steps, attempts))
    assert len(traces) == first
