"""Transfer attacks: images made on a surrogate count where they break the model, and only there."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from safeml.attacks.base import SURVIVED, Budget
from safeml.attacks.fgsm import fgsm
from safeml.attacks.momentum import momentum
from safeml.audits.adversarial.run import run
from safeml.audits.base import AuditInputs
from safeml.data.dataset import ImageDataset
from safeml.metrics.perturbation import perturbation_size
from safeml.results import StageResult
from safeml.settings.model import SurrogateSettings
from safeml.stages.adversarial import AdversarialSettings
from safeml.threats import Threat
from tests import subjects
from tests.records import codes, metric, table_rows

pytestmark = pytest.mark.slow

N = 32
WIDE, NARROW = Threat(norm="linf", epsilon=0.1), Threat(norm="linf", epsilon=0.03)
QUICK = {
    "images": N,
    "steps": 12,
    "batch": 16,
    "apgd_steps": 15,
    "fmn_steps": 15,
    "queries": 60,
    "targets": 3,
}
QUICK |= {
    "certify": False,
    "attacks": ("fgsm", "pgd"),
    "surrogate": SurrogateSettings(path="/home/me/copy.keras"),
}
TITLE = "Transfer (MI-FGSM)"


def stroke_images() -> ImageDataset:
    images, labels = subjects.strokes(N, seed=2)
    names = tuple(f"direction {number}" for number in range(subjects.STROKES))
    return ImageDataset("strokes", images, labels, names, frames_per_sign=1)


def audit(target: Any, surrogate: Any, threat: Threat = WIDE, **changes: Any) -> StageResult:
    settings = AdversarialSettings(**{**QUICK, "threats": (threat,), **changes})
    return run(AuditInputs(target, stroke_images(), surrogate=surrogate), settings)


@pytest.fixture(scope="module")
def plain() -> subjects.Subject:
    return replace(subjects.stroke_network(), name="plain", fingerprint="a" * 64)


@pytest.fixture(scope="module")
def other() -> subjects.Subject:
    """Trained as the plain one, from other random weights."""
    return replace(subjects.stroke_network(seed=4), name="other", fingerprint="b" * 64, parameters=1234)


@pytest.fixture(scope="module")
def rounded(plain: subjects.Subject) -> subjects.Subject:
    """Its gradient is zero everywhere, and it is no more robust than the plain one."""
    return replace(subjects.stepped(plain), spec=plain.spec)


@pytest.fixture(scope="module")
def masked(rounded: subjects.Subject, other: subjects.Subject) -> StageResult:
    return audit(rounded, other)


@pytest.fixture(scope="module")
def honest(plain: subjects.Subject, other: subjects.Subject) -> StageResult:
    return audit(plain, other, NARROW, attacks=("fgsm", "pgd", "fmn", "apgd_ce", "apgd_t", "square"))


def test_a_copy_breaks_what_a_hidden_gradient_left_and_that_is_a_flag(masked):
    assert metric(masked, f"robust_accuracy.{WIDE.label}.pgd").value >= 0.5
    found = metric(masked, f"transfer_success.{WIDE.label}")
    assert found.value >= 0.8
    assert found.low < found.value <= found.high
    assert "masking_surrogate" in codes(masked)
    assert metric(masked, "masking_flags").n == 14
    [row] = table_rows(masked, "transfer")
    assert row["news"] > 2
    assert metric(masked, f"robust_accuracy.{WIDE.label}").value <= 1 - row["news"] / N


def test_a_transfer_is_in_the_ledger_and_in_every_table(masked):
    assert "transfer" in {row["linf_by"] for row in table_rows(masked, "ledger")}
    assert {row["linf_step"] for row in table_rows(masked, "ledger") if row["linf_by"] == "transfer"} == {12}
    [threat] = [row for row in table_rows(masked, "threats") if row["knowledge"] == "transfer"]
    assert (threat["atlas"], threat["nist"], threat["by"]) == (
        "AML.T0043.002",
        "NISTAML.025",
        "MI-FGSM on other",
    )
    [row] = [row for row in table_rows(masked, "attacks") if row["attack"] == TITLE]
    assert row[WIDE.label] <= 0.2
    [cost] = [row for row in table_rows(masked, "budget") if row["attack"] == TITLE]
    assert (cost["effort"], cost["gradients"], cost["queries"]) == ("12 × 1", 12 * cost["images"], None)


def test_the_report_says_what_was_tested_and_what_was_not(masked, plain):
    untested = {fact.label: fact.value for fact in masked.not_tested}
    assert "Transfer attacks" not in untested
    assert "surrogates other than other" in untested["Other transfer attacks"]
    assert any("crafted on other" in sentence for sentence in masked.meaning)
    assert f"surrogate {'b' * 64}" in masked.reproduce
    assert len(masked.facts) <= 5
    assert masked.provenance is not None
    assert masked.provenance.settings["surrogate"]["path"] == "copy.keras"  # without its folder
    without = audit(plain, None)  # the settings name one, and it was not opened
    assert "Transfer attacks" in {fact.label for fact in without.not_tested}
    assert metric(without, "masking_flags").n == 13
    assert not [m for m in without.metrics if m.name.startswith("transfer")]


def test_an_honest_pair_raises_nothing(honest):
    assert not codes(honest)
    assert (metric(honest, "masking_flags").value, metric(honest, "masking_flags").n) == (0, 14)
    assert 0 < metric(honest, f"robust_accuracy.{NARROW.label}").value < 1


def test_only_what_breaks_the_model_counts(honest, plain, other):
    """Counted by the test itself: what breaks the surrogate alone is no success, though the attack calls it one."""
    data = stroke_images()
    images = data.images.astype(np.float32) / np.float32(255)
    rows = np.flatnonzero(plain.predict_logits(images).argmax(1) == data.labels)
    budget = Budget(12, 1, seed=7, batch=16, clean_checked=True)
    found = momentum(other, images[rows], data.labels[rows], NARROW, budget, rows)
    broken = plain.predict_logits(found.adversarial).argmax(1) != data.labels[rows]
    at_home = other.predict_logits(found.adversarial).argmax(1) != data.labels[rows]
    assert 0 < broken.sum() < at_home.sum()
    assert metric(honest, f"transfer_success.{NARROW.label}").value == pytest.approx(broken.mean())
    [row] = table_rows(honest, "transfer")
    assert (row["given"], row["broken"]) == (len(rows), broken.sum())
    assert row["surrogate"] == pytest.approx(1 - at_home.mean())
    assert ((found.first_step != SURVIVED) == at_home).all()


def test_a_surrogate_that_was_not_broken_proves_nothing(plain, rounded):
    """Its gradient is zero: nothing is made on it, so that nothing transfers."""
    result = audit(plain, replace(rounded, name="blunt"), NARROW)
    assert "surrogate_unbroken" in codes(result)
    found = metric(result, f"transfer_success.{NARROW.label}")
    assert (found.value, found.high) == (0, 1)


def test_a_surrogate_that_does_another_task_proves_nothing(plain):
    result = audit(plain, subjects.constant(subjects.STROKES), NARROW)
    [finding] = [finding for finding in result.findings if finding.code == "surrogate_unfit"]
    assert "no evidence of robustness" in finding.message
    assert metric(result, f"transfer_success.{NARROW.label}").high == 1


def test_a_model_without_a_gradient_is_attacked_by_transfer_and_stays_unmeasured(plain, other):
    result = audit(subjects.Answering(plain), other, attacks=("square",))
    assert metric(result, f"transfer_success.{WIDE.label}").value >= 0.8
    assert metric(result, f"robust_accuracy.{WIDE.label}").value is None
    assert metric(result, "masking_flags").value is None
    assert "transfer" in {row["linf_by"] for row in table_rows(result, "ledger")}
    [row] = [row for row in table_rows(result, "attacks") if row["attack"] == TITLE]
    assert row[WIDE.label] is None
    [finding] = [finding for finding in result.findings if finding.code == "no_gradient"]
    assert "by transfer from other" in finding.message


def test_where_no_image_is_right_nothing_is_transferred(other):
    result = audit(subjects.undefined(subjects.STROKES), other)
    found = metric(result, f"transfer_success.{WIDE.label}")
    assert (found.status, found.value) == ("undefined", None)


def test_two_norms_and_the_threats_of_the_full_ensemble_alone(plain, other):
    ball = Threat(norm="l2", epsilon=0.5)
    result = audit(plain, other, threats=(NARROW, WIDE, ball), full_ensemble=(WIDE.label, ball.label))
    rows = table_rows(result, "transfer")
    assert [row["threat"].split(",")[0] for row in rows] == ["L2", "L∞"]
    assert all(row["broken"] > 0 for row in rows)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_the_attack_goes_on_after_the_first_wrong_answer_and_stays_in_the_ball(plain, norm):
    images, labels = subjects.strokes(N, seed=5)
    images = images.astype(np.float32) / np.float32(255)
    threat = Threat(norm=norm, epsilon=0.1 if norm == "linf" else 1.0)
    right = plain.predict_logits(images).argmax(1) == labels
    images, labels, ids = images[right], labels[right], np.flatnonzero(right)

    def margin(found: np.ndarray) -> np.ndarray:
        logits = plain.predict_logits(found).copy()
        own = logits[np.arange(len(labels)), labels]
        logits[np.arange(len(labels)), labels] = -np.inf
        return logits.max(axis=1) - own

    budget = Budget(10, 1, seed=3, batch=8, clean_checked=True)
    found = momentum(plain, images, labels, threat, budget, ids)
    size = perturbation_size(images, found.adversarial, norm)
    assert (size <= threat.epsilon * (1 + 1e-5)).all()
    assert (
        margin(found.adversarial) > margin(fgsm(plain, images, labels, threat, budget, ids).adversarial)
    ).mean() > 0.9
    assert (found.evaluations == 10).all()
    again = momentum(
        plain, images[::-1].copy(), labels[::-1].copy(), threat, replace(budget, batch=32), ids[::-1].copy()
    )
    np.testing.assert_allclose(again.adversarial[::-1], found.adversarial, atol=1e-6)


def test_a_linear_classifier_breaks_the_more_the_larger_epsilon():
    rng = np.random.default_rng(0)
    weights, images = rng.normal(size=(36, 5)), rng.uniform(0.3, 0.7, (60, 6, 6, 1)).astype(np.float32)
    classifier = subjects.linear(weights, np.zeros(5))
    labels = classifier.predict_logits(images).argmax(1)
    budget, broken = Budget(8, 1, seed=3, batch=16), np.zeros(60, bool)
    for epsilon in (0.001, 0.01, 0.05, 0.2):
        found = momentum(
            classifier, images, labels, Threat(norm="linf", epsilon=epsilon), budget, np.arange(60)
        )
        now = found.first_step != SURVIVED
        size = perturbation_size(images, found.adversarial, "linf")
        np.testing.assert_allclose(size, epsilon, rtol=1e-3)  # of survivors too: they may break another model
        assert (now | ~broken).all()
        broken = now
    assert broken.mean() > 0.9


def test_gradients_are_gathered_on_the_way():
    """One pixel rises steeply, and falls slowly past a kink, where the other takes over: a single gradient would turn back.

    Scaled to a mean of one, the gradients are (1.8, 0.2) and then (-0.2, 1.8); their sum still points up for both.
    """
    import tensorflow as tf

    def function(x: Any) -> Any:
        first, second = x[:, 0, 0, 0], x[:, 0, 1, 0]
        past = first > 0.52
        rising = tf.where(past, 9 * 0.52 - (first - 0.52), 9 * first) + tf.where(past, 9 * second, second)
        return tf.stack([tf.zeros_like(rising), rising - 100], axis=1)

    image = np.full((1, 1, 2, 1), 0.5, np.float32)
    budget = Budget(2, 1, seed=0, batch=1)
    found = momentum(
        subjects.Subject("kink", 2, function), image, np.zeros(1, int), WIDE, budget, np.zeros(1, int)
    )
    np.testing.assert_allclose(found.adversarial, image + 0.1, atol=1e-6)


def test_a_gradient_that_is_not_finite_is_no_broken_surrogate():
    """An attack that could not follow anything must not look as if it had done its work."""
    import tensorflow as tf

    inner = subjects.corner_oracle(4)

    @tf.custom_gradient
    def function(x: Any) -> Any:
        return inner.function(x), lambda upstream: tf.fill(tf.shape(x), np.float32("nan"))

    labels = np.arange(8) % 4
    images = subjects.corner_images(labels)
    found = momentum(subjects.Subject("sick", 4, function), images, labels, WIDE, Budget(4, 1, 0, 8), labels)
    assert (found.first_step == SURVIVED).all()
    np.testing.assert_array_equal(found.adversarial, images)
