"""Shadow models that are really trained find a network that memorised noise. Its twin with a trainer in NumPy is in test_audit_privacy.py."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from safeml.audits.base import AuditInputs
from safeml.audits.privacy.run import run
from safeml.audits.privacy.shadows import shadow_recipe
from safeml.classifiers.base import InputSpec
from safeml.classifiers.batches import BatchSize
from safeml.stages.privacy import PrivacySettings, ShadowRecipe
from tests.leaks import K, images_of_signs

pytestmark = [pytest.mark.slow, pytest.mark.nightly]

RECIPE = ShadowRecipe(architecture="lenet", width=16, epochs=40, batch=30, learning_rate=0.005, augment=False)
SETTINGS = PrivacySettings(bootstrap=100, art_images=3000, shadows=16, recipe=RECIPE)


@dataclass(eq=False)
class Trained:
    """A trained network as a classifier."""

    predict_logits: Any
    name: str = "memorised"
    fingerprint: str = "d" * 64
    parameters: int = 1
    notes: tuple[str, ...] = ()
    classes: int = K
    spec: InputSpec = field(default_factory=lambda: InputSpec(height=16, width=16))
    batch: BatchSize = field(default_factory=lambda: BatchSize(64))


def test_a_network_that_memorised_noise_is_caught_by_every_attack() -> None:
    """The classes of noise images can only be memorised, so members are classified correctly and others at chance."""
    from safeml import framework

    framework.start()
    from safeml.training.shadow import train_shadow

    train, test = (images_of_signs(name, 160, 1, seed) for seed, name in enumerate(("train", "test")))
    given = AuditInputs(None, test, train)  # type: ignore[arg-type]
    recipe = shadow_recipe(given, SETTINGS)
    assert not isinstance(recipe, str)
    model = Trained(train_shadow(recipe, train))
    assert (model.predict_logits(train.images).argmax(axis=1) == train.labels).mean() > 0.95
    result = run(AuditInputs(model, test, train), SETTINGS)  # type: ignore[arg-type]
    of = {(metric.name, metric.slice): metric for metric in result.metrics}
    for attack in ("threshold", "lira"):
        assert of["membership_auc", attack].value > 0.75, attack
        assert of["membership_advantage", attack].low > 0.1, attack
    # A forest fitted on so few images may miss its planted leak: then it says so, and never that there is no leak.
    art = of["membership_auc", "art"]
    assert "misses a planted leak" in art.reason if art.value is None else art.value > 0.75
