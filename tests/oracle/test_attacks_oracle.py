"""The attack engine against closed forms on linear classifiers, against itself, and against ART."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from safeml.attacks.base import SURVIVED, Budget
from safeml.attacks.descent import attack
from safeml.attacks.registry import ATTACKS
from safeml.config import InputSettings, Threat
from safeml.metrics.perturbation import perturbation_size, project
from tests import subjects

pytestmark = pytest.mark.slow

REPOSITORY = Path(__file__).resolve().parents[2]
SIDE, K = 6, 2


def two_class_linear(seed: int = 0, count: int = 40):
    """A two-class linear classifier, images far from the borders of 0..1, their labels and the margin of each."""
    rng = np.random.default_rng(seed)
    weights = rng.normal(size=(SIDE * SIDE, K))
    images = rng.uniform(0.4, 0.6, (count, SIDE, SIDE, 1)).astype(np.float32)
    centre = images.reshape(count, -1).mean(axis=0)
    bias = -centre @ weights
    scores = images.reshape(count, -1).astype(np.float64) @ weights + bias
    difference = weights[:, 0] - weights[:, 1]
    return (
        subjects.linear(weights, bias),
        images,
        scores.argmax(1),
        np.abs(scores[:, 0] - scores[:, 1]),
        difference,
    )


def long_pgd(classifier, images, labels, threat, budget, ids):
    """PGD with steps of epsilon / 4, so that it converges: the default path is only 2.5 epsilon long from a random start."""
    size = threat.epsilon / 4
    settings = {"random_start": True, "seed": budget.seed, "batch": budget.batch, "ids": ids}
    return attack(classifier, images, labels, threat, steps=budget.steps, step_size=size, **settings)


@pytest.mark.parametrize("method", [ATTACKS["fgsm"], long_pgd])
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_breaks_a_linear_classifier_at_its_minimal_norm_and_not_below(method, norm):
    """The minimal norm is margin / dual norm of the weight difference: L1 for L-inf, L2 for L2."""
    classifier, images, labels, margin, difference = two_class_linear()
    minimal = margin / np.linalg.norm(difference, 1 if norm == "linf" else 2)
    assert 0.001 < np.median(minimal) < 0.3  # the images stay clear of 0 and 1
    for row in range(12):
        for factor, broken in ((1.01, True), (0.99, False)):
            outcome = method(
                classifier,
                images[row : row + 1],
                labels[row : row + 1],
                Threat(norm=norm, epsilon=float(minimal[row] * factor)),
                Budget(steps=40, restarts=1, seed=3, batch=4),
                np.array([row]),
            )
            assert (outcome.first_step[0] != SURVIVED) == broken, (row, factor)


def test_logits_of_ten_thousand_leave_the_attack_its_gradient():
    classifier, images, labels, margin, difference = two_class_linear()
    huge = subjects.Subject("huge", K, lambda x: classifier.function(x) * 1e4)
    threat = Threat(norm="linf", epsilon=float(margin.max() / np.abs(difference).sum() * 1.5))
    # Images on the right side by far saturate the loss in float32; those near the boundary must still fall.
    near = margin * 1e4 < 50
    outcome = attack(huge, images, labels, threat, steps=10, batch=16)
    assert (outcome.first_step[near] != SURVIVED).all()
    saturated = margin * 1e4 > 200
    assert saturated.any()
    assert outcome.zero_gradients[saturated].all()


def cnn(seed: int = 1):
    import keras

    keras.utils.set_random_seed(seed)
    model = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            keras.layers.Conv2D(8, 3, activation="relu"),
            keras.layers.Flatten(),
            keras.layers.Dense(5),
        ]
    )
    return subjects.Subject("cnn", 5, lambda x: model(x, training=False))


@pytest.fixture(scope="module")
def network():
    """A small network, random images, and its own answers as their labels."""
    classifier = cnn()
    images = np.random.default_rng(5).uniform(0, 1, (90, 8, 8, 1)).astype(np.float32)
    return classifier, images, classifier.predict_logits(images).argmax(1)


def run_pgd(network, epsilon, rows=slice(None), norm="linf", **changes):
    classifier, images, labels = network
    settings = {
        "steps": 10,
        "random_start": True,
        "seed": 11,
        "batch": 32,
        "ids": np.arange(len(images))[rows],
    }
    return attack(
        classifier,
        images[rows],
        labels[rows],
        Threat(norm=norm, epsilon=epsilon),
        **{**settings, **changes},
    )


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_every_adversarial_is_allowed_and_really_misclassified(network, norm):
    classifier, images, labels = network
    threat = Threat(norm=norm, epsilon=0.05 if norm == "linf" else 0.4)
    outcome = run_pgd(network, threat.epsilon, norm=norm)
    broken = outcome.first_step != SURVIVED
    assert 0 < broken.sum() < len(images)
    assert (perturbation_size(images, outcome.adversarial, norm) <= threat.epsilon * (1 + 1e-5)).all()
    assert outcome.adversarial.min() >= 0
    assert outcome.adversarial.max() <= 1
    wrong = classifier.predict_logits(outcome.adversarial).argmax(1) != labels
    assert (wrong == broken).all()


def test_the_first_misclassified_iterate_is_the_first(network):
    """With as many steps as an image needed it breaks; with one step fewer it does not (same path, fixed step size)."""
    outcome = run_pgd(network, 0.08, step_size=0.01)
    steps = outcome.first_step
    several = np.unique(steps[steps >= 3])
    assert len(several) >= 3
    for needed in several:
        rows = np.flatnonzero(steps == needed)
        shorter = run_pgd(network, 0.08, rows, step_size=0.01, steps=int(needed) - 2)
        exactly = run_pgd(network, 0.08, rows, step_size=0.01, steps=int(needed) - 1)
        assert (shorter.first_step == SURVIVED).all()
        assert (exactly.first_step == needed).all()
        np.testing.assert_allclose(exactly.adversarial, outcome.adversarial[rows], atol=1e-6)


def test_an_image_misclassified_when_clean_is_step_zero_and_unchanged(network):
    classifier, images, labels = network
    outcome = attack(classifier, images, (labels + 1) % 5, Threat(norm="linf", epsilon=0.05), steps=3)
    assert (outcome.first_step == 0).all()
    np.testing.assert_array_equal(outcome.adversarial, images)


@pytest.mark.parametrize("batch", [1, 7, 64])
def test_batch_size_and_order_do_not_change_the_verdict(network, batch):
    whole = run_pgd(network, 0.05, batch=90)
    order = np.random.default_rng(batch).permutation(90)
    shuffled = run_pgd(network, 0.05, order, batch=batch)
    assert (shuffled.first_step != whole.first_step[order]).sum() <= 1  # float rounding may tip one image
    assert abs(int((shuffled.first_step == SURVIVED).sum()) - int((whole.first_step == SURVIVED).sum())) <= 1


def test_more_restarts_and_a_larger_epsilon_never_help_the_classifier(network):
    one, four = run_pgd(network, 0.03), run_pgd(network, 0.03, restarts=4)
    assert ((four.first_step != SURVIVED) | (one.first_step == SURVIVED)).all()
    accuracy = [
        (run_pgd(network, epsilon).first_step == SURVIVED).mean() for epsilon in (0.01, 0.03, 0.06, 0.2)
    ]
    assert accuracy == sorted(accuracy, reverse=True)
    assert accuracy[0] > accuracy[-1]


def test_a_classifier_of_nan_is_never_robust():
    labels = np.zeros(4, dtype=int)
    outcome = attack(
        subjects.undefined(3),
        subjects.corner_images(labels),
        labels,
        Threat(norm="linf", epsilon=0.1),
        steps=2,
    )
    assert (outcome.first_step == 0).all()


def test_a_gradient_of_nan_counts_as_broken():
    import tensorflow as tf

    @tf.custom_gradient
    def poisoned(x):
        return x, lambda upstream: upstream * np.float32("nan")

    inner = subjects.corner_oracle(3)
    labels = np.array([0, 1, 2])
    outcome = attack(
        subjects.Subject("poisoned", 3, lambda x: inner.function(poisoned(x))),
        subjects.corner_images(labels),
        labels,
        Threat(norm="linf", epsilon=0.01),
        steps=2,
    )
    assert (outcome.first_step == 0).all()
    assert np.isfinite(outcome.adversarial).all()


def test_zero_gradients_are_seen():
    labels = np.array([0, 1, 2, 0])
    images = subjects.corner_images(labels)
    threat = Threat(norm="l2", epsilon=0.1)
    masked = attack(subjects.stepped(subjects.corner_oracle(3)), images, labels, threat, steps=3)
    honest = attack(subjects.corner_oracle(3), images, labels, threat, steps=3)
    assert masked.zero_gradients.all()
    assert not honest.zero_gradients.any()


def survivors_of_both(classifier, images, labels, threat, steps):
    """Robust accuracy under the own PGD and under ART's, both projected and predicted again here."""
    from safeml.attacks.art import art_pgd

    size = 2.5 * threat.epsilon / steps
    own = attack(
        classifier, images, labels, threat, steps=steps, step_size=size, random_start=True, seed=1, batch=128
    )
    other = art_pgd(classifier, images, labels, threat, steps, size, 1, 128)
    return [
        float((classifier.predict_logits(project(images, found, threat)).argmax(1) == labels).mean())
        for found in (own.adversarial, other)
    ]


def test_agrees_with_art_on_a_reference_model():
    """PGD-20 at 2/255 on GTSRB test images: robust accuracy within half a percentage point of ART's."""
    models = sorted(
        (REPOSITORY / "models" / "lenet-gtsrb").glob("*.keras"), key=lambda path: path.stat().st_mtime
    )
    data = Path(os.environ.get("SAFEML_SHARED", REPOSITORY.parent / "shared")) / "data" / "gtsrb" / "test.npz"
    if not models or not data.exists():
        pytest.skip("needs models/lenet-gtsrb/*.keras and the GTSRB test images (SAFEML_SHARED)")
    from safeml.classifiers.load import load_model

    with np.load(data) as arrays:
        chosen = np.sort(np.random.default_rng(2).choice(len(arrays["labels"]), 1000, replace=False))
        images = arrays["images"][chosen].astype(np.float32) / np.float32(255)
        labels = arrays["labels"][chosen].astype(np.int64)
    classifier = load_model(models[-1]).model.fed(
        InputSettings(), tuple(str(number) for number in range(43)), "reference"
    )
    own, art = survivors_of_both(classifier, images, labels, Threat(norm="linf", epsilon=2 / 255), steps=20)
    assert abs(round(1000 * own) - round(1000 * art)) <= 5  # 0.5 percentage points, in whole images


def test_agrees_with_art_on_a_small_network(network):
    own, art = survivors_of_both(*network, Threat(norm="linf", epsilon=0.04), steps=20)
    assert 0 < art < 1
    assert own <= art + 1 / 90
