"""Decide a recorded run again, and check its recorded verdict: (run, date) -> verdict. Pure, as `safeml.gates` is."""

from __future__ import annotations

from collections.abc import Sequence

from safeml.errors import PRECEDENCE, ExitCode
from safeml.gates import EXIT_CODE, RULES, VERDICT, decide
from safeml.results import Accepted, Gate, Requirement, Run, Verdict


def decide_again(
    run: Run,
    today: str,
    gates: Sequence[Gate] | None = None,
    accepted: Sequence[Accepted] | None = None,
    requirements: Sequence[Requirement] | None = None,
) -> Verdict:
    """Decide a recorded run by the present rules, with its own gates, accepted entries and requirements or with others."""
    return decide(
        run.stages,
        run.gates if gates is None else gates,
        today,
        accepted=run.accepted if accepted is None else accepted,
        requirements=run.requirements if requirements is None else requirements,
        profile=run.profile,
        accept_quick=run.accept_quick,
    )


def follows(run: Run, today: str) -> bool:
    """Whether the recorded verdict is the one that the recorded evidence and gates give on that day, by the rules of the run."""
    again, recorded = decide_again(run, today), run.verdict
    states = [(result.gate.id, result.status) for result in recorded.gates]
    ungated = [(entry.stage, entry.title, entry.state) for entry in recorded.ungated]
    if recorded.rules < RULES:  # neither alarms nor profile; missing evidence was graver than a failure
        if run.accepted or run.requirements or any(stage.alarms for stage in run.stages):
            return False  # no run of those rules has them: the number of the rules was edited
        codes = {EXIT_CODE[result.status] for result in again.gates}
        codes |= {ExitCode.INCOMPLETE for stage in run.stages if stage.status == "error"}
        first = [ExitCode.INCOMPLETE] if ExitCode.INCOMPLETE in codes else []
        code = next(code for code in (*first, *PRECEDENCE) if code in codes)
        again = again.model_copy(update={"status": VERDICT[code], "exit_code": int(code), "ungated": []})
        states, again_states = sorted(states), sorted((r.gate.id, r.status) for r in again.gates)
    else:
        again_states = [(result.gate.id, result.status) for result in again.gates]
    return (
        (recorded.status, recorded.exit_code) == (again.status, again.exit_code)
        and states == again_states
        and ungated == [(entry.stage, entry.title, entry.state) for entry in again.ungated]
        and recorded.requirements == again.requirements
    )
