"""The order of attacks, the ledger of images, and proofs that no attack contradicts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from safeml.attacks import registry
from safeml.attacks.rows import ATTACK_NAMES
from safeml.certification import ibp
from safeml.classifiers.base import InputSpec
from safeml.data.dataset import ImageDataset
from safeml.errors import StageError
from safeml.results import Curve
from safeml.threats import Threat
from tests import subjects
from tests.integration.adversarial_cases import (
    CHEAP,
    EXPENSIVE,
    LIES,
    THREATS,
    K,
    N,
    audit,
    ledger,
    lying,
)
from tests.records import codes, table, value

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def strokes():
    images, labels = subjects.strokes(N, seed=2)
    return ImageDataset("strokes", images, labels, tuple("abcd"), frames_per_sign=1)


@pytest.fixture(scope="module")
def network():
    return subjects.stroke_network()


@pytest.fixture(scope="module")
def small():
    return tuple(Threat(norm="linf", epsilon=epsilon) for epsilon in (0.015, 0.025, 0.04))


@pytest.fixture(scope="module")
def campaign(network, strokes, small):
    """An audit of a network that is partly robust, and what each attack was given and broke, asked again by the test."""
    calls = []

    def watched(name, real):
        def attack(classifier, images, labels, threat, budget, ids):
            given = images.copy()
            found = real(classifier, images, labels, threat, budget, ids)
            size = np.abs(found.adversarial - given).max(axis=(1, 2, 3))
            wrong = network.predict_logits(found.adversarial).argmax(1) != labels
            calls.append((name, threat.epsilon, ids.copy(), np.where(wrong, size, np.inf)))
            return found

        return attack

    with pytest.MonkeyPatch.context() as patch:
        for name, real in list(registry.ATTACKS.items()):
            patch.setitem(registry.ATTACKS, name, watched(name, real))
        result = audit(network, strokes, threats=small, full_ensemble=tuple(t.label for t in small[:2]))
    return result, calls


def test_expensive_attacks_get_exactly_the_survivors(campaign, small):
    """Survivors: images without an adversarial example at this epsilon or a smaller one, counted by the test."""
    result, calls = campaign
    nearest = np.where([row["clean"] == "right" for row in ledger(result)], np.inf, 0.0)
    seen = 0
    for name, epsilon, ids, sizes in calls:
        if name in EXPENSIVE:
            assert set(ids) == set(np.flatnonzero(nearest > epsilon + 1e-6))
            seen += 1
        nearest[ids] = np.minimum(nearest[ids], sizes)
    assert seen >= 4
    assert {epsilon for name, epsilon, *_ in calls if name in EXPENSIVE} <= {t.epsilon for t in small[:2]}
    for threat in small:
        assert value(result, f"robust_accuracy.{threat.label}") == (nearest > threat.epsilon + 1e-6).mean()


def test_what_breaks_at_a_smaller_epsilon_is_broken_at_a_larger(campaign, small):
    result, _ = campaign
    left = [value(result, f"robust_accuracy.{threat.label}") for threat in small]
    assert left == sorted(left, reverse=True)
    assert any(0 < share < 1 for share in left)  # partly robust: the test above saw both
    curve = next(figure for figure in result.figures if isinstance(figure, Curve))
    main = next(series for series in curve.series if series.role == "main")
    assert main.x == sorted(main.x)
    assert main.y == sorted(main.y, reverse=True)
    at = dict(zip(main.x, main.y, strict=True))
    assert [at[threat.epsilon] for threat in small] == left


def test_the_ledger_accounts_for_every_image(campaign, small):
    result, _ = campaign
    rows = ledger(result)
    assert [row["image"] for row in rows] == list(range(N))
    broken = [row for row in rows if row["linf_by"] is not None]
    assert broken
    for row in broken:
        assert str(row["linf_by"]).split(" (")[0] in (*ATTACK_NAMES, "random noise")
        assert row["linf_size"] > 0
        assert row["linf_step"] >= 0
        assert row["linf_attempt"] >= 1
        assert row["clean"] == "right"
    for threat in small:
        within = sum(row["linf_size"] <= 255 * threat.epsilon + 1e-3 for row in broken)
        wrong = sum(row["clean"] == "wrong" for row in rows)
        assert value(result, f"robust_accuracy.{threat.label}") == pytest.approx(1 - (within + wrong) / N)


def test_a_threat_outside_the_full_ensemble_shows_what_was_not_run(campaign, small):
    result, _ = campaign
    rows = {row[0]: row[2:] for row in table(result, "attacks").rows}
    for title in ("APGD-PM", "APGD-CE", "APGD-T", "Square"):
        assert rows[title][2] is None
        assert None not in rows[title][:2]
    assert None not in rows["worst case"]
    for number, threat in enumerate(small):
        assert rows["worst case"][number] == value(result, f"robust_accuracy.{threat.label}")
        falling = [rows[title][number] for title in list(rows) if rows[title][number] is not None]
        assert falling == sorted(falling, reverse=True)
    names = {metric.name for metric in result.metrics}
    assert not {f"robust_accuracy.{small[2].label}.{name}" for name in EXPENSIVE} & names
    assert {f"robust_accuracy.{small[0].label}.{name}" for name in EXPENSIVE} <= names


def test_an_image_that_is_wrong_when_clean_is_nobodys_success(network, strokes, small):
    """Half of the labels are wrong: no attack is said to have broken those."""
    labels = np.where(np.arange(N) % 2 == 0, strokes.labels, (strokes.labels + 1) % K)
    result = audit(
        network,
        replace(strokes, labels=labels),
        threats=(Threat(norm="linf", epsilon=0.2),),
        attacks=("pgd",),
    )
    right = round(value(result, "clean_accuracy_attacked_sample") * N)
    assert right <= N // 2 + 2
    row = next(row for row in table(result, "budget").rows if row[0] == "PGD")
    assert (row[3], row[4]) == (N, right)


def test_a_proof_never_contradicts_an_attack(network, strokes):
    """Per image: what breaks it lies further out than its proven radius. At least some radii say something."""
    threats = tuple(Threat(norm="linf", epsilon=epsilon) for epsilon in (0.001, 0.01, 0.05))
    result = audit(network, strokes, threats=threats, certify=True)
    pixels = strokes.images.astype(np.float32) / np.float32(255)
    radius = ibp.certified_radius(network, pixels, strokes.labels, threats[-1].epsilon, halvings=7)
    assert (radius > 0).mean() > 0.5
    for row, proven in zip(ledger(result), radius, strict=True):
        if row["linf_size"] is not None:
            assert row["linf_size"] / 255 > proven - 1e-5
    for threat in threats:
        proven = value(result, f"certified_accuracy.{threat.label}")
        assert proven == ((radius >= threat.epsilon) & (radius > 0)).mean()
        assert proven <= value(result, f"robust_accuracy.{threat.label}")
    assert value(result, f"certified_accuracy.{threats[0].label}") > 0.5


def test_a_proof_that_an_attack_contradicts_ends_the_stage(monkeypatch, network, strokes):
    def everything(classifier, images, labels, most, halvings, batch):
        return np.full(len(images), float(most))

    monkeypatch.setattr(ibp, "certified_radius", everything)
    threat = Threat(norm="linf", epsilon=0.05)
    with pytest.raises(StageError, match=r"have an adversarial example inside their certified radius"):
        audit(network, strokes, threats=(threat,), attacks=CHEAP, certify=True)


def test_an_attack_with_faults_contradicts_no_proof(monkeypatch, network, strokes):
    """It counts as successful, and the finding names the attack; no contradiction is reported."""
    monkeypatch.setitem(registry.ATTACKS, "pgd", lying(LIES["nan"][0]))
    threat = Threat(norm="linf", epsilon=0.001)
    result = audit(network, strokes, threats=(threat,), attacks=CHEAP, certify=True)
    assert "attack_invalid" in codes(result)
    assert value(result, f"robust_accuracy.{threat.label}") == 0
    assert value(result, f"certified_accuracy.{threat.label}") > 0.5


def test_smoothing_asks_images_of_every_class_of_sorted_data():
    """The first class by a wide margin, the second by a hair: of both, and not of what stands first in the file."""
    import tensorflow as tf

    def logits(x):
        grey = 255.0 * tf.reduce_mean(x, axis=[1, 2, 3])
        return tf.stack([100.0 - grey, grey - 127.0], axis=1)

    labels = np.repeat(np.arange(2), 30)
    images = np.where(labels == 0, 20, 114)[:, None, None, None].repeat(8, 1).repeat(8, 2).astype(np.uint8)
    images += np.random.default_rng(0).integers(0, 2, images.shape, dtype=np.uint8)
    signs = ImageDataset("sorted", images, labels.astype(np.int64), ("dark", "grey"), frames_per_sign=1)
    model = subjects.Subject("by brightness", 2, logits, InputSpec(height=8, width=8, channels="grey"))
    result = audit(
        model,
        signs,
        threats=(THREATS[0], Threat(norm="l2", epsilon=0.1)),
        attacks=("fgsm",),
        certify=True,
        smoothed_images=6,
        smoothing_samples=100,
    )
    found = next(metric for metric in result.metrics if metric.name == "smoothed_accuracy.l2_0.1")
    assert found.n == 6
    assert 0.2 < found.value < 0.8
