"""The masking checks as functions of evidence: one change of the evidence fails one check, and no other."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from safeml.audits.adversarial.checks import CHECKS, FEW, RIVAL_SHARE, TOLERANCE, masking_checks
from safeml.audits.adversarial.evidence import LEAST_SURVIVORS, Evidence, LongerRun, Rival, Stopped
from safeml.audits.adversarial.gradient_checks import HIDDEN, SATURATED_SHARE, UNDERFLOW, ZERO_SHARE
from safeml.audits.adversarial.measure import Measured
from safeml.audits.adversarial.power import LEAST_QUERIES
from safeml.audits.linearity import LEAST_GAIN
from safeml.audits.measured import CleanSample

N, K = 200, 4


def attacked(**changes: Any) -> Measured:
    """Half of the images survive; the attack reports exactly what the audit measures."""
    broken = np.arange(N) % 2 == 0
    nothing, zero = np.zeros(N, np.int64), np.zeros(N, np.float32)
    whole = Measured(
        robust=~broken,
        size=np.where(broken, 0.1, np.inf).astype(np.float32),
        claimed=broken,
        wrong=broken,
        step=nothing,
        attempt=nothing,
        evaluations=nothing,
        unconverged=zero,
        zero_gradients=np.zeros(N, bool),
        faults=np.zeros(N, np.uint8),
        attacked=np.zeros((0, 1, 1, 1), np.float32),
        logits=np.zeros((0, K), np.float32),
    )
    return replace(whole, **changes)


def rival(broken: int = 0, survivors: int = 100, total: int = N, queries: int | None = 1000) -> Rival:
    """An attack on all survivors of the gradient attacks."""
    return Rival(survivors, survivors, broken, total, queries)


def stopped(hidden: float = 0.0, operation: str = "StopGradient", blocked: bool = False) -> Stopped:
    """A variance, whose stopped gradient hides nothing; or a stopped gradient that hides `hidden` on the first image."""
    node = ((operation, "net/layer/op"),)
    rows = np.where(np.arange(64) < 1, hidden, 0.0).astype(np.float32)
    return Stopped(node, node if blocked else (), rows, known=True)


def scaled(share: float) -> CleanSample:
    """The clean sample, with a share of the images so confident that the cross entropy has no gradient."""
    clean = honest().clean
    top = np.where(np.arange(N) < share * N, -UNDERFLOW + 2, 10)
    logits = np.eye(K, dtype=np.float32)[clean.labels] * top[:, None].astype(np.float32)
    return replace(clean, logits=logits)


def saturated(share: float) -> dict[str, Any]:
    clean = scaled(share)
    return {"clean": clean, "repeated": clean.logits}


def honest(**changes: Any) -> Evidence:
    """Evidence of a model without gradient masking."""
    labels = np.arange(N) % K
    logits = np.eye(K, dtype=np.float32)[labels] * 10
    clean = CleanSample(np.zeros((N, 1, 1, 1), np.float32), labels, logits, np.ones(N, bool))
    whole = Evidence(
        clean=clean,
        repeated=logits.copy(),
        fgsm=attacked(),
        pgd=attacked(),
        stopped=stopped(),
        linearity=np.ones(64),
        longer=LongerRun(steps=80, survivors=100, unconverged=50, broken=0),
        unbounded=np.zeros(64, bool),
        trend={"linf": [1.0, 0.5, 0.2], "l2": [1.0, 0.9]},
        threats=3,
        noise=np.ones(N, bool),
        queries=rival(),
        transfer=replace(rival(), queries=None),
    )
    return replace(whole, **changes)


def some(count: int) -> np.ndarray:
    """bool [N]: the first `count` images."""
    return np.arange(N) < count


def other_logits(rows: np.ndarray, by: float) -> np.ndarray:
    logits: np.ndarray = honest().clean.logits.copy()
    logits[rows] += np.float32(by)
    return logits


MASKED: dict[str, dict[str, Any]] = {
    "masking_zero_gradient": {"fgsm": attacked(zero_gradients=some(3))},
    "masking_saturated": saturated(SATURATED_SHARE + 2 / N),
    "masking_stopped": {"stopped": stopped(2 * HIDDEN)},
    "masking_shattered": {"linearity": np.where(np.arange(64) < 4, LEAST_GAIN / 2, 1.0)},
    "masking_random": {"repeated": other_logits(some(1), 0.1)},
    "masking_silent": {"pgd": attacked(claimed=attacked().claimed & ~some(6))},
    "masking_transfer": {"fgsm": attacked(claimed=attacked().claimed | some(6))},
    "masking_converged": {"longer": LongerRun(80, 100, 50, FEW + 1)},
    "masking_unbounded": {"unbounded": np.arange(64) == 0},
    "masking_epsilon": {"trend": {"linf": [1.0, 0.5, 0.2], "l2": [0.9, 0.92]}},
    "masking_iterative": {"fgsm": attacked(robust=attacked().robust & ~some(8))},
    "masking_noise": {"noise": attacked().robust & ~some(2)},
    "masking_queries": {"queries": rival(FEW + 1)},
    "masking_surrogate": {"transfer": rival(FEW + 1, queries=None)},
}
# Just within each limit.
TOLERATED: dict[str, dict[str, Any]] = {
    "masking_zero_gradient": {"fgsm": attacked(zero_gradients=some(int(N * ZERO_SHARE)))},
    "masking_saturated": saturated(SATURATED_SHARE),
    "masking_stopped": {"stopped": stopped(HIDDEN / 2, "Round")},
    "masking_shattered": {"linearity": np.where(np.arange(64) < 3, np.nan, 1.0)},
    "masking_random": {"repeated": other_logits(some(N), 1e-4)},
    "masking_silent": {"pgd": attacked(claimed=attacked().claimed & ~some(int(2 * N * TOLERANCE)))},
    "masking_transfer": {"fgsm": attacked(claimed=attacked().claimed | some(int(2 * N * TOLERANCE)))},
    "masking_converged": {"longer": LongerRun(80, 100, 50, FEW)},
    "masking_epsilon": {"trend": {"linf": [0.5, 0.5 + TOLERANCE / 2]}},
    "masking_iterative": {"fgsm": attacked(robust=attacked().robust & ~some(2))},
    "masking_noise": {"noise": attacked().robust},
    "masking_queries": {"queries": rival(FEW)},
    "masking_surrogate": {"transfer": rival(FEW, queries=None)},
}


def failed(evidence: Evidence) -> set[str]:
    return {check.code for check in masking_checks(evidence) if check.failed}


def test_honest_evidence_fails_no_check_and_each_code_is_there_once() -> None:
    checks = masking_checks(honest())
    assert [check.code for check in checks] == list(MASKED)
    assert {check.state for check in checks} == {"passed"}
    assert all(check.expectation and check.measured and check.expected and check.remedy for check in checks)


@pytest.mark.parametrize("code", MASKED)
def test_each_defect_fails_its_check_alone(code: str) -> None:
    evidence = honest(**MASKED[code])
    assert failed(evidence) == {code}
    [check] = [check for check in masking_checks(evidence) if check.failed]
    assert check.value > check.limit


@pytest.mark.parametrize("code", TOLERATED)
def test_a_measurement_within_its_limit_fails_no_check(code: str) -> None:
    evidence = honest(**TOLERATED[code])
    assert not failed(evidence)
    [check] = [check for check in masking_checks(evidence) if check.code == code]
    [without] = [check for check in masking_checks(honest()) if check.code == code]
    assert code == "masking_random" or check != without  # the change is seen, and tolerated


def test_without_a_surrogate_there_are_thirteen_checks() -> None:
    checks = masking_checks(honest(transfer=None))
    assert len(checks) == len(CHECKS) == 13
    assert "masking_surrogate" not in {check.code for check in checks}


def test_a_few_images_of_a_large_sample_and_a_share_of_a_small_one_are_tolerated() -> None:
    """Both bounds must be exceeded: more than `FEW` images, and more than the share of the sample."""
    large = int((FEW + 1) / RIVAL_SHARE) + 1
    assert not failed(honest(queries=rival(FEW + 1, large, large)))
    assert not failed(honest(queries=rival(FEW, FEW, FEW)))


def test_logits_that_are_not_finite_twice_are_the_same_logits() -> None:
    clean = honest().clean
    odd = clean.logits.copy()
    odd[0], odd[1] = np.nan, np.inf
    assert not failed(honest(clean=replace(clean, logits=odd), repeated=odd.copy()))
    assert failed(honest(clean=clean, repeated=odd)) == {"masking_random"}


def unproven(evidence: Evidence) -> dict[str, str]:
    return {check.code: check.unproven for check in masking_checks(evidence) if check.state == "not proven"}


ON_SURVIVORS = ("masking_converged", "masking_queries", "masking_surrogate")


def all_with(survivors: int, right: int, queries: int = 1000) -> Evidence:
    """`survivors` of `right` correctly classified images are left for each check on survivors."""
    evidence = honest()
    return replace(
        evidence,
        clean=replace(evidence.clean, right=some(right)),
        longer=LongerRun(80, survivors, survivors, 0),
        queries=rival(0, survivors, right, queries),
        transfer=rival(0, survivors, right, None),
    )


@pytest.mark.parametrize(
    ("survivors", "right", "has_power"),
    [
        (LEAST_SURVIVORS, 200, True),
        (LEAST_SURVIVORS - 1, LEAST_SURVIVORS - 1, False),  # few images, none broken
        (23, 32, False),
        (57, 96, False),  # 39 of 96 broken: no majority
        (11, 30, False),  # 19 of 30: no majority beyond sampling error
        (80, 200, True),  # 120 of 200: a majority
        (0, 31, True),
        (0, 3, False),
    ],
)
def test_a_check_on_few_survivors_is_not_proven_unless_attacks_broke_most(
    survivors, right, has_power
) -> None:
    evidence = all_with(survivors, right)
    assert not failed(evidence)
    assert set(unproven(evidence)) == (set() if has_power else set(ON_SURVIVORS))
    measured = {check.code: check.measured for check in masking_checks(evidence)}
    explained = f"the attacks before broke {right - survivors} of {right} images"
    for code in ON_SURVIVORS:
        assert (explained in measured[code]) == (has_power and survivors < LEAST_SURVIVORS)
    for reason in unproven(evidence).values():
        assert reason.startswith(f"{survivors} survivor")


def test_few_queries_prove_nothing_and_say_how_many_are_needed() -> None:
    few = all_with(150, 200, LEAST_QUERIES - 1)
    assert unproven(few) == {
        "masking_queries": f"{LEAST_QUERIES - 1} queries per image, and at least {LEAST_QUERIES} are needed"
    }
    assert not unproven(all_with(150, 200, LEAST_QUERIES))
    assert not unproven(all_with(20, 200, LEAST_QUERIES - 1))


def test_a_check_without_power_that_fails_has_failed() -> None:
    evidence = replace(all_with(20, 30), queries=rival(FEW + 1, 20, 30))
    assert failed(evidence) == {"masking_queries"}
    assert "masking_queries" not in unproven(evidence)


@pytest.mark.parametrize(
    ("changes", "view"),
    [
        ({"stopped": Stopped((), (), np.zeros(0), known=True)}, "smoothed"),
        ({"stopped": Stopped((), (), np.zeros(0), known=False)}, "straight_through"),
        ({"stopped": stopped(0.0, "Round")}, "straight_through"),
    ],
)
def test_the_view_after_zero_gradients_is_one_that_can_help(changes: dict[str, Any], view: str) -> None:
    """Where the graph is known and nothing stops the gradient, a straight-through view is the model itself."""
    evidence = honest(fgsm=attacked(zero_gradients=some(3)), **changes)
    assert [check.view for check in masking_checks(evidence) if check.failed] == [view]


def test_blocked_operations_fail_and_are_named_with_their_layer() -> None:
    evidence = honest(stopped=stopped(0.0, "ArgMax", blocked=True))
    assert failed(evidence) == {"masking_stopped"}
    [check] = [check for check in masking_checks(evidence) if check.failed]
    assert "ArgMax (net/layer) cannot be passed" in check.measured
    many = tuple(("Round", f"block{number}/rounding_layer/Round") for number in range(50))
    [check] = [
        check
        for check in masking_checks(honest(stopped=Stopped(many, (), np.ones(8), known=True)))
        if check.failed
    ]
    assert "Round (block0/rounding_layer)" in check.measured
    assert "more change the gradient of 100.0\u202f% of 8 images" in check.measured
    assert len(check.measured) < 300


def test_a_gradient_that_is_not_a_number_hides_everything() -> None:
    assert failed(honest(stopped=replace(stopped(), hidden=np.full(4, np.nan)))) == {"masking_stopped"}
