"""What these images can prove, against closed forms and against the stages themselves. No framework is started."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import beta

from safeml.planning.base import GatePlan
from safeml.planning.best_case import BestCase
from safeml.planning.provable import plan_gates
from safeml.planning.words import plan_words
from safeml.planning.wrong import signs_of
from tests.fakes import dataset
from tests.plan_cases import ACCURACY, FLAGS, ROBUST, SHARED, TODAY, images, known, planned

pytestmark = pytest.mark.slow

FAMILY = {
    "id": "family",
    "stage": "performance",
    "metric": "recall_worst_family",
    "op": ">=",
    "threshold": 0.9,
}


def lowest(right: float, wrong: float) -> float:
    """Clopper and Pearson's lower end at 95 %, from scipy's quantiles."""
    return float(beta.ppf(0.025, right, wrong + 1)) if right else 0.0


def most_wrong(count: int, threshold: float) -> int:
    return max(k for k in range(count + 1) if lowest(count - k, k) >= threshold)


def test_without_allowances_only_the_number_of_mistakes_is_missing() -> None:
    """`safeml init` asks for states and reasons alone; the search for that number takes most of the time."""
    gates = [ACCURACY, {**ACCURACY, "id": "too-high", "threshold": 0.999}, FLAGS]
    subject = known(images(200), *gates)
    full, code = plan_gates(BestCase(subject), subject.config.gates, TODAY)
    quick, quick_code = plan_gates(BestCase(subject), subject.config.gates, TODAY, allowances=False)
    assert full[0].allowed is not None
    assert quick == [full[0].model_copy(update={"allowed": None, "message": "Can be proven."}), *full[1:]]
    assert (quick_code, [plan.state for plan in quick]) == (code, ["provable", "not_provable", "provable"])


@pytest.mark.parametrize(
    ("count", "threshold"), [(100, 0.9), (437, 0.95), (1000, 0.98), (60, 0.94), (50, 0.3)]
)
def test_the_allowed_errors_of_independent_images_are_those_of_clopper_and_pearson(
    count: int, threshold: float
) -> None:
    [gate], code = planned(images(count), {**ACCURACY, "threshold": threshold})
    assert (gate.state, code) == ("provable", 0)
    assert gate.allowed is not None
    assert (gate.allowed.wrong, gate.allowed.of, gate.allowed.unit) == (
        most_wrong(count, threshold),
        count,
        "image",
    )
    assert gate.allowed.value == pytest.approx(1 - gate.allowed.wrong / count)


@pytest.mark.parametrize(("frames", "tracks"), [(10, True), (10, False), (7, False)])
def test_frames_of_a_sign_are_wrong_together(frames: int, tracks: bool) -> None:
    signs = 60
    numbers = np.repeat(np.arange(signs), frames)
    columns = {"tracks": numbers} if tracks else {"frames_per_sign": float(frames)}
    test = dataset(numbers % 4, **columns)
    [gate], _ = planned(test, ACCURACY)
    assert gate.allowed is not None
    assert (gate.allowed.wrong, gate.allowed.of, gate.allowed.unit) == (most_wrong(signs, 0.9), signs, "sign")


def test_of_unequal_signs_the_largest_are_wrong_first() -> None:
    test = dataset(np.zeros(6, int), ("a", "b"), tracks=np.array([7, 7, 5, 5, 5, 9]))
    signs = signs_of(test, np.ones(6, bool))
    assert signs.wrong(1).tolist() == [False, False, True, True, True, False]
    assert signs.wrong(2).tolist() == [True] * 5 + [False]
    assert not signs.wrong(0).any()
    assert signs.wrong(3).all()


def test_a_family_of_twelve_signs_is_untested_beside_a_larger_one() -> None:
    families = np.array(["rare"] * 12 + ["common"] * 300)
    test = dataset(np.arange(312) % 4, frames_per_sign=1.0, groups={"family": families})
    [gate], code = planned(test, FAMILY)
    assert (gate.state, code) == ("provable", 0)
    assert gate.allowed is not None
    assert gate.allowed.group == "family:common"
    assert gate.allowed.wrong == most_wrong(300, 0.9)


def test_twelve_signs_prove_no_recall_of_nine_tenths() -> None:
    families = np.array(["rare"] * 12 + ["common"] * 30)
    test = dataset(np.arange(42) % 4, frames_per_sign=1.0, groups={"family": families})
    [gate], code = planned(test, FAMILY)
    assert (gate.state, code) == ("not_provable", 3)
    assert gate.best is not None
    assert gate.best.low == pytest.approx(0.025 ** (1 / 12))  # 0.735
    assert gate.needs_signs == math.ceil(math.log(0.025) / math.log(0.9)) == 36
    assert "12 signs of rare" in gate.message
    assert "73.5" in gate.message
    assert "36 sign tracks" in gate.message


def test_the_weakest_family_allows_what_its_own_signs_allow() -> None:
    families = np.array(["rare"] * 50 + ["common"] * 300)
    test = dataset(np.arange(350) % 4, frames_per_sign=1.0, groups={"family": families})
    [gate], _ = planned(test, {**FAMILY, "threshold": 0.85})
    assert gate.allowed is not None
    assert gate.allowed.group == "family:rare"
    assert (gate.allowed.wrong, gate.allowed.of) == (most_wrong(50, 0.85), 50)


def test_a_gate_on_one_class_counts_that_class() -> None:
    gate = {**ACCURACY, "metric": "recall", "slice": "class:class 1", "threshold": 0.8}
    [found], _ = planned(images(200), gate)
    assert found.allowed is not None
    assert (found.allowed.wrong, found.allowed.of) == (most_wrong(50, 0.8), 50)


def test_robust_images_may_be_lost_as_the_closed_form_says() -> None:
    stages = {"adversarial": {"images": 130}}
    gates, code = planned(images(400), ROBUST, FLAGS, stages=stages)
    robust, flags = gates
    assert robust.allowed is not None
    assert (robust.allowed.wrong, robust.allowed.of) == (most_wrong(130, 0.5), 130)
    assert (flags.state, code) == ("provable", 0)
    assert flags.allowed is None


@pytest.mark.parametrize(("count", "queries"), [(99, 1000), (130, 199)])
def test_masking_cannot_be_excluded_with_few_images_or_queries(count: int, queries: int) -> None:
    """A perfect model leaves every image to the query attack, which proves nothing with so few images or queries."""
    stages = {"adversarial": {"images": count, "queries": queries}}
    [flags], code = planned(images(400), FLAGS, stages=stages)
    assert (flags.state, code) == ("not_provable", 3)
    assert flags.message.startswith("Cannot be proven: no confidence interval")
    assert "are needed" in flags.message


def test_the_hazard_counts_the_costliest_mistakes() -> None:
    gate = {**ACCURACY, "metric": "hazard_weighted_error", "op": "<=", "threshold": 0.1}
    [found], _ = planned(images(300), gate)  # classes without rules: every mistake costs 1
    assert found.allowed is not None
    assert found.allowed.wrong == most_wrong(300, 0.9)


def test_two_classes_are_enough() -> None:
    gates, code = planned(images(120, K=2), ACCURACY, ROBUST, FLAGS)
    assert code == 0
    assert [gate.state for gate in gates] == ["provable"] * 3


def test_without_training_data_leakage_will_be_missing() -> None:
    [gate], code = planned(images(100), SHARED)
    assert (gate.state, code) == ("missing", 4)
    assert "no [data.train]" in gate.message
    assert "4" in plan_words([gate], code)


def test_a_disabled_stage_leaves_its_gates_missing() -> None:
    gates, code = planned(images(100), ACCURACY, ROBUST, stages={"adversarial": {"enabled": False}})
    assert ([gate.state for gate in gates], code) == (["provable", "missing"], 4)


def test_a_model_without_a_gradient_leaves_its_attacks_missing() -> None:
    [gate], code = planned(images(100), ACCURACY, gradient=False)
    assert (gate.state, code) == ("provable", 3)  # no gate reads the stage, whose finding says what it lacks
    assert "without gates has a serious finding" in plan_words([gate], code)
    [gate], code = planned(images(100), ROBUST, gradient=False)
    assert (gate.state, code) == ("missing", 4)


def test_shared_images_fail_whatever_the_model_does() -> None:
    test = images(100)
    [gate], code = planned(test, SHARED, train=test.take(np.arange(3)))
    assert (gate.state, code) == ("fails", 1)
    assert gate.message.endswith("already counted: 3.")


def test_a_waiver_is_what_lets_an_unprovable_gate_pass() -> None:
    waiver = {"owner": "A. Owner", "reason": "known", "until": "2027-01-01"}
    [gate], code = planned(images(10), {**ACCURACY, "waiver": waiver})
    assert (gate.state, code) == ("waived", 0)
    assert "A. Owner" in gate.message


def test_too_few_images_for_min_n_cannot_be_proven() -> None:
    [gate], code = planned(images(100), {**ACCURACY, "min_n": 500})
    assert (gate.state, gate.needs_signs, code) == ("not_provable", 500, 3)


def test_undeclared_clustering_proves_nothing() -> None:
    [gate], code = planned(dataset(np.arange(500) % 4), ACCURACY)
    assert (gate.state, gate.needs_signs, code) == ("not_provable", None, 3)
    assert "frames_per_sign" in gate.message


def test_a_resampled_metric_depends_on_the_model() -> None:
    macro = {**ACCURACY, "id": "macro", "metric": "macro_recall"}
    gates, code = planned(images(200), ACCURACY, macro)
    assert ([gate.state for gate in gates], code) == (["provable", "depends"], 0)
    assert "macro" in plan_words(gates, code)


def test_a_few_wrong_frames_never_prove_what_none_do_not() -> None:
    """100 signs of 30 frames prove 0.9638 without an error, and no error proves more."""
    numbers = np.repeat(np.arange(100), 30)
    test = dataset(numbers % 4, tracks=numbers)
    for limit, expected in ((0.9637, ("provable", 0)), (0.9639, ("not_provable", 3))):
        [gate], code = planned(test, {**ACCURACY, "threshold": limit})
        assert (gate.state, code) == expected


def test_training_gates_depend_on_a_training_that_is_to_come() -> None:
    gate = {**ACCURACY, "stage": "training", "metric": "validation_accuracy_chosen"}
    subject = known(images(100), gate)
    recipe = replace(subject, untrained=True)
    [found], code = plan_gates(BestCase(recipe), recipe.config.gates, TODAY)
    assert (found.state, code) == ("depends", 0)
    [found], code = plan_gates(BestCase(subject), subject.config.gates, TODAY)
    assert (found.state, code) == ("missing", 4)  # a model without a manifest: the stage is skipped


def test_a_plan_is_plain_data_with_sorted_keys() -> None:
    from safeml.store.files import to_json

    [gate], _ = planned(images(100), ACCURACY)
    text = to_json(gate)
    values = json.loads(text)
    assert list(values) == sorted(values)
    assert GatePlan.model_validate(values) == gate


@pytest.mark.parametrize(("count", "state"), [(367, "not_provable"), (368, "depends")])
def test_a_loss_against_a_baseline_needs_enough_signs_for_models_that_agree(count: int, state: str) -> None:
    """1 - 0.025^(1/C) is at most 0.01 from C = 368 on."""
    loss = {**ACCURACY, "id": "loss", "subject": "baseline", "metric": "loss.clean_accuracy", "op": "<=", "threshold": 0.01}  # fmt: skip
    [_, plan], code = planned(images(count), ACCURACY, loss)
    assert (plan.state, code) == (state, 0 if state == "depends" else 3)
    assert 1 - 0.025 ** (1 / 368) <= 0.01 < 1 - 0.025 ** (1 / 367)
    assert f"need 368 sign tracks, and these images have {count}" in plan.message
