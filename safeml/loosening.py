"""What became looser since an earlier run: gates that are dropped, lowered or waived, and requirements that ask for less. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from safeml.results import Gate, Loosened, Requirement, Run


def loosened(earlier: Sequence[Gate], now: Sequence[Gate]) -> list[Loosened]:
    """Compare two sets of gates; return each gate of `earlier` that no gate of `now` replaces at the same strictness.

    Gates are the same if they read the same metric of the same subject, stage and slice: another id changes nothing.
    """
    changes = []
    for old in earlier:
        same = [gate for gate in now if _reads(gate) == _reads(old)]
        strict = [gate for gate in same if _as_strict(gate, old)]
        if not same:
            changes.append(_change("dropped", old, None))
        elif not strict:
            changes.append(_change("lowered", old, same[0]))
        elif all(_is_waived_since(gate, old) for gate in strict):
            changes.append(_change("waived", old, strict[0]))
    return changes


def loosened_since(run: Run, gates: Sequence[Gate], requirements: Sequence[Requirement]) -> list[Loosened]:
    """Return what is looser now than in a run, or than in the runs that it was compared with."""
    before = [change.old for change in run.loosened if isinstance(change.old, Requirement)]
    replaced = {entry.id for entry in before}
    earlier = [*before, *(entry for entry in run.requirements if entry.id not in replaced)]
    limits = limits_of(run)
    return [
        *loosened(limits, gates),
        *loosened_requirements(earlier, [*limits, *run.gates], requirements, gates),
    ]


def loosened_requirements(
    earlier: Sequence[Requirement],
    earlier_gates: Sequence[Gate],
    now: Sequence[Requirement],
    now_gates: Sequence[Gate],
) -> list[Loosened]:
    """Return each requirement of `earlier` that is gone, or that not all of its gates verify any more.

    Gates are the same as in `loosened`: another id changes nothing.
    """
    by_id = {entry.id: entry for entry in now}
    changes = []
    for old in earlier:
        new = by_id.get(old.id)
        if new is None:
            changes.append(_requirement_change("dropped", old, None))
        elif not _verified_by(old, earlier_gates) <= _verified_by(new, now_gates):
            changes.append(_requirement_change("lowered", old, new))
    return changes


def limits_of(run: Run) -> list[Gate]:
    """Return the limits that a later run is compared with: the gates of a run, and the limits that were loosened before it."""
    before = [change.old for change in run.loosened if isinstance(change.old, Gate)]
    replaced = {_reads(gate) for gate in before}
    return [*before, *(gate for gate in run.gates if _reads(gate) not in replaced)]


def same_limits(one: Sequence[Gate], other: Sequence[Gate]) -> bool:
    """Return whether two sets of gates decide the same; titles, rationales and order do not matter."""
    return _deciding(one) == _deciding(other)


def same_requirements(one: Sequence[Requirement], other: Sequence[Requirement]) -> bool:
    """Return whether two sets of requirements decide the same; texts, rationales and order do not matter."""
    return _asking(one) == _asking(other)


def _asking(requirements: Sequence[Requirement]) -> list[str]:
    bare = {"text": "text", "rationale": ""}
    return sorted(entry.model_copy(update=bare).model_dump_json() for entry in requirements)


def _verified_by(requirement: Requirement, gates: Sequence[Gate]) -> set[tuple[str, ...]]:
    """Return what the gates of a requirement read; a gate that is not known any more stands for itself, so that it counts as lost."""
    known = {gate.id: _reads(gate) for gate in gates}
    return {known.get(name, (name,)) for name in requirement.gates}


def _requirement_change(kind: str, old: Requirement, new: Requirement | None) -> Loosened:
    message = f"Requirement {old.id} was {kind}: {_gates(old)} before, {_gates(new)} now."
    return Loosened.model_validate({"kind": kind, "old": old, "new": new, "message": message})


def _gates(requirement: Requirement | None) -> str:
    if requirement is None:
        return "no requirement"
    return f"verified by {', '.join(requirement.gates)}" if requirement.gates else "without a gate"


def _deciding(gates: Sequence[Gate]) -> list[str]:
    bare = {"title": "", "rationale": "", "owner": "", "id": "gate"}
    return sorted(gate.model_copy(update=bare).model_dump_json() for gate in gates)


def _reads(gate: Gate) -> tuple[str, str, str, str]:
    return gate.subject, gate.stage, gate.metric, gate.slice


def _as_strict(gate: Gate, old: Gate) -> bool:
    """Return whether no evidence passes `gate` and not `old`, waivers aside."""
    if gate.min_n < old.min_n:
        return False
    if old.op == "==":
        return gate.op == "==" and gate.threshold == old.threshold
    if gate.op not in (old.op, "=="):
        return False
    return gate.threshold >= old.threshold if old.op == ">=" else gate.threshold <= old.threshold


def _is_waived_since(gate: Gate, old: Gate) -> bool:
    """Return whether a waiver is new, or lasts longer than before."""
    if gate.waiver is None:
        return False
    return old.waiver is None or gate.waiver.until > old.waiver.until


def _change(kind: str, old: Gate, new: Gate | None) -> Loosened:
    message = f"Gate {old.id} ({_where(old)}) was {kind}: {_limit(old)} before, {_limit(new)} now."
    return Loosened.model_validate({"kind": kind, "old": old, "new": new, "message": message})


def _where(gate: Gate) -> str:
    return gate.metric if gate.slice == "all" else f"{gate.metric} for {gate.slice}"


def _limit(gate: Gate | None) -> str:
    if gate is None:
        return "no limit"
    text = f"{gate.op} {gate.threshold:g}"
    if gate.min_n > 1:
        text += f" on at least {gate.min_n:,} images"
    return text + (f", waived by {gate.waiver.owner} until {gate.waiver.until}" if gate.waiver else "")
