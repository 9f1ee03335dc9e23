"""What must hold for the attacks of an audit taken together, whatever the classifier.

Legend: N images, K classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
import pytest

from safeml.attacks.base import SURVIVED, Budget
from safeml.attacks.registry import ATTACKS
from safeml.attacks.rows import ATTACK_NAMES
from safeml.audits.adversarial import items as adversarial_items
from safeml.audits.adversarial.campaign import Campaign
from safeml.audits.adversarial.items import Items
from safeml.audits.base import AuditInputs
from safeml.data.dataset import ImageDataset
from safeml.sealed import Arrays, Form
from safeml.stages.adversarial import AdversarialSettings
from safeml.threats import Threat
from tests.attack_cases import SPENDS, K, convolutional, network, same
from tests.attack_cases import run as attacked

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("compiled_attacks_kept")]

N, WRONG = 30, 3  # images, and how many of them carry a wrong label
TINY = (Threat(norm="linf", epsilon=1e-5), Threat(norm="l2", epsilon=1e-3))
MIDDLE = (Threat(norm="linf", epsilon=0.02), Threat(norm="l2", epsilon=0.2))
LARGE = (Threat(norm="linf", epsilon=0.05), Threat(norm="l2", epsilon=0.5))
THREATS = (*TINY, *MIDDLE, *LARGE)
# FMN's steps are no multiple of the steps between two returns to Python: slots end in the middle of a stride.
SETTINGS: dict[str, Any] = {
    "images": N,
    "steps": 8,
    "restarts": 2,
    "apgd_steps": 12,
    "targets": K - 1,
    "fmn_steps": 25,
    "ddn_steps": 25,
    "queries": 60,
    "threats": THREATS,
    "full_ensemble": tuple(threat.label for threat in MIDDLE),
}


def sample(order: np.ndarray | slice = slice(None)) -> ImageDataset:
    """Images that keep their ids in whatever order they come; the first ones carry a wrong label."""
    _, images, labels = network(N)
    labels = np.where(np.arange(N) < WRONG, (labels + 1) % K, labels).astype(np.int64)
    pictures = np.rint(images * 255).astype(np.uint8)
    names = tuple(f"sign {number}" for number in range(K))
    ids = np.arange(N, dtype=np.int64) + 100
    return ImageDataset("network", pictures[order], labels[order], names, ids=ids[order], frames_per_sign=1)


def campaign(batch: int = 16, order: np.ndarray | slice = slice(None), work: Any = None) -> Campaign:
    data, settings = sample(order), AdversarialSettings(batch=batch, **SETTINGS)
    inputs = AuditInputs(convolutional(), data, **({} if work is None else {"work": work}))
    ran = Campaign(Items.of(inputs, data, settings), settings, MIDDLE[0], lambda *told: None)
    ran.run(settings.attacks)
    return ran


@cache
def whole() -> Campaign:
    return campaign()


def same_ledger(other: Campaign, order: np.ndarray | slice = slice(None)) -> None:
    """What broke an image, at which step and attempt, and how far away; of one image at most, rounding may tip it."""
    differ = np.zeros(N, bool)
    for norm, nearest in whole().nearest.items():
        theirs = other.nearest[norm]
        for name in ("by", "step", "attempt"):
            differ |= getattr(nearest, name)[order] != getattr(theirs, name)
        # FMN's bisection ends at 4e-6 of the way; images that none has broken are infinitely far in both.
        differ |= ~np.isclose(nearest.size[order], theirs.size, rtol=1e-5, atol=1e-6)
    for threat, broken in whole().broken.items():
        differ |= broken[order] != other.broken[threat]
    assert differ.sum() <= 1, f"images {np.flatnonzero(differ).tolist()} differ"


def robust(ran: Campaign) -> dict[Threat, np.ndarray]:
    return {threat: ran.survivors(threat) for threat in THREATS}


def test_the_ensemble_is_at_most_each_of_its_attacks():
    left = robust(whole())
    assert 0 < left[MIDDLE[0]].sum() < N - WRONG
    assert {name for name, _ in whole().hits} == set(ATTACK_NAMES)
    for (name, threat), hits in whole().hits.items():
        assert not (left[threat] & hits).any(), (name, threat.label)
    for (name, threat), measured in whole().measured.items():
        assert (left[threat] <= measured.robust).all(), (name, threat.label)


def test_robust_accuracy_never_rises_with_epsilon():
    left = robust(whole())
    for norm in range(2):
        near, middle, far = (left[threats[norm]] for threats in (TINY, MIDDLE, LARGE))
        assert (far <= middle).all()
        assert (middle <= near).all()
        assert far.sum() < near.sum()


def test_an_epsilon_of_almost_nothing_leaves_clean_accuracy():
    for threat in TINY:
        np.testing.assert_array_equal(whole().survivors(threat), whole().items.clean.right)
    assert whole().items.clean.right.sum() == N - WRONG


@pytest.mark.parametrize("batch", [1, 7, 64])
def test_batches_change_no_entry_of_the_ledger(batch):
    same_ledger(campaign(batch))


def test_the_order_of_the_images_changes_no_entry_of_the_ledger():
    order = np.random.default_rng(4).permutation(N)
    same_ledger(campaign(order=order), order)


def test_slices_change_no_entry_of_the_ledger(monkeypatch):
    monkeypatch.setattr(adversarial_items, "SLICE", 7)
    slices: list[int] = []

    def work(item: str, parts: Mapping[str, Any], form: Form, measure: Any, cost: Any) -> Arrays:
        arrays: Arrays = measure()
        slices.append(len(next(iter(arrays.values()))))
        return arrays

    same_ledger(campaign(batch=7, work=work))
    assert max(slices) <= 7


@pytest.mark.parametrize("name", sorted(ATTACKS))
def test_an_image_fares_the_same_among_other_neighbours(name):
    classifier, images, labels = network(N)
    chosen = np.array([3, 11, 20, 28])
    together = attacked(name, classifier, images, labels)
    alone = attacked(name, classifier, images[chosen], labels[chosen], ids=chosen)
    strangers = np.concatenate([np.random.default_rng(0).permuted(images[:9], axis=1), images[chosen]])
    answers = classifier.predict_logits(strangers).argmax(1)
    ids = np.concatenate([np.arange(9) + 900, chosen])
    among = attacked(name, classifier, strangers, answers, ids=ids)
    fields = type(together).__dataclass_fields__
    same(type(together)(*(getattr(together, field)[chosen] for field in fields)), alone)
    same(type(among)(*(getattr(among, field)[9:] for field in fields)), alone)


def test_other_seeds_are_other_starts():
    classifier, images, labels = network(N)
    threat = Threat(norm="l2", epsilon=1e-2)
    found = [
        ATTACKS["pgd"](classifier, images, labels, threat, Budget(2, 1, seed, 16), np.arange(N))
        for seed in (1, 1, 2)
    ]
    np.testing.assert_array_equal(found[0].adversarial, found[1].adversarial)
    assert (np.abs(found[0].adversarial - found[2].adversarial).max(axis=(1, 2, 3)) > 1e-6).all()


def test_no_attack_breaks_a_certified_image():
    """Interval bounds hold for every image in the ball (S. Gowal et al., 2018)."""
    from safeml.certification.ibp import certified_radius

    classifier, images, labels = network(N)
    radius = certified_radius(classifier, images, labels, most=1.0, batch=N)
    epsilon = float(np.median(radius))
    assert epsilon > 1e-3
    certified = radius >= epsilon
    for name in SPENDS:
        rows = np.flatnonzero(certified)
        outcome = attacked(name, classifier, images[rows], labels[rows], epsilon=epsilon, ids=rows)
        assert (outcome.first_step == SURVIVED).all(), name
    # The same attacks do break images that are not certified, in a larger ball.
    assert (attacked("apgd_t", classifier, images, labels, epsilon=0.1).first_step != SURVIVED).any()
