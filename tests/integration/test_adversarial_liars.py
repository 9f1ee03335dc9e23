"""Attacks that break their contract never make a model robust."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from safeml.attacks import registry
from safeml.attacks.rows import ATTACK_NAMES, ROWS
from tests.integration.adversarial_cases import (
    LIES,
    LOW,
    THREATS,
    audit,
    corner_dataset,
    ledger,
    lying,
)
from tests.records import codes, value

pytestmark = pytest.mark.slow

IN_LINF = tuple(name for name in ATTACK_NAMES if "linf" in ROWS[name].norms)


@pytest.mark.parametrize("lie", LIES)
@pytest.mark.parametrize("name", IN_LINF)
def test_an_attack_that_breaks_its_contract_never_makes_a_model_robust(monkeypatch, corner, name, lie):
    change, words = LIES[lie]
    monkeypatch.setitem(registry.ATTACKS, name, lying(change))
    result = audit(corner, attacks=(name,), threats=(THREATS[0],))
    assert value(result, f"robust_accuracy.{THREATS[0].label}") == 0
    found = [finding for finding in result.findings if finding.code == "attack_invalid"]
    assert found
    assert all(finding.severity == "serious" and finding.message.startswith(name) for finding in found)
    assert any(words in finding.message and "count as broken" in finding.message for finding in found)


@pytest.mark.parametrize("name", IN_LINF)
def test_an_attack_without_a_verdict_for_each_image_counts_as_success(monkeypatch, corner, name):
    def short(*arguments):
        outcome = lying(lambda images: images)(*arguments)
        return replace(outcome, first_step=outcome.first_step[:3])

    monkeypatch.setitem(registry.ATTACKS, name, short)
    result = audit(corner, attacks=(name,), threats=(THREATS[0],))
    assert value(result, f"robust_accuracy.{THREATS[0].label}") == 0
    assert any("no verdict" in finding.message for finding in result.findings)


@pytest.mark.parametrize("name", IN_LINF)
def test_what_the_checks_break_counts_where_an_attack_does_nothing(monkeypatch, corner, name):
    """Named alone in the settings, it leaves everything; FGSM, PGD and Square of the self-checks do not."""
    monkeypatch.setitem(registry.ATTACKS, name, lying(lambda images: images))
    result = audit(corner, attacks=(name,), threats=(THREATS[2],))
    label = f"robust_accuracy.{THREATS[2].label}"
    assert value(result, f"{label}.{name}") == 1
    assert value(result, label) == 0


def test_pgd_that_does_nothing_is_found_out(monkeypatch, corner):
    monkeypatch.setitem(registry.ATTACKS, "pgd", lying(lambda images: images))
    result = audit(corner, threats=(THREATS[2],))
    assert {"masking_iterative", "masking_unbounded"} <= codes(result)


@pytest.mark.parametrize("name", IN_LINF)
def test_an_attack_that_writes_into_its_inputs_does_not_move_the_clean_images(monkeypatch, corner, name):
    """What the next attack is given, and what the ledger measures from, are the images of the data set."""
    real, seen = dict(registry.ATTACKS), []

    def vandal(classifier, images, labels, *rest):
        images[:] = 0
        labels[:] = 0
        return real[name](classifier, images, labels, *rest)

    def witness(classifier, images, labels, threat, budget, ids):
        seen.append((images.copy(), labels.copy(), ids))
        return real[other](classifier, images, labels, threat, budget, ids)

    other = "pgd" if name == "fgsm" else "fgsm"
    monkeypatch.setitem(registry.ATTACKS, name, vandal)
    monkeypatch.setitem(registry.ATTACKS, other, witness)
    result = audit(corner, attacks=(name, other), threats=(THREATS[0],))
    data = corner_dataset()
    pixels = data.images.astype(np.float32) / np.float32(255)
    assert seen
    for images, labels, ids in seen:
        assert (images == pixels[ids]).all()
        assert (labels == data.labels[ids]).all()
    assert value(result, "clean_accuracy_attacked_sample") == 1
    # A black picture lies far outside of the ball; an attack that left it counts as successful at once.
    sizes = {row["linf_size"] for row in ledger(result)} - {None, 0.0}
    assert min(sizes, default=LOW) >= LOW


@pytest.mark.parametrize("name", IN_LINF)
def test_an_attack_that_raises_stops_the_stage_and_no_gate_passes(monkeypatch, corner, name):
    def broken(*arguments):
        raise ZeroDivisionError("no")

    monkeypatch.setitem(registry.ATTACKS, name, broken)
    with pytest.raises(ZeroDivisionError):
        audit(corner, attacks=(name,), threats=(THREATS[0],))
