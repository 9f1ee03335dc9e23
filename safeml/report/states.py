"""Each status as one word, one shape and one colour."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from safeml.results import GateResult, Run, StageResult


@dataclass(frozen=True)
class State:
    word: str
    colour: str
    symbol: str


GATE_STATES = {
    "pass": State("passed", "pass", "i-pass"),
    "fail": State("failed", "fail", "i-fail"),
    "not_proven": State("not proven", "unsure", "i-unsure"),
    "error": State("error", "error", "i-error"),
    "skipped": State("not measured", "none", "i-none"),
    "waived": State("waived", "none", "i-waived"),
}
VERDICT_STATES = {
    "passed": State("passed", "pass", "i-pass"),
    "failed": State("failed", "fail", "i-fail"),
    "not_proven": State("not proven", "unsure", "i-unsure"),
    "incomplete": State("incomplete", "error", "i-error"),
}
FINDING_STATES = {
    "info": State("note", "none", "i-info"),
    "warning": State("warning", "unsure", "i-unsure"),
    "serious": State("serious", "fail", "i-fail"),
}
CRASHED = State("error", "error", "i-error")
SKIPPED = State("not run", "none", "i-none")
NO_GATE = State("no gate", "none", "i-info")


def stage_gates(run: Run, stage: StageResult) -> list[GateResult]:
    """The decisions on this stage's metrics, worst first as in the verdict."""
    return [
        result
        for result in run.verdict.gates
        if (result.gate.subject, result.gate.stage) == (stage.subject, stage.stage)
    ]


def stage_state(stage: StageResult, gates: Sequence[GateResult]) -> State:
    """A crashed or skipped stage says so; else the state of its worst gate; without gates, that there is none."""
    if stage.status == "error":
        return CRASHED
    if stage.status == "skipped":
        return SKIPPED
    return GATE_STATES[gates[0].status] if gates else NO_GATE


def counts(gates: Sequence[GateResult]) -> list[tuple[State, int]]:
    """How many gates are in each state, in the order in which they stand."""
    found: dict[State, int] = {}
    for result in gates:
        state = GATE_STATES[result.status]
        found[state] = found.get(state, 0) + 1
    return list(found.items())
