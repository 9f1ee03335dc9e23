"""Requirements of two runs: which were dropped, lowered, waived, added or tightened; and settings that differ."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from safeml.comparison.records import GateChange, Kind, LimitChange, SettingChange
from safeml.loosening import loosened, loosened_requirements
from safeml.results import MODEL, Gate, Loosened, Requirement, Run
from safeml.verdict_text import title_of
from safeml.wording import counted, number

# A change to looser limits, read in the other direction.
REVERSED: dict[str, Kind] = {"dropped": "added", "lowered": "tightened", "waived": "waiver removed"}


def limit_changes(first: Sequence[Gate], second: Sequence[Gate]) -> list[LimitChange]:
    """Compare the limits of two sets of gates; the loosened ones come first.

    Gates are the same if they read the same metric: another id changes nothing.
    """
    return _both_ways(loosened(first, second), loosened(second, first))


def requirement_changes(first: Run, second: Run) -> list[LimitChange]:
    """Compare the requirements of two runs by id; those that ask for less come first."""
    return _both_ways(
        loosened_requirements(first.requirements, first.gates, second.requirements, second.gates),
        loosened_requirements(second.requirements, second.gates, first.requirements, first.gates),
    )


def _both_ways(looser: Sequence[Loosened], stricter: Sequence[Loosened]) -> list[LimitChange]:
    return [
        *(
            LimitChange(
                kind=change.kind,
                requirement=_requirement(change.old),
                first=_words(change.old),
                second=_words(change.new),
            )
            for change in looser
        ),
        *(
            LimitChange(
                kind=REVERSED[change.kind],
                requirement=_requirement(change.old),
                first=_words(change.new),
                second=_words(change.old),
            )
            for change in stricter
        ),
    ]


def gate_changes(first: Run, second: Run) -> list[GateChange]:
    """Return the gates, by id, whose status differs."""
    before = {result.gate.id: result for result in first.verdict.gates}
    after = {result.gate.id: result for result in second.verdict.gates}
    changes = []
    for name in dict.fromkeys([*after, *before]):
        old, new = before.get(name), after.get(name)
        known = new or old
        if known is not None and (old and old.status) != (new and new.status):
            changes.append(
                GateChange(
                    id=name,
                    title=title_of(known.gate, known.metric),
                    first=old.status if old else None,
                    second=new.status if new else None,
                )
            )
    return changes


def setting_changes(first: Run, second: Run) -> list[SettingChange]:
    """Return the settings that differ, gates aside, by dotted key."""
    before, after = (dict(_flat(run.configuration)) for run in (first, second))
    return [
        SettingChange(key=key, first=before.get(key, ""), second=after.get(key, ""))
        for key in sorted(before.keys() | after.keys())
        if before.get(key, "") != after.get(key, "") and key.partition(".")[0] != "gates"
    ]


def _flat(values: dict[str, Any], path: str = "") -> Iterator[tuple[str, str]]:
    for key, value in values.items():
        if isinstance(value, dict) and value:
            yield from _flat(value, f"{path}{key}.")
        else:
            yield f"{path}{key}", json.dumps(value, ensure_ascii=False, sort_keys=True)


def _requirement(gate: Gate | Requirement) -> str:
    if isinstance(gate, Requirement):
        return f"{gate.text} ({gate.id})"
    subject = [gate.subject] * (gate.subject != MODEL)
    place = ", ".join([*subject, f"{gate.stage}.{gate.metric}", *([gate.slice] * (gate.slice != "all"))])
    return f"{title_of(gate)} ({place})"


def _words(gate: Gate | Requirement | None) -> str:
    """Return the limit of a gate, and what weakens it; of a requirement, its gates."""
    if gate is None:
        return "none"
    if isinstance(gate, Requirement):
        return f"verified by {', '.join(gate.gates)}" if gate.gates else "without a gate"
    text = f"{gate.op} {number(gate.threshold)}"
    if gate.min_n > 1:
        text += f" on at least {counted(gate.min_n, 'image')}"
    return f"{text}, waived until {gate.waiver.until}" if gate.waiver is not None else text
