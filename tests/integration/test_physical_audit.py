"""The physical audit on classifiers whose answers are known, and with attacks that lie."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from safeml.attacks.base import SURVIVED
from safeml.attacks.signs.base import SignOutcome
from safeml.attacks.signs.registry import SIGN_THREATS
from safeml.audits.base import AuditInputs
from safeml.audits.physical import patch as physical_patch
from safeml.audits.physical import run as physical
from safeml.audits.physical.run import run
from safeml.data.dataset import ImageDataset
from safeml.results import DotPlot, StageResult, Table
from safeml.stages.physical import PhysicalSettings
from tests import subjects
from tests.records import codes, value

pytestmark = pytest.mark.slow

K, N, SIDE = 3, 36, 12
NAMES = ("stop", "Speed limit (30km/h)", "Yield")
PAIR = ("Stop", "speed limit (30KM/H)")  # names are found whatever their case
ACCURACIES = {f"physical_accuracy.{name}" for name in SIGN_THREATS}


def grey_signs(count=N, name="grey", seed=0, **changes):
    """Images of three grey levels, which are their classes; a little noise makes each its own picture."""
    labels = np.arange(count, dtype=np.int64) % K
    noise = np.random.default_rng(seed).integers(-3, 4, (count, SIDE, SIDE, 1))
    images = (np.array([60, 128, 196])[labels][:, None, None, None] + noise).astype(np.uint8)
    boxes = np.tile(np.array([1, 1, 11, 11], np.float32), (count, 1))
    return ImageDataset(name, images, labels, NAMES, **{"frames_per_sign": 1, "boxes": boxes, **changes})


def by_brightness(scale=20.0):
    """Class by mean brightness, as one hyperplane a class: no small sticker or shift moves an image across."""
    levels = np.array([60, 128, 196]) / 255
    weights = np.tile(levels / SIDE**2, (SIDE * SIDE, 1))
    return subjects.linear(weights, -(levels**2) / 2, scale)


def by_one_pixel():
    """Class by the sum of the middle four pixels: any sticker over them decides."""
    levels = np.array([60, 128, 196]) / 255
    weights = np.zeros((SIDE, SIDE, K))
    weights[5:7, 5:7] = levels / 4
    return subjects.linear(weights.reshape(-1, K), -(levels**2) / 2, 20.0)


def settings(**changes):
    small = {
        "images": N,
        "batch": 16,
        "sticker_steps": 6,
        "sticker_places": 3,
        "shadow_shapes": 10,
        "graffiti_shapes": 10,
        "rotation_points": 3,
        "shift_points": 3,
        "zoom_points": 1,
        "zoom": 0.0,
        "patch_pair": PAIR,
        "patch_steps": 12,
    }
    return PhysicalSettings(**{**small, **changes})


def audit(classifier, dataset=None, inputs=None, **changes) -> StageResult:
    given = {"valid": grey_signs(24, "valid", seed=1), **(inputs or {})}
    return run(
        AuditInputs(classifier, grey_signs() if dataset is None else dataset, **given), settings(**changes)
    )


def metrics(result):
    return {metric.name: metric for metric in result.metrics}


@pytest.fixture(scope="module")
def bright():
    return audit(by_brightness(), shadow_factors=(0.9,))


def test_a_model_that_looks_at_all_of_the_sign_keeps_its_answers(bright):
    """5 % of the box at 0.05 or 0.95 moves the mean brightness by at most 0.03; the classes are 0.27 apart."""
    found = metrics(bright)
    assert {found[name].value for name in ACCURACIES} == {1.0}
    assert found["physical_accuracy.worst"].value == found["physical_accuracy.random_view"].value == 1.0
    assert found["universal_patch_success"].value == 0
    assert found["universal_patch_success"].n == N // K
    assert all(metric.low is not None and metric.clustering == "independent" for metric in found.values())
    assert not bright.findings


def test_a_model_that_looks_at_four_pixels_falls_to_one_sticker():
    result = audit(by_one_pixel())
    assert value(result, "clean_accuracy_physical_sample") == 1
    assert value(result, "physical_accuracy.sticker") == 0
    assert value(result, "physical_accuracy.worst") == 0
    assert value(result, "universal_patch_success") == 1  # a patch of 0.5 over the middle is the second class
    assert value(result, "universal_patch_success.random") < 1
    assert result.worst_cases is not None
    notes = {item.note.partition(":")[0] for item in result.worst_cases.items}
    assert {"Sticker", "Universal patch"} <= notes
    kinds = {tuple(panel.kind for panel in item.panels) for item in result.worst_cases.items}
    assert kinds == {("image", "image", "change")}
    dots = next(
        f for f in result.figures if isinstance(f, DotPlot) and f.id == "sticker-recall-by-class"
    ).dots
    assert [(dot.value, dot.compare, dot.n) for dot in dots] == [(0.0, 1.0, N // K)] * K


def test_a_deep_shadow_on_dark_paint_is_found_by_asking_alone():
    """A half-plane may take more than half of the light from the whole box: the middle grey becomes the dark one."""
    result = audit(by_brightness(), shadow_factors=(0.3,), shadow_shapes=60)
    assert value(result, "physical_accuracy.shadow") < 1
    assert value(result, "physical_accuracy.worst") <= value(result, "physical_accuracy.shadow")


def test_records_survive_json_and_repeat(bright):
    assert StageResult.model_validate_json(bright.model_dump_json()) == bright
    assert audit(by_brightness(), shadow_factors=(0.9,)) == bright
    assert len(bright.facts) <= 5
    assert bright.card is not None
    assert bright.card.figure_id in {figure.id for figure in bright.figures}
    assert bright.provenance is not None
    table = next(
        figure for figure in bright.figures if isinstance(figure, Table) and figure.id == "sign-threats"
    )
    assert len(table.rows) == len(SIGN_THREATS)


@pytest.mark.parametrize("change", [{"batch": 5}, {"batch": 64}])
def test_the_ledger_is_the_same_for_other_batches(change):
    assert audit(by_one_pixel(), **change).metrics == audit(by_one_pixel()).metrics


def test_the_ledger_is_the_same_in_another_order():
    data = grey_signs()
    other = data.take(np.random.default_rng(0).permutation(N))
    assert audit(by_one_pixel(), other).metrics == audit(by_one_pixel(), data).metrics


def test_an_interrupted_run_takes_what_is_kept():
    kept = {}

    def work(item, parts, form, measure, cost):
        key = f"{item} {parts}"
        if key not in kept:
            kept[key] = measure()
        return kept[key]

    first = audit(by_one_pixel(), inputs={"work": work})
    silent = replace(by_one_pixel(), function=lambda x: pytest.fail("the model was asked again"))
    assert audit(silent, inputs={"work": work}) == first


def test_a_constant_model_is_not_called_robust():
    """It is right on one class in three, nothing moves it, and its zero gradient is said aloud."""
    result = audit(subjects.constant(K))
    assert {value(result, name) for name in ACCURACIES} == {1 / K}
    assert "sign_gradient_zero" in codes(result)


def test_logits_of_nan_are_accuracy_zero():
    result = audit(subjects.undefined(K))
    assert {value(result, name) for name in ACCURACIES} == {0.0}
    assert value(result, "physical_accuracy.random_view") == 0
    assert metrics(result)["universal_patch_success"].status == "undefined"


def lying(change, choice=0):
    """An attack that claims that everything survived, and hands back `change` of the images."""

    def attack(classifier, images, labels, boxes, settings, seed, ids, batch):
        count = len(images)
        return SignOutcome(
            change(images),
            np.full(count, SURVIVED, np.int64),
            np.full(count, choice, np.int64),
            np.zeros(count, dtype=bool),
        )

    return attack


CHANGES = {
    "nan": lambda images: images * np.float32("nan"),
    "beyond the pixel range": lambda images: images + np.float32(0.9),
    "outside its bounds": lambda images: np.clip(images + np.float32(0.01), 0, 1),
    "shape": lambda images: images[:, :4],
    "dtype": lambda images: images.astype(np.float64),
    "fewer images": lambda images: images[:3],
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_an_attack_that_breaks_its_bounds_never_makes_a_model_robust(monkeypatch, change):
    for name, threat in SIGN_THREATS.items():
        monkeypatch.setitem(SIGN_THREATS, name, replace(threat, attack=lying(change)))
    result = audit(by_brightness(), patch_pair=("Nothing", "Yield"))
    assert {value(result, name) for name in ACCURACIES} == {0.0}
    invalid = [finding for finding in result.findings if finding.code == "attack_invalid"]
    assert {finding.evidence["threat"] for finding in invalid} == {
        threat.title for threat in SIGN_THREATS.values()
    }


def test_an_attack_that_keeps_its_bounds_and_does_nothing_leaves_clean_accuracy(monkeypatch):
    """The other side of the checks: they refuse nothing that is allowed."""
    for name, threat in SIGN_THREATS.items():
        monkeypatch.setitem(SIGN_THREATS, name, replace(threat, attack=lying(np.copy)))
    result = audit(by_brightness(), patch_pair=("Nothing", "Yield"))
    assert {value(result, name) for name in ACCURACIES} == {1.0}
    assert not result.findings


def test_an_attack_that_writes_into_its_inputs_does_not_move_the_clean_images(monkeypatch):
    def vandal(classifier, images, labels, boxes, *rest):
        images[:], labels[:], boxes[:] = 0, 0, 0
        return lying(np.copy)(classifier, images, labels, boxes, *rest)

    monkeypatch.setitem(SIGN_THREATS, "shadow", replace(SIGN_THREATS["shadow"], attack=vandal))
    result = audit(by_brightness(), patch_pair=("Nothing", "Yield"))
    assert value(result, "physical_accuracy.shadow") == 0
    assert value(result, "physical_accuracy.graffiti") == 1


def test_without_a_gradient_what_needs_one_is_not_measured():
    full = by_one_pixel()

    class Deaf:
        name, spec, classes, parameters, fingerprint, notes = "int8", full.spec, K, 0, "1" * 64, ()
        predict_logits = staticmethod(full.predict_logits)

    result = audit(Deaf())
    found = metrics(result)
    for name in ("physical_accuracy.sticker", "physical_accuracy.worst", "universal_patch_success"):
        assert (found[name].status, found[name].value) == ("undefined", None)
        assert "no gradient" in found[name].reason
    same = metrics(audit(full))
    for name in ACCURACIES - {"physical_accuracy.sticker"}:
        assert found[name].value == same[name].value
    assert "no_gradient" in codes(result)
    assert result.card is not None
    assert result.card.headline == "not measured"


@pytest.mark.parametrize(
    ("pair", "reason"),
    [
        (("Wrong way", "Yield"), 'no class called "Wrong way"'),
        (("Yield", "Wrong way"), 'no class called "Wrong way"'),
    ],
)
def test_a_pair_that_the_data_do_not_have_is_skipped_visibly(pair, reason):
    result = audit(by_brightness(), patch_pair=pair)
    fact = next(fact for fact in result.facts if fact.label == "Universal patch")
    assert (fact.value, reason in fact.detail) == ("skipped", True)
    assert metrics(result)["universal_patch_success"].status == "undefined"
    assert value(result, "physical_accuracy.worst") is not None


def test_a_patch_that_cannot_be_printed_counts_as_a_success(monkeypatch):
    def broken(classifier, images, boxes, target, settings, seed, batch):
        shape = physical_patch.patch_shape(boxes, settings.patch_area, images.shape[3])
        return physical_patch.Patch(np.full(shape, np.nan, np.float32), 0)

    monkeypatch.setattr(physical_patch, "train_patch", broken)
    result = audit(by_brightness())
    assert value(result, "universal_patch_success") == 1
    assert "attack_invalid" in codes(result)


def test_the_patch_is_never_judged_on_what_it_was_trained_on():
    data = grey_signs()
    alone = AuditInputs(by_brightness(), data)
    for inputs in (alone, replace(alone, test=replace(data, tracks=np.arange(N) // 6, frames_per_sign=None))):
        found = physical_patch.halves(inputs, settings())
        assert not isinstance(found, str)
        assert not set(found.training.ids) & set(found.held_out.ids)
        assert {len(found.training), len(found.held_out)} == {N // K // 2}
        if found.training.tracks is not None:
            assert not set(found.training.tracks) & set(found.held_out.tracks)
    copied = physical_patch.halves(replace(alone, valid=data), settings())
    assert isinstance(copied, str)
    assert "is also a held-out image" in copied


def test_data_without_boxes_say_so():
    result = audit(by_brightness(), grey_signs(boxes=None), images=N + 1)
    assert {"boxes_assumed", "fewer_images"} <= codes(result)
    assert next(fact for fact in result.facts if fact.label == "Sign boxes").value == "assumed"


def test_a_hidden_gradient_bounds_nothing_so_no_gate_can_pass():
    """Rounded pixels: the sticker and the patch follow a gradient that is zero, and their failure is no robustness."""
    from safeml.gates import decide
    from safeml.results import Gate

    hidden = subjects.stepped(by_brightness(), levels=64)
    result = run(AuditInputs(hidden, grey_signs()), settings())
    found = {metric.name: metric for metric in result.metrics}
    assert "sign_gradient_zero" in codes(result)
    assert found["clean_accuracy_physical_sample"].value == 1
    assert found["physical_accuracy.sticker"].low == found["physical_accuracy.worst"].low == 0
    assert found["physical_accuracy.transform"].low > 0  # asks for answers alone
    assert found["universal_patch_success"].high == 1
    gates = [
        Gate(id=str(row), title="g", stage="physical", metric=metric, op=op, threshold=limit, rationale="r")
        for row, (metric, op, limit) in enumerate(
            [
                ("physical_accuracy.sticker", ">=", 0.01),
                ("physical_accuracy.worst", ">=", 0.01),
                ("universal_patch_success", "<=", 0.99),
            ]
        )
    ]
    assert "pass" not in {decided.status for decided in decide([result], gates, "2026-01-01").gates}


def test_shattered_gradients_bound_nothing_either():
    """Gradients that are neither zero nor of any use: the sticker is led nowhere, and says nothing of the model."""
    model = subjects.shattered()
    images = np.random.default_rng(3).integers(90, 166, (8, 32, 32, 3), dtype=np.uint8)
    labels = model.predict_logits(images.astype(np.float32) / 255).argmax(axis=1).astype(np.int64)
    names = tuple(f"sign {number}" for number in range(model.classes))
    data = ImageDataset("noise", images, labels, names, frames_per_sign=1)
    result = run(AuditInputs(model, data), settings(images=8, patch_pair=("sign 1", "sign 2")))
    found = {metric.name: metric for metric in result.metrics}
    assert "sign_gradient_shattered" in codes(result)
    assert "sign_gradient_zero" not in codes(result)
    assert found["physical_accuracy.sticker"].low == found["physical_accuracy.worst"].low == 0


def test_a_defence_of_the_patched_class_alone_bounds_no_patch():
    """Four images of the class, their gradient shattered: next to nothing of the sample, and all that the patch is about."""
    model = subjects.shattered(marked=True)
    labels = np.r_[np.zeros(4, np.int64), np.arange(120) % 9 + 1]
    drawn = np.random.default_rng(0).choice(
        np.float32([-1, 1]), (32 * 32 * 3, 10)
    )  # as the model's own weights
    images = (128 + 10 * drawn.T[labels]).reshape(-1, 32, 32, 3).astype(np.uint8)
    images += np.random.default_rng(3).integers(0, 6, images.shape, dtype=np.uint8)
    images[:4, 0] = 255
    assert (model.predict_logits(images.astype(np.float32) / 255).argmax(axis=1) == labels).all()
    names = tuple(f"sign {number}" for number in range(model.classes))
    data = ImageDataset("patterns", images, labels, names, frames_per_sign=1)
    pair = (names[labels[0]], names[(labels[0] + 1) % model.classes])
    result = run(
        AuditInputs(model, data), settings(images=len(data), batch=64, patch_pair=pair, patch_area=0.01)
    )
    found = {metric.name: metric for metric in result.metrics}
    assert found["universal_patch_success"].high == 1
    assert found["universal_patch_success"].value < 1
    assert "sign_gradient_shattered" in codes(result)
    assert found["physical_accuracy.sticker"].method != physical.HIDDEN


def test_a_model_that_is_right_for_no_image_is_measured_too():
    data = grey_signs()
    wrong = replace(data, labels=(data.labels + 1) % K)
    result = audit(by_brightness(), wrong)
    found = {metric.name: metric for metric in result.metrics}
    assert found["clean_accuracy_physical_sample"].value == found["physical_accuracy.worst"].value == 0
    assert "sign_gradient_shattered" not in codes(result)


def test_an_honest_gradient_is_not_called_shattered():
    result = run(AuditInputs(by_brightness(), grey_signs()), settings())
    assert not {"sign_gradient_shattered", "sign_gradient_zero"} & codes(result)


def test_a_class_whose_numbers_are_all_even_is_still_halved():
    data = grey_signs(24, ids=np.arange(24, dtype=np.int64) * 2)
    half = physical_patch._even(data)
    assert half.sum() == 12
