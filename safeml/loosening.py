"""Limits that became looser since an earlier run: gates that are dropped, lowered or waived. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from safeml.results import Gate, Loosened, Run


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


def limits_of(run: Run) -> list[Gate]:
    """Return the limits that a later run is compared with: the gates of a run, and the limits that were loosened before it."""
    before = [change.old for change in run.loosened]
    replaced = {_reads(gate) for gate in before}
    return [*before, *(gate for gate in run.gates if _reads(gate) not in replaced)]


def same_limits(one: Sequence[Gate], other: Sequence[Gate]) -> bool:
    """Return whether two sets of gates decide the same; titles, rationales and order do not matter."""
    return _deciding(one) == _deciding(other)


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
