"""Each status as one word, one shape and one colour."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from safeml.results import GateResult, RequirementResult, RequirementStatus, Run, StageResult, Ungated


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
UNGATED_STATES = {
    "alarm": State("alarm", "unsure", "i-unsure"),
    "unsigned": State("not signed", "unsure", "i-unsure"),
    "accepted": State("accepted", "none", "i-waived"),
    "noted": State("not gated", "none", "i-info"),
}
# Best first.
REQUIREMENT_STATES: dict[RequirementStatus, State] = {
    "met": State("met", "pass", "i-pass"),
    "waived": State("waived", "none", "i-waived"),
    "elsewhere": State("elsewhere", "none", "i-info"),
    "not_proven": State("not proven", "unsure", "i-unsure"),
    "unsigned": State("not signed", "unsure", "i-unsure"),
    "untested": State("not tested", "unsure", "i-unsure"),
    "incomplete": State("incomplete", "error", "i-error"),
    "failed": State("not met", "fail", "i-fail"),
}
LOOSER = State("looser", "unsure", "i-unsure")
CRASHED = State("error", "error", "i-error")
SKIPPED = State("not run", "none", "i-none")
NO_REQUIREMENT = State("no requirement", "none", "i-info")
NO_GATE = State("no gate", "none", "i-info")


def stage_gates(run: Run, stage: StageResult) -> list[GateResult]:
    """The decisions on this stage's metrics, worst first as in the verdict."""
    return [
        result
        for result in run.verdict.gates
        if (result.gate.subject, result.gate.stage) == (stage.subject, stage.stage)
    ]


def stage_ungated(run: Run, stage: StageResult) -> list[Ungated]:
    """Return what no gate reads of this stage, worst first as in the verdict."""
    return [
        entry for entry in run.verdict.ungated if (entry.subject, entry.stage) == (stage.subject, stage.stage)
    ]


def stage_state(run: Run, stage: StageResult) -> State:
    """Return the state of a stage: crashed or skipped, else that of its worst gate or of what no gate reads, else no gate."""
    if stage.status == "error":
        return CRASHED
    if stage.status == "skipped":
        return SKIPPED
    gates, ungated = stage_gates(run, stage), stage_ungated(run, stage)
    settled = not gates or gates[0].status in ("pass", "waived")
    if settled and ungated and (ungated[0].state in ("alarm", "unsigned") or not gates):
        return UNGATED_STATES[ungated[0].state]
    return GATE_STATES[gates[0].status] if gates else NO_GATE


def counts(gates: Sequence[GateResult]) -> list[tuple[State, int]]:
    """How many gates are in each state, in the order in which they stand."""
    return list(Counter(GATE_STATES[result.status] for result in gates).items())


def ungated_counts(ungated: Sequence[Ungated]) -> list[tuple[State, int]]:
    """How many measurements without a gate are in each state, in the order in which they stand."""
    return list(Counter(UNGATED_STATES[entry.state] for entry in ungated).items())


def worst_requirement(run: Run) -> RequirementResult | None:
    """Return the requirement in the worst state, the first of several; None where none is written."""
    order = list(REQUIREMENT_STATES)
    return max(run.verdict.requirements, key=lambda entry: order.index(entry.status), default=None)
