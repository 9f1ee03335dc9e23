"""The work and the time of a plan: steps, answers, stored work and durations."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from safeml.audits.adversarial.evidence import LEAST_STEPS, LONGER
from safeml.audits.adversarial.items import SLICE as ATTACK_SLICE
from safeml.audits.balance import run as balance
from safeml.audits.base import AuditInputs
from safeml.audits.perfect import Call
from safeml.audits.performance import run as performance
from safeml.audits.performance.perfect import PERFECT
from safeml.errors import StageError
from safeml.planning.base import Seconds
from safeml.planning.best_case import BestCase, correct_model
from safeml.planning.cost import DryWork, Rates, forward_passes, gradient_steps, seconds_of, together
from safeml.planning.perfect import PerfectWork
from safeml.planning.words import duration
from safeml.stages.balance import BalanceSettings
from safeml.stages.performance import PERFORMANCE, PerformanceSettings
from safeml.threats import Threat
from safeml.work import Cost, keep_nothing
from tests.fakes import dataset, oracle
from tests.plan_cases import ACCURACY, FLAGS, ROBUST, SHARED, images, known, planned


def test_the_stages_say_of_kept_work_what_they_say_of_an_oracle() -> None:
    """The best case is the real stage on a real perfect classifier, metric by metric."""
    test = images(120, groups={"family": np.array(["a", "b"] * 60)})
    subject = known(test, ACCURACY)
    mine = BestCase(subject).run(PERFORMANCE)
    theirs = performance.run(AuditInputs(oracle(test.labels, 4), test), PerformanceSettings())
    assert mine.metrics == theirs.metrics


def test_the_counts_are_those_of_the_balance_stage() -> None:
    test, train = images(60), images(90, seed=5)
    subject = known(test, SHARED, train=train)
    [mine] = [stage for stage in BestCase(subject).stages() if stage.stage == "balance"]
    theirs = balance.run(AuditInputs(oracle(test.labels, 4), test, train), BalanceSettings())
    assert mine.metrics == theirs.metrics


def test_work_of_an_unknown_kind_is_not_guessed() -> None:
    work = PerfectWork(correct_model(dataset(np.zeros(4, int), ("a", "b"))), PERFECT.arrays, np.arange(4))
    with pytest.raises(StageError, match="saliency"):
        work("heat", {}, {"saliency": ("float32", (4,))}, dict)


@pytest.mark.parametrize("steps", [7, 12])
def test_steps_and_answers_are_counted_as_the_attacks_make_them(steps: int) -> None:
    count, restarts = 300, 2
    threats = [
        {"norm": "linf", "epsilon": "4/255"},
        {"norm": "linf", "epsilon": "8/255"},
        {"norm": "l2", "epsilon": 0.5},
    ]
    stages = {
        "adversarial": {
            "images": count,
            "steps": steps,
            "restarts": restarts,
            "threats": threats,
            "attacks": ["fgsm", "pgd", "apgd_ce", "apgd_t", "square"],
            "full_ensemble": ["linf_4"],
            "apgd_steps": 10,
            "targets": 3,
            "queries": 50,
            "certify": False,
            "batch": 32,
        }
    }
    best = BestCase(known(images(count), ROBUST, stages=stages))
    best.stages()
    calls = best.calls["adversarial"]
    probed = 64
    apgd = count * 10 * restarts + count * 10 * 3
    longer = count * max(LONGER * steps, LEAST_STEPS) * restarts  # of what has not converged: at most all
    assert gradient_steps(calls) == 3 * count * (1 + steps * restarts) + apgd + longer + probed * 2 * steps
    clean_again_noise = 3 * count
    fgsm, pgd = 3 * count * 3, 4 * count * (2 + restarts)
    dear = count * (2 + restarts) + count * (2 + 3) + count * (2 + 1 + 50)
    assert forward_passes(calls) == clean_again_noise + fgsm + pgd + dear + probed * (2 + 1) + probed
    assert forward_passes(best.calls["performance"]) == count
    assert max(call.images for call in calls) == ATTACK_SLICE


def test_what_is_kept_costs_nothing_and_dry_work_keeps_nothing() -> None:
    form = {"logits": ("float32", (3, 2)), "batches": ("int64", (1,))}
    stored = {"logits": np.full((3, 2), 7, np.float32), "batches": np.ones(1, np.int64)}
    kept: list[str] = []

    def journal(item: str, parts: Any, form: Any, measure: Any) -> Any:
        if item == "first":
            return stored
        arrays = measure()
        kept.append(item)
        return arrays

    work = DryWork(
        journal,
        PerfectWork(correct_model(dataset(np.array([0, 1, 1]), ("a", "b"))), PERFECT.arrays, np.arange(3)),
    )
    assert work("first", {}, form, dict) is stored
    assert work("second", {}, form, dict)["logits"].argmax(axis=1).tolist() == [0, 1, 1]
    assert kept == []
    assert [call.kept for call in work.calls] == [True, False]
    rates = Rates(forward=1.0, forward_batch=2)
    one, both = (seconds_of(calls, rates, 0.0) for calls in (work.calls[1:], work.calls))
    assert one == both
    assert one.low <= 2.0 <= one.high  # three images are two batches of two
    assert DryWork(keep_nothing, work.pretended)("third", {}, form, dict)["logits"].shape == (3, 2)


def test_seconds_follow_batches_steps_and_starts() -> None:
    rates = Rates(0.5, 256, 64, {"linf": 0.1}, {"linf": 0.3})
    attack = Call("pgd-linf_4", 256, Cost(steps=40, attempts=2, graph="linf"))
    expected = 0.5 + 4 * (40 * 0.1 + 2 * 0.3)  # one batch answered; four attacked
    found = seconds_of([attack], rates, beside=1.0)
    assert found.low < expected + 1.0 < found.high
    assert together([None, found, None]) == found
    assert together([None]) is None


def test_workers_share_the_slices_of_an_item_and_wait_for_the_last() -> None:
    rates = Rates(forward=1.0, forward_batch=256)
    calls = [Call(item, 256, Cost()) for item in ("first", "first", "first", "second")]

    def middle(workers: int) -> float:
        found = seconds_of(calls, rates, 5.0, workers)
        assert found is not None
        return found.high / 1.6

    assert middle(1) == pytest.approx(5 + 4)
    assert middle(2) == pytest.approx(5 + 2 + 1)
    assert middle(3) == middle(9) == pytest.approx(5 + 1 + 1)


@pytest.mark.parametrize(
    ("low", "high", "text"),
    [
        (0.1, 0.4, "< 1 s"),
        (4, 9, "4 to 9 s"),
        (170, 350, "3 to 6 min"),
        (5000, 10000, "1.4 to 3 h"),
        (7, 7, "7 s"),
    ],
)
def test_times_are_read_at_a_glance(low: float, high: float, text: str) -> None:
    assert duration(Seconds(low=low, high=high)) == text


def test_a_main_threat_is_attacked_in_the_widest_case_too() -> None:
    """An unbounded threat among the configured ones breaks every image, also of the best model."""
    assert Threat(norm="linf", epsilon=1.0).label == "linf_255"
    stages = {
        "adversarial": {"threats": [{"norm": "linf", "epsilon": "4/255"}, {"norm": "linf", "epsilon": 1.0}]}
    }
    gate = {**ROBUST, "metric": "robust_accuracy.linf_255"}
    gates, code = planned(images(120), gate, FLAGS, stages=stages)
    assert ([found.state for found in gates], code) == (["fails", "provable"], 1)
