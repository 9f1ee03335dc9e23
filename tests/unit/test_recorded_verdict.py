"""A recorded verdict that does not follow from its evidence is forged; one by the first rules is still read."""

from __future__ import annotations

import pytest

from safeml.recorded_verdict import follows
from safeml.results import (
    Gate,
    Requirement,
)
from safeml.stages.physical import WORST
from tests.sample_run import TODAY, gate, run_of
from tests.ungated_cases import CLEAN, GATE, accept, physical


def test_a_verdict_whose_alarms_were_removed_is_forged() -> None:
    run = run_of([CLEAN, physical()], [GATE])
    assert follows(run, TODAY)
    for update in ({"ungated": []}, {"status": "passed", "exit_code": 0}):
        assert not follows(run.model_copy(update={"verdict": run.verdict.model_copy(update=update)}), TODAY)


@pytest.mark.parametrize(
    ("gates", "status", "code"),
    [
        ([GATE], "passed", 0),
        ([gate("clean", "clean_accuracy", threshold=0.99), gate("gone", "nothing")], "incomplete", 4),
    ],
)
def test_a_run_of_the_first_rules_is_still_read_and_its_forgery_found(
    gates: list[Gate], status: str, code: int
) -> None:
    """Such a run has no alarms, a quick pass is a pass, and missing evidence was graver than a failure."""
    new = run_of([CLEAN, physical().model_copy(update={"alarms": []})], gates, profile="quick")
    recorded = {"status": status, "exit_code": code, "ungated": [], "rules": 1}
    old = new.model_copy(update={"verdict": new.verdict.model_copy(update=recorded)})
    assert follows(old, TODAY)
    forged = old.verdict.model_copy(update={"status": "passed", "exit_code": 0})
    assert follows(old.model_copy(update={"verdict": forged}), TODAY) == (code == 0)


@pytest.mark.parametrize("of_today", ["alarms", "accepted", "requirements"])
def test_a_run_of_today_does_not_follow_from_the_first_rules(of_today: str) -> None:
    """With the number of the rules lowered, its alarms would not count."""
    without = run_of([CLEAN, physical(0.9).model_copy(update={"alarms": []})], [GATE])
    old = without.model_copy(
        update={"verdict": without.verdict.model_copy(update={"rules": 1, "ungated": []})}
    )
    assert follows(old, TODAY)
    changes = {
        "alarms": {"stages": [CLEAN, physical(0.0)]},
        "accepted": {"accepted": [accept(WORST)]},
        "requirements": {"requirements": [Requirement(id="R1", text="It reads signs.", gates=["clean"])]},
    }
    assert not follows(old.model_copy(update=changes[of_today]), TODAY)
