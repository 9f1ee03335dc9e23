"""The masking checks as functions of evidence: one change of the evidence fails one check, and no other."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from safeml.audits.adversarial.checks import CHECKS, FEW, RIVAL_SHARE, TOLERANCE, ZERO_SHARE, masking_checks
from safeml.audits.adversarial.evidence import Evidence, LongerRun, Rival
from safeml.audits.adversarial.measure import Measured
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
        linearity=np.ones(64),
        longer=LongerRun(steps=80, survivors=100, unconverged=50, broken=0),
        unbounded=np.zeros(64, bool),
        trend={"linf": [1.0, 0.5, 0.2], "l2": [1.0, 0.9]},
        threats=3,
        noise=np.ones(N, bool),
        queries=Rival(survivors=100, broken=0, total=N),
        transfer=Rival(survivors=100, broken=0, total=N),
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
    "masking_shattered": {"linearity": np.where(np.arange(64) < 4, LEAST_GAIN / 2, 1.0)},
    "masking_random": {"repeated": other_logits(some(1), 0.1)},
    "masking_silent": {"pgd": attacked(claimed=attacked().claimed & ~some(6))},
    "masking_transfer": {"fgsm": attacked(claimed=attacked().claimed | some(6))},
    "masking_converged": {"longer": LongerRun(80, 100, 50, FEW + 1)},
    "masking_unbounded": {"unbounded": np.arange(64) == 0},
    "masking_epsilon": {"trend": {"linf": [1.0, 0.5, 0.2], "l2": [0.9, 0.92]}},
    "masking_iterative": {"fgsm": attacked(robust=attacked().robust & ~some(8))},
    "masking_noise": {"noise": attacked().robust & ~some(2)},
    "masking_queries": {"queries": Rival(100, FEW + 1, N)},
    "masking_surrogate": {"transfer": Rival(100, FEW + 1, N)},
}
# Just within each limit.
TOLERATED: dict[str, dict[str, Any]] = {
    "masking_zero_gradient": {"fgsm": attacked(zero_gradients=some(int(N * ZERO_SHARE)))},
    "masking_shattered": {"linearity": np.where(np.arange(64) < 3, np.nan, 1.0)},
    "masking_random": {"repeated": other_logits(some(N), 1e-4)},
    "masking_silent": {"pgd": attacked(claimed=attacked().claimed & ~some(int(2 * N * TOLERANCE)))},
    "masking_transfer": {"fgsm": attacked(claimed=attacked().claimed | some(int(2 * N * TOLERANCE)))},
    "masking_converged": {"longer": LongerRun(80, 100, 50, FEW)},
    "masking_epsilon": {"trend": {"linf": [0.5, 0.5 + TOLERANCE / 2]}},
    "masking_iterative": {"fgsm": attacked(robust=attacked().robust & ~some(2))},
    "masking_noise": {"noise": attacked().robust},
    "masking_queries": {"queries": Rival(100, FEW, N)},
    "masking_surrogate": {"transfer": Rival(100, FEW, N)},
}


def failed(evidence: Evidence) -> set[str]:
    return {check.code for check in masking_checks(evidence) if check.failed}


def test_honest_evidence_fails_no_check_and_each_code_is_there_once() -> None:
    checks = masking_checks(honest())
    assert [check.code for check in checks] == list(MASKED)
    assert not any(check.failed for check in checks)
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


def test_without_a_surrogate_there_are_eleven_checks() -> None:
    checks = masking_checks(honest(transfer=None))
    assert len(checks) == len(CHECKS) == 11
    assert "masking_surrogate" not in {check.code for check in checks}


def test_a_few_images_of_a_large_sample_and_a_share_of_a_small_one_are_tolerated() -> None:
    """Both bounds must be exceeded: more than `FEW` images, and more than the share of the sample."""
    large = int((FEW + 1) / RIVAL_SHARE) + 1
    assert not failed(honest(queries=Rival(large, FEW + 1, large)))
    assert not failed(honest(queries=Rival(FEW, FEW, FEW)))


def test_logits_that_are_not_finite_twice_are_the_same_logits() -> None:
    clean = honest().clean
    odd = clean.logits.copy()
    odd[0], odd[1] = np.nan, np.inf
    assert not failed(honest(clean=replace(clean, logits=odd), repeated=odd.copy()))
    assert failed(honest(clean=clean, repeated=odd)) == {"masking_random"}
