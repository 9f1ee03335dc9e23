"""The attacks against closed forms on linear classifiers, and against ART.

Legend: N images, K classes, D pixels.
"""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from safeml.attacks.base import SURVIVED, Budget
from safeml.attacks.pgd import ProjectedGradient
from safeml.attacks.registry import ATTACKS
from safeml.attacks.rows import ROWS
from safeml.attacks.slots import attack
from safeml.metrics.perturbation import perturbation_size, project
from safeml.settings.model import InputSettings
from safeml.threats import Threat
from tests import subjects

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("compiled_attacks_kept")]

REPOSITORY = Path(__file__).resolve().parents[2]
SIDE, N = 6, 60
REACH = {"linf": 0.015, "l2": 0.1}  # the minimal norm of every image
LARGE = {"linf": 1.0, "l2": 50.0}
SPENDS = {
    "fgsm": (1, 1),
    "pgd": (30, 1),
    "fmn": (60, 1),
    "ddn": (60, 1),
    "apgd_pm": (40, 1),
    "apgd_ce": (40, 1),
    "apgd_t": (40, 9),
    "square": (300, 1),
    "transfer": (40, 1),
}


@cache
def cones(classes: int, norm: str):
    """A linear classifier, images whose exact minimal norm is `REACH`, and their labels.

    All logits are equal at mid grey, so margins grow in proportion along each ray from there: every image is moved along its
    own ray to where the nearest wrong class is just that far. The minimal norm is the least of margin / dual norm of the
    difference of weights over the wrong classes: dual to L-inf is L1, to L2 is L2.
    """
    rng = np.random.default_rng(classes)
    weights = rng.normal(size=(SIDE * SIDE, classes))
    rays = rng.uniform(-1, 1, (N, SIDE * SIDE))
    logits = rays @ weights
    labels = logits.argmax(1)
    differences = weights[:, labels, None] - weights[:, None, :]  # [D, N, K]
    sizes = np.linalg.norm(differences, 1 if norm == "linf" else 2, axis=0)
    margins = logits[np.arange(N), labels][:, None] - logits
    margins[np.arange(N), labels] = np.inf
    reach = (margins / np.where(sizes > 0, sizes, 1.0)).min(axis=1)
    images = 0.5 + rays * (REACH[norm] / reach)[:, None]
    # Rays along which the classes part slowly would leave 0..1, where the closed form does not hold.
    clear = (images > 0.1).all(axis=1) & (images < 0.9).all(axis=1)
    assert clear.sum() >= 20
    classifier = subjects.linear(weights, -0.5 * weights.sum(axis=0))
    pictures = images[clear].reshape(-1, SIDE, SIDE, 1).astype(np.float32)
    assert (classifier.predict_logits(pictures).argmax(1) == labels[clear]).all()
    return classifier, pictures, labels[clear]


def run(name: str, classes: int, norm: str, epsilon: float):
    classifier, images, labels = cones(classes, norm)
    steps, attempts = SPENDS[name]
    budget = Budget(steps, attempts, seed=3, batch=16)
    threat = Threat(norm=norm, epsilon=epsilon)
    return ATTACKS[name](classifier, images, labels, threat, budget, np.arange(len(images)))


ATTACKS_AND_NORMS = [(name, norm) for name in sorted(ATTACKS) for norm in sorted(ROWS[name].norms)]


@pytest.mark.parametrize(("name", "norm"), ATTACKS_AND_NORMS)
@pytest.mark.parametrize("classes", [2, 5])
def test_nothing_breaks_below_the_minimal_norm(classes, norm, name):
    outcome = run(name, classes, norm, 0.999 * REACH[norm])
    assert (outcome.first_step == SURVIVED).all()


@pytest.mark.parametrize(
    ("classes", "name", "norm"),
    # With more classes the cross entropy also pushes towards farther ones; APGD-T attacks towards one class at a time.
    [
        *((2, name, norm) for name, norm in ATTACKS_AND_NORMS if name != "square"),
        *((5, "apgd_t", norm) for norm in sorted(REACH)),
    ],
)
def test_attacks_with_a_gradient_break_just_above_the_minimal_norm(norm, classes, name):
    outcome = run(name, classes, norm, 1.001 * REACH[norm])
    assert (outcome.first_step != SURVIVED).all()


def test_square_breaks_most_images_at_three_times_the_minimal_norm():
    """It guesses: near the minimal norm it rarely wins, and with room to spare it must."""
    assert (run("square", 2, "linf", 3 * REACH["linf"]).first_step != SURVIVED).mean() > 0.9


@pytest.mark.parametrize("norm", sorted(REACH))
def test_targets_by_gradient_come_by_their_exact_distance(norm):
    """Linear logits are their own linearisation: the distance is margin / dual norm of the difference of weights."""
    from safeml.attacks.norms import NORMS
    from safeml.attacks.targets import nearest_classes

    classifier, images, labels = cones(5, norm)
    logits = classifier.predict_logits(images).astype(np.float64)
    zero = np.zeros((1, SIDE, SIDE, 1), np.float32)
    units = np.eye(SIDE * SIDE, dtype=np.float32).reshape(-1, SIDE, SIDE, 1)
    weights = (classifier.predict_logits(units) - classifier.predict_logits(zero)).astype(np.float64)
    rows = np.arange(len(labels))
    size = np.linalg.norm(weights[:, labels, None] - weights[:, None, :], 1 if norm == "linf" else 2, axis=0)
    margin = logits[rows, labels][:, None] - logits
    size[rows, labels], margin[rows, labels] = 1.0, np.inf
    expected = np.argsort(margin / size, axis=1)
    for count in (1, 4):
        targets, gradients = nearest_classes(classifier, images, labels, NORMS[norm], count, batch=16)
        np.testing.assert_array_equal(targets, expected[:, :count])
        assert gradients == 4


MINIMAL = [(name, norm) for name, norm in ATTACKS_AND_NORMS if ROWS[name].minimal]


@pytest.mark.parametrize(("name", "norm"), MINIMAL)
def test_a_minimal_norm_attack_reaches_the_minimal_norm_of_two_classes(name, norm):
    _, images, _ = cones(2, norm)
    sizes = perturbation_size(images, run(name, 2, norm, LARGE[norm]).adversarial, norm)
    np.testing.assert_allclose(sizes, REACH[norm], rtol=1e-4)


@pytest.mark.parametrize(("name", "norm"), MINIMAL)
def test_a_minimal_norm_attack_is_never_nearer_than_the_nearest_class_and_mostly_reaches_it(name, norm):
    _, images, _ = cones(5, norm)
    sizes = perturbation_size(images, run(name, 5, norm, LARGE[norm]).adversarial, norm)
    assert (sizes >= REACH[norm] * (1 - 1e-4)).all()
    assert (sizes <= REACH[norm] * (1 + 1e-4)).mean() >= 0.6


def test_logits_of_ten_thousand_leave_the_attack_its_gradient():
    """The cross entropy of such logits underflows in float32; the log-odds that the attacks climb do not."""
    classifier, images, labels = cones(2, "linf")
    logits = classifier.predict_logits(images)
    margin = np.abs(logits[:, 0] - logits[:, 1])
    huge = subjects.Subject("huge", 2, lambda x: classifier.function(x) * 1e4)
    threat, budget = Threat(norm="linf", epsilon=1.5 * REACH["linf"]), Budget(10, 1, 0, 16)
    ids = np.arange(len(images))
    assert margin.min() * 1e4 > 200
    for name in ("pgd", "apgd_pm", "apgd_ce", "apgd_t"):
        outcome = ATTACKS[name](huge, images, labels, threat, budget, ids)
        assert (outcome.first_step != SURVIVED).all(), name
        assert not outcome.zero_gradients.any(), name


def survivors_of_both(classifier, images, labels, threat, steps):
    """Robust accuracy under the own PGD and under ART's, both projected and predicted again here."""
    from safeml.attacks.art.pgd import art_pgd

    size = 2.5 * threat.epsilon / steps
    own = attack(
        classifier, images, labels, threat, ProjectedGradient(step_size=size), Budget(steps, 1, 1, 128)
    )
    other = art_pgd(classifier, images, labels, threat, steps, size, 1, 128)
    return [
        float((classifier.predict_logits(project(images, found, threat)).argmax(1) == labels).mean())
        for found in (own.adversarial, other)
    ]


def test_agrees_with_art_on_a_reference_model():
    """PGD-20 at 2/255 on GTSRB test images: robust accuracy as under ART's, but for two images of 128."""
    models = sorted(
        (REPOSITORY / "models" / "lenet-gtsrb").glob("*.keras"), key=lambda path: path.stat().st_mtime
    )
    data = Path(os.environ.get("SAFEML_SHARED", REPOSITORY.parent / "shared")) / "data" / "gtsrb" / "test.npz"
    if not models or not data.exists():
        pytest.skip("needs models/lenet-gtsrb/*.keras and the GTSRB test images (SAFEML_SHARED)")
    from tests.opening import open_here

    count = 128
    with np.load(data) as arrays:
        chosen = np.sort(np.random.default_rng(2).choice(len(arrays["labels"]), count, replace=False))
        images = arrays["images"][chosen].astype(np.float32) / np.float32(255)
        labels = arrays["labels"][chosen].astype(np.int64)
    classifier = open_here(models[-1]).fed(
        InputSettings(), tuple(str(number) for number in range(43)), "reference"
    )
    own, art = survivors_of_both(classifier, images, labels, Threat(norm="linf", epsilon=2 / 255), steps=20)
    assert 0 < art < 1
    assert abs(round(count * own) - round(count * art)) <= 2


def test_agrees_with_art_on_a_small_network():
    from tests.attack_cases import network

    own, art = survivors_of_both(*network(60), Threat(norm="linf", epsilon=0.03), steps=20)
    assert 0 < art < 1
    assert own <= art + 1 / 60
