"""The audit on networks that hide their gradient, and on networks that do not: flags, the second look, and the gates."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from safeml.attacks import registry, views
from safeml.attacks.base import SURVIVED, Budget
from safeml.attacks.rows import ATTACK_NAMES
from safeml.audits.adversarial.evidence import LEAST_SURVIVORS
from safeml.audits.adversarial.power import LEAST_QUERIES
from safeml.audits.adversarial.run import run
from safeml.audits.base import AuditInputs
from safeml.audits.linearity import PROBE_SIZE
from safeml.data.dataset import ImageDataset
from safeml.gates import decide
from safeml.results import Gate, StageResult
from safeml.settings.model import InputSettings
from safeml.stages.adversarial import AdversarialSettings
from safeml.threats import Threat
from tests import subjects
from tests.opening import open_here
from tests.records import codes, metric

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("compiled_attacks_kept")]

ROOT = Path(__file__).parents[2]
SHARED = Path(os.environ.get("SAFEML_SHARED", ROOT.parent / "shared"))
N = 32
THREAT = Threat(norm="linf", epsilon=0.1)
NAME = f"robust_accuracy.{THREAT.label}"
SIGNS = (
    "zero_gradient",
    "saturated",
    "stopped",
    "random",
    "silent",
    "transfer",
    "converged",
    "unbounded",
    "epsilon",
    "iterative",
    "noise",
)
CHECKS = tuple(f"masking_{sign}" for sign in (*SIGNS, "queries", "shattered"))
MASKS = ("signs", "saturated", "rounded", "noisy")


def audit(classifier: Any, data: ImageDataset | None = None, **changes: Any) -> StageResult:
    quick = {"images": N, "steps": 12, "batch": 16, "apgd_steps": 15, "fmn_steps": 15, "queries": 100}
    quick |= {"targets": 3, "certify": False, "threats": (THREAT,), "attacks": ("fgsm", "pgd")}
    return run(AuditInputs(classifier, data or stroke_images()), AdversarialSettings(**{**quick, **changes}))


def stroke_images(count: int = N) -> ImageDataset:
    images, labels = subjects.strokes(count, seed=2)
    names = tuple(f"direction {number}" for number in range(subjects.STROKES))
    return ImageDataset("strokes", images, labels, names, frames_per_sign=1)


def matrix(result: StageResult) -> dict[str, list[Any]]:
    """Accuracy left at each threat, by the title of the attack."""
    return {str(row[0]): list(row[2:]) for row in figure(result, "attacks").rows}


def figure(result: StageResult, name: str) -> Any:
    return next(figure for figure in result.figures if figure.id == name)


@pytest.fixture(scope="module")
def plain() -> subjects.Subject:
    return subjects.stroke_network()


@pytest.fixture(scope="module")
def masked(plain: subjects.Subject) -> dict[str, subjects.Subject]:
    found = {
        "signs": subjects.stroke_network(signs=True),
        "saturated": subjects.saturated(plain),
        "rounded": replace(subjects.stepped(plain), spec=plain.spec),
        "noisy": subjects.noisy(plain),
    }
    assert tuple(found) == MASKS
    return found


@pytest.fixture(scope="module")
def audits(masked: dict[str, subjects.Subject]) -> dict[str, StageResult]:
    """FGSM and PGD alone, so that what breaks the rest is what the audit does on its own."""
    return {name: audit(subject) for name, subject in masked.items()}


def test_a_plain_network_raises_no_flag_and_is_not_robust(plain):
    result = audit(plain, attacks=("fgsm", "pgd", "fmn", "apgd_ce", "apgd_t", "square"))
    assert metric(result, "clean_accuracy_attacked_sample").value >= 0.9
    assert metric(result, NAME).value <= 0.03
    assert not codes(result)
    assert (metric(result, "masking_flags").value, metric(result, "masking_flags").n) == (0, len(CHECKS))
    assert (
        metric(result, "masking_flags").low == 0
    )  # 32 images are enough, because the attacks break nearly all


@pytest.mark.parametrize(
    ("name", "code", "view"),
    [
        ("signs", "masking_zero_gradient", "straight-through"),
        ("saturated", "masking_saturated", ""),
        ("rounded", "masking_zero_gradient", "straight-through"),
        ("noisy", "masking_random", "expectation"),
    ],
)
def test_a_mask_raises_its_flag_and_falls_to_the_second_look(audits, name, code, view):
    result = audits[name]
    assert {code, "attack_switched"} <= codes(result)
    assert metric(result, "clean_accuracy_attacked_sample").value >= 0.8
    assert metric(result, NAME).value <= 0.05
    assert matrix(result)[", ".join(filter(None, ("APGD-CE", view)))][0] <= 0.05
    failed = [finding for finding in result.findings if finding.code in CHECKS]
    assert all(finding.remedy and finding.severity == "serious" for finding in failed)
    assert len(failed) == metric(result, "masking_flags").value


@pytest.mark.parametrize(
    ("name", "code"), [("rounded", "masking_zero_gradient"), ("noisy", "masking_random")]
)
def test_a_mask_is_found_out_and_falls_however_the_bill_is_spent(masked, name, code):
    """With more survivors of the gradient attacks than are drawn at random, so that some could be spared."""
    result = audit(
        masked[name], stroke_images(140), images=140, batch=64, attacks=ATTACK_NAMES, spend="where_it_counts"
    )
    assert {code, "attack_switched"} <= codes(result)
    assert metric(result, NAME).value <= 0.05
    assert metric(result, NAME).low == 0
    [row] = figure(result, "spending").rows
    assert row[4] == 0  # spared images


@pytest.mark.parametrize("count", [32, 96])
def test_a_random_resize_is_never_clean(plain, count):
    """At both sizes: few images may leave a check without power, and then the gate is not proven. Two predictions may draw one size."""
    result = audit(subjects.resized(plain), stroke_images(count), images=count, attacks=("pgd",))
    gate = Gate(id="masking", stage="adversarial", metric="masking_flags", op="==", threshold=0)
    assert codes(result) & {"masking_random", "masking_shattered", "masking_silent"}
    assert metric(result, "masking_flags").value >= 1
    assert metric(result, NAME).low == 0
    assert decide([result], [gate], "2026-01-01").exit_code in (1, 3)


@pytest.mark.parametrize("name", ["signs", "rounded"])
def test_the_masks_hide_from_gradients_what_is_there(audits, name):
    """Otherwise the second look would have nothing to show."""
    assert metric(audits[name], f"{NAME}.fgsm").value >= 0.5


@pytest.mark.parametrize(
    ("name", "view", "attack"),
    [
        ("signs", "straight_through", "apgd_ce"),
        ("rounded", "straight_through", "apgd_ce"),
        ("saturated", "", "apgd_t"),
        ("saturated", "", "pgd"),
        ("noisy", "expectation", "apgd_ce"),
    ],
)
def test_each_remedy_breaks_its_mask_alone(masked, name, view, attack):
    """Without the help of FGSM, PGD and Square, and asked again of the model itself."""
    subject, data = masked[name], stroke_images()
    images, labels = data.images.astype(np.float32) / np.float32(255), data.labels
    shown = getattr(views, view)(subject) if view else subject
    budget = Budget(15, 3, seed=1, batch=16)
    found = registry.ATTACKS[attack](shown, images, labels, THREAT, budget, np.arange(N))
    assert np.abs(found.adversarial - images).max() <= THREAT.epsilon + 1e-6
    left = (subject.predict_logits(found.adversarial).argmax(1) == labels) & (found.first_step == SURVIVED)
    assert left.mean() <= 0.05


def gate(name: str, op: str, threshold: float) -> Gate:
    return Gate(id="g", stage="adversarial", metric=name, op=op, threshold=threshold)


@pytest.mark.parametrize("name", MASKS)
def test_no_gate_on_robustness_passes_under_a_flag(audits, name):
    result = audits[name]
    robust = [m for m in result.metrics if m.name.startswith("robust_accuracy.")]
    assert len(robust) == 3
    assert all(m.low == 0 for m in robust)
    success = metric(result, f"attack_success_rate.{THREAT.label}")
    assert success.high == 1
    for threshold in (1e-6, 0.3, 0.999):
        asked = [gate(m.name, ">=", threshold) for m in robust] + [gate(success.name, "<=", threshold)]
        asked += [gate(m.name, "==", m.value) for m in [*robust, success]]
        for one in asked:
            assert decide([result], [one], "2026-01-01").gates[0].status in ("not_proven", "fail"), one
    flags = decide([result], [gate("masking_flags", "==", 0)], "2026-01-01")
    assert flags.status == "failed"
    for curve in (figure for figure in result.figures if figure.id.startswith("security-")):
        assert not any(curve.series[0].low[1:])  # also between the threats; the first point is clean
        assert "reaches down to 0" in curve.caption
    assert not any(dot.low for dot in figure(result, "robust-recall-by-class").dots)


def test_a_gate_passes_where_nothing_is_hidden(plain):
    """The gates of the test above can pass at all."""
    low, count = Threat(norm="linf", epsilon=0.001), LEAST_SURVIVORS + 28
    result = audit(plain, stroke_images(count), threats=(low,), images=count, queries=LEAST_QUERIES, batch=64)
    assert not codes(result)
    for one in (gate(f"robust_accuracy.{low.label}", ">=", 0.5), gate("masking_flags", "==", 0)):
        assert decide([result], [one], "2026-01-01").status == "passed"


def lazy(steps: int) -> Any:
    """PGD that does nothing with so few steps, and says that its loss still rises."""
    real = registry.ATTACKS["pgd"]

    def attack(classifier, images, labels, threat, budget, ids):
        found = real(classifier, images, labels, threat, budget, ids)
        if budget.steps > steps:
            return found
        survived = np.full(len(images), SURVIVED, np.int64)
        ones = np.ones(len(images), np.float32)
        return replace(found, adversarial=images.copy(), first_step=survived, unconverged=ones)

    return attack


@pytest.mark.parametrize("steps", [5, 12])
def test_more_steps_that_break_more_raise_a_flag_and_count(plain, monkeypatch, steps):
    """Also where so few steps were taken that nobody could see the loss move."""
    monkeypatch.setitem(registry.ATTACKS, "pgd", lazy(steps))
    monkeypatch.setitem(registry.ATTACKS, "fgsm", lazy(1))
    result = audit(plain, attacks=("pgd",), steps=steps)
    assert "masking_converged" in codes(result)
    assert metric(result, NAME).value <= 0.03
    assert metric(result, NAME).low == 0


def test_a_loss_that_moves_and_gets_nowhere_is_no_sign(plain, monkeypatch):
    """Survivors of an honest network whose loss still rises: more steps do not break them, and no check fails.

    With so few survivors some checks are not proven, and neither is a gate on their number.
    """
    real = registry.ATTACKS["pgd"]

    def restless(*arguments):
        found = real(*arguments)
        return replace(found, unconverged=np.ones_like(found.unconverged))

    monkeypatch.setitem(registry.ATTACKS, "pgd", restless)
    result = audit(plain, threats=(Threat(norm="linf", epsilon=0.001),))
    assert codes(result) == {"masking_not_proven"}
    decision = decide([result], [gate("masking_flags", "==", 0)], "2026-01-01").gates[0]
    assert decision.status == "not_proven"
    assert f"at least {LEAST_SURVIVORS} are needed" in decision.message
    assert [row[-1] for row in figure(result, "masking").rows].count("not proven") == 2


def test_a_flag_that_few_images_raise_is_counted_and_no_flag(plain, monkeypatch):
    """At most two images that more steps break are entered in the ledger alone."""
    real = registry.ATTACKS["pgd"]

    def nearly(classifier, images, labels, threat, budget, ids):
        found = real(classifier, images, labels, threat, budget, ids)
        missed = (ids < 2) & (budget.steps <= 12)
        step, moving = found.first_step.copy(), found.unconverged.copy()
        step[missed], moving[missed] = SURVIVED, 1
        images = np.where(missed[:, None, None, None], images, found.adversarial)
        return replace(found, adversarial=images, first_step=step, unconverged=moving)

    monkeypatch.setitem(registry.ATTACKS, "pgd", nearly)
    monkeypatch.setitem(registry.ATTACKS, "fgsm", lazy(1))
    result = audit(plain, attacks=("pgd",))
    assert metric(result, NAME).value <= 0.03
    assert "masking_converged" not in codes(result)


@pytest.mark.parametrize("name", ["lenet-gtsrb", "resnet-gtsrb"])
def test_reference_models_raise_no_flag_on_real_signs(name):
    """Validation images: nothing is chosen on the test images. PGD alone does not converge on them; the ensemble does."""
    count = 48
    data = SHARED / "data" / "gtsrb" / "valid.npz"
    if not data.is_file():
        pytest.skip("GTSRB is not at SAFEML_SHARED/data/gtsrb")
    with np.load(data) as arrays:
        chosen = np.random.default_rng(0).permutation(len(arrays["labels"]))[:count]
        images, labels = arrays["images"][chosen], arrays["labels"][chosen].astype(np.int64)
    names = tuple(f"sign {number}" for number in range(43))
    [path] = (ROOT / "models" / name).glob("*.keras")
    classifier = open_here(path).fed(InputSettings(), names, name)
    signs = ImageDataset("valid", images, labels, names, frames_per_sign=30)
    main = Threat(norm="linf", epsilon=4 / 255)
    result = audit(
        classifier, signs, images=count, threats=(main,), attacks=("fgsm", "pgd", "apgd_t"), targets=2
    )
    assert metric(result, "clean_accuracy_attacked_sample").value >= 0.85
    assert not codes(result) & set(CHECKS)


def test_a_defence_of_some_images_at_the_end_of_sorted_data_is_found_out():
    """The honest images stand first: a check of the first of them, or of the usual one, would see nothing."""
    model = subjects.shattered(marked=True)
    count = 2 * PROBE_SIZE
    images = np.random.default_rng(3).integers(90, 166, (count, 32, 32, 3), dtype=np.uint8)
    images[-count // 3 :, 0] = 255
    labels = model.predict_logits(images).argmax(axis=1).astype(np.int64)
    names = tuple(f"sign {number}" for number in range(model.classes))
    data = ImageDataset("noise", images, labels, names, frames_per_sign=1)
    result = audit(
        model,
        data,
        images=count,
        batch=64,
        queries=20,
        steps=11,
        threats=(Threat(norm="linf", epsilon=2 / 255),),
    )
    assert "masking_shattered" in codes(result)
    assert metric(result, "robust_accuracy.linf_2").low == 0.0


def test_shattered_gradients_are_found_out_whatever_the_restarts():
    """Large, finite gradients that lead nowhere: no attack by gradient breaks what one step along the weights would."""
    model = subjects.shattered()
    rng = np.random.default_rng(3)
    images = rng.integers(90, 166, (24, 32, 32, 3), dtype=np.uint8)
    labels = model.predict_logits(images).argmax(axis=1).astype(np.int64)
    names = tuple(f"sign {number}" for number in range(model.classes))
    data = ImageDataset("noise", images, labels, names, frames_per_sign=1)
    result = run(
        AuditInputs(model, data),
        AdversarialSettings(
            images=24,
            threats=(Threat(norm="linf", epsilon=4 / 255),),
            restarts=3,
            apgd_steps=10,
            targets=2,
            fmn_steps=5,
            queries=20,
            batch=24,
            certify=False,
        ),
    )
    found = {metric.name: metric for metric in result.metrics}
    assert "masking_shattered" in {finding.code for finding in result.findings}
    assert found["masking_flags"].value >= 1
    assert found["robust_accuracy.linf_4"].low == 0.0
