"""From requirements to gates: which requirement is met, and which gate is there for none. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from safeml.results import GateResult, GateStatus, Requirement, RequirementResult, RequirementStatus

# The state of a requirement by that of its worst gate, worst first.
BY_GATE: tuple[tuple[GateStatus, RequirementStatus, str], ...] = (
    ("fail", "failed", "failed"),
    ("error", "incomplete", "has no usable evidence"),
    ("skipped", "incomplete", "was not measured"),
    ("not_proven", "not_proven", "is not proven"),
    ("waived", "waived", "is waived"),
    ("pass", "met", "passes"),
)
QUICK = "every gate passes, but the quick profile proves nothing"


def traced(
    requirements: Sequence[Requirement], gates: Sequence[GateResult], unproven_profile: bool = False
) -> list[RequirementResult]:
    """Return the decision on each requirement, in their order.

    gates: all decided gates; an id that is not among them has no evidence.
    unproven_profile: the quick profile decides, and its pass is not accepted.
    """
    states = {result.gate.id: result.status for result in gates}
    return [_traced(entry, states, unproven_profile) for entry in requirements]


def without_requirement(requirements: Sequence[Requirement], gates: Sequence[GateResult]) -> list[GateResult]:
    """Return the gates that no requirement names, in their order."""
    named = {name for entry in requirements for name in entry.gates}
    return [result for result in gates if result.gate.id not in named]


def _traced(
    requirement: Requirement, states: dict[str, GateStatus], unproven_profile: bool
) -> RequirementResult:
    status, clause = _state(requirement, states, unproven_profile)
    return RequirementResult(
        requirement=requirement, status=status, message=f"Requirement {requirement.id}: {clause}."
    )


def _state(
    requirement: Requirement, states: dict[str, GateStatus], unproven_profile: bool
) -> tuple[RequirementStatus, str]:
    if not requirement.gates:
        return _without_gates(requirement)
    own = {name: states.get(name, "error") for name in requirement.gates}
    for gate_status, status, words in BY_GATE:
        names = [name for name, state in own.items() if state == gate_status]
        if not names:
            continue
        if status == "met" and unproven_profile:
            return "not_proven", QUICK
        if status == "met":
            return status, "its gate passes" if len(names) == 1 else f"all {len(names)} gates pass"
        return status, f'its gate "{names[0]}" {words}'
    raise AssertionError("a gate has one of the statuses above")


def _without_gates(requirement: Requirement) -> tuple[RequirementStatus, str]:
    where = requirement.elsewhere.rstrip(".")
    if where and requirement.owner:
        return "elsewhere", f"{requirement.owner} answers for evidence elsewhere ({where})"
    if where:
        return (
            "unsigned",
            f"its evidence is elsewhere ({where}) and no owner answers for it; name the owner of the requirement",
        )
    return (
        "untested",
        'no gate verifies it; set its "gates", or "elsewhere" and "owner" where its evidence is outside this report',
    )
