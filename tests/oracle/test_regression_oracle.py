"""Attacks on regression models against closed forms, and what counts as a regression model. Legend: N images, D pixels, T targets."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from safeml.attacks.apgd import apgd_ce, apgd_t
from safeml.attacks.ascent import ascend
from safeml.attacks.base import SURVIVED, Budget
from safeml.attacks.ddn import ddn
from safeml.attacks.fgsm import fgsm
from safeml.attacks.fmn import fmn
from safeml.attacks.pgd import pgd
from safeml.attacks.square import square
from safeml.audits.adversarial.run import run
from safeml.audits.base import AuditInputs
from safeml.classifiers.base import InputSpec, head_of
from safeml.classifiers.judged import Judged
from safeml.data.dataset import ImageDataset
from safeml.data.targets import Targets
from safeml.errors import InputRefused
from safeml.results import StageResult
from safeml.settings.model import InputSettings
from safeml.settings.targets import TargetSettings
from safeml.stages.adversarial import AdversarialSettings
from safeml.threats import Threat
from tests.records import metric, value
from tests.subjects import Subject, linear

pytestmark = pytest.mark.slow

SIDE, N, TOLERANCE = 4, 12, 0.5
D = SIDE * SIDE
LINF, L2 = Threat(norm="linf", epsilon=0.03), Threat(norm="l2", epsilon=0.2)
TARGET = TargetSettings(name="angle", unit="degrees", range=(-10.0, 10.0), tolerance=TOLERANCE)
SPEC = InputSpec(height=SIDE, width=SIDE, channels="grey", outputs="values")


def weights() -> np.ndarray:
    """[D, 1]; some entries are negative, none is near 0."""
    drawn = np.random.default_rng(4).uniform(0.2, 1.0, (D, 1))
    return drawn * np.where(np.arange(D)[:, None] % 3 == 0, -1, 1)


def model() -> Subject:
    return replace(linear(weights(), np.array([0.3])), spec=SPEC)


def material() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Images float32 [N, 4, 4, 1] far from black and white, so that no pixel is clipped; targets and clean errors, float32 [N, 1]."""
    rng = np.random.default_rng(6)
    images = rng.uniform(0.35, 0.65, (N, SIDE, SIDE, 1)).astype(np.float32)
    images = np.rint(images * 255).astype(np.float32) / np.float32(255)
    errors = rng.uniform(-0.6, 0.6, (N, 1)).astype(np.float32)
    values = model().predict_logits(images)
    return images, (values - errors).astype(np.float32), errors


@cache  # an attack is compiled once for each object
def judged() -> Judged:
    return Judged(model(), ("angle",), np.array([TOLERANCE], np.float32))


def budget(steps: int, attempts: int = 1) -> Budget:
    return Budget(steps, attempts, seed=1, batch=8)


def reach(threat: Threat) -> float:
    """How far a linear model's value moves at most within a ball: epsilon times the dual norm of its weights."""
    own = weights()
    return threat.epsilon * float(
        np.abs(own).sum() if threat.norm == "linf" else np.sqrt(np.square(own).sum())
    )


@pytest.mark.parametrize("threat", [LINF, L2], ids=["linf", "l2"])
def test_the_ascent_reaches_the_largest_error_of_a_linear_model(threat: Threat) -> None:
    images, targets, errors = material()
    for side, sign in ((1, 1), (2, -1)):
        found = ascend(judged(), images, targets, threat, budget(40), np.arange(N), side)
        moved = model().predict_logits(found) - targets
        assert sign * moved[:, 0] == pytest.approx(sign * errors[:, 0] + reach(threat), abs=1e-4)


@pytest.mark.parametrize("attack", [fgsm, pgd, apgd_ce, apgd_t], ids=lambda attack: attack.__name__)
@pytest.mark.parametrize("threat", [LINF, L2], ids=["linf", "l2"])
def test_attacks_break_exactly_what_can_leave_the_tolerance(attack: Any, threat: Threat) -> None:
    images, targets, errors = material()
    outcome = attack(judged(), images, targets, threat, budget(20, 2), np.arange(N))
    breakable = np.abs(errors[:, 0]) + reach(threat) > TOLERANCE
    assert ((outcome.first_step != SURVIVED) == breakable).all()
    assert ((outcome.first_step == 0) == (np.abs(errors[:, 0]) > TOLERANCE)).all()


@pytest.mark.parametrize(("attack", "norm"), [(fmn, "linf"), (fmn, "l2"), (ddn, "l2")])
def test_the_nearest_miss_of_a_linear_model_is_the_closed_form(attack: Any, norm: str) -> None:
    images, targets, errors = material()
    wide = Threat(norm=norm, epsilon=1.0)
    outcome = attack(judged(), images, targets, wide, budget(100), np.arange(N))
    change = (outcome.adversarial - images).reshape(N, -1)
    size = np.abs(change).max(axis=1) if norm == "linf" else np.sqrt(np.square(change).sum(axis=1))
    right = np.abs(errors[:, 0]) <= TOLERANCE
    nearest = (TOLERANCE - np.abs(errors[:, 0])) / reach(Threat(norm=norm, epsilon=1.0))
    assert size[right] == pytest.approx(nearest[right], rel=0.02, abs=2e-4)


def test_queries_alone_find_a_miss_too() -> None:
    images, targets, errors = material()
    outcome = square(judged(), images, targets, LINF, budget(200), np.arange(N))
    broken = outcome.first_step != SURVIVED
    assert not (broken & (np.abs(errors[:, 0]) + reach(LINF) <= TOLERANCE)).any()
    assert broken.sum() > (np.abs(errors[:, 0]) > TOLERANCE).sum()


@pytest.fixture(scope="module")
def audited() -> StageResult:
    images, targets, _ = material()
    data = ImageDataset(
        "linear",
        np.rint(images * 255).astype(np.uint8),
        np.zeros(N, np.int64),
        ("image",),
        frames_per_sign=1.0,
        targets=Targets(targets.astype(np.float64), (TARGET,)),
    )
    settings = AdversarialSettings(
        images=N,
        steps=10,
        apgd_steps=20,
        targets=2,
        fmn_steps=20,
        ddn_steps=20,
        queries=50,
        threats=(Threat(norm="linf", epsilon=0.01), LINF, L2),
    )
    return run(AuditInputs(model(), data), settings)


def test_the_stage_measures_the_closed_forms(audited: StageResult) -> None:
    _, _, errors = material()
    size = np.abs(errors[:, 0])
    assert value(audited, "clean_accuracy_attacked_sample") == pytest.approx((size <= TOLERANCE).mean())
    for threat in (Threat(norm="linf", epsilon=0.01), LINF, L2):
        worst = size + reach(threat)
        assert value(audited, f"robust_accuracy.{threat.label}") == pytest.approx((worst <= TOLERANCE).mean())
        assert value(audited, f"worst_mae.{threat.label}") == pytest.approx(worst.mean(), abs=1e-4)
        assert value(audited, f"worst_error_max.{threat.label}", "target:angle") == pytest.approx(
            worst.max(), abs=1e-4
        )
    rising = [value(audited, f"worst_mae.{t.label}") for t in (Threat(norm="linf", epsilon=0.01), LINF)]
    assert rising == sorted(rising, key=lambda found: found or 0.0)


def test_the_stage_says_what_does_not_apply(audited: StageResult) -> None:
    facts = {fact.label: fact.value for fact in audited.not_tested}
    assert facts["Check of a saturated softmax"] == "does not apply"
    assert metric(audited, "certified_accuracy.linf_2.55").status == "undefined"
    checks = next(figure for figure in audited.figures if figure.id == "masking")
    assert len(checks.rows) == 12  # type: ignore[union-attr]


# What counts as a regression model


@pytest.fixture(scope="module")
def networks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    import keras

    folder = tmp_path_factory.mktemp("networks")
    made = {}
    for name, units, activation in (
        ("one", 1, None),
        ("two", 2, None),
        ("softmax", 2, "softmax"),
        ("sigmoid", 1, "sigmoid"),
    ):
        pixels = keras.Input((SIDE, SIDE, 1))
        outputs = keras.layers.Dense(units, activation=activation)(keras.layers.Flatten()(pixels))
        made[name] = folder / f"{name}.keras"
        keras.Model(pixels, outputs).save(made[name])
    return made


def opened(file: Path) -> Any:
    from tests.opening import open_here

    return open_here(file)


VALUES = InputSettings(channels="grey", outputs="values")


def test_linear_outputs_are_values_only_where_that_is_declared(networks: dict[str, Path]) -> None:
    regression = opened(networks["one"]).fed(VALUES, ("angle",), "one")
    assert head_of(regression) == "regression"
    assert regression.predict_logits(np.zeros((2, SIDE, SIDE, 1), np.uint8)).shape == (2, 1)
    classifier = opened(networks["two"]).fed(InputSettings(channels="grey"), ("a", "b"), "two")
    assert head_of(classifier) == "classification"


@pytest.mark.parametrize("name", ["softmax", "sigmoid"])
def test_a_classifier_is_refused_as_a_regression(networks: dict[str, Path], name: str) -> None:
    with pytest.raises(InputRefused, match="softmax or a sigmoid, so it is a classifier"):
        opened(networks[name]).fed(VALUES, ("a", "b") if name == "softmax" else ("a",), name)


def test_each_output_needs_a_target(networks: dict[str, Path]) -> None:
    with pytest.raises(InputRefused, match=r"gives 2 values; \[\[data.targets\]\] declares 1"):
        opened(networks["two"]).fed(VALUES, ("a",), "two")
    with pytest.raises(InputRefused, match="without a sigmoid"):
        opened(networks["one"]).fed(InputSettings(channels="grey"), ("a", "b"), "one")


def test_tensors_and_arrays_are_judged_alike() -> None:
    images, targets, _ = material()
    values = model().predict_logits(images)
    tensors, labels = judged().judge(values, targets)
    arrays, _ = judged().judge_arrays(values, targets)
    assert np.asarray(tensors) == pytest.approx(arrays, abs=1e-6)
    assert not np.asarray(labels).any()
