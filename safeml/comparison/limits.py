"""Requirements of two runs: which were dropped, loosened, waived, added or tightened; and settings that differ.

A requirement is a metric with a direction, not a gate id: a renamed gate is the same requirement.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from safeml.comparison.records import LOOSENED, GateChange, LimitChange, SettingChange
from safeml.results import MODEL, Gate, Run
from safeml.verdict_text import title_of
from safeml.wording import counted, number


class Requirement(NamedTuple):
    """What a gate asks. side: ">=" or "<="; an equality asks both."""

    subject: str
    stage: str
    metric: str
    slice: str
    side: str


def limit_changes(first: Sequence[Gate], second: Sequence[Gate]) -> list[LimitChange]:
    """Compare the requirements of two sets of gates; the loosened ones come first."""
    before, after = _strictest(first), _strictest(second)
    changes = [
        _change(key, before.get(key, []), after.get(key, [])) for key in dict.fromkeys([*before, *after])
    ]
    once: dict[tuple[str, ...], LimitChange] = {}
    for change in changes:
        if change is not None:  # an equality asks two sides and is one line
            once.setdefault((change.kind, change.requirement, change.first, change.second), change)
    return sorted(once.values(), key=lambda change: (change.kind not in LOOSENED, change.requirement))


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


def _strictest(gates: Sequence[Gate]) -> dict[Requirement, list[Gate]]:
    """Return the gates of each requirement, the strictest first."""
    known: dict[Requirement, list[Gate]] = {}
    for gate in gates:
        for side in (">=", "<=") if gate.op == "==" else (gate.op,):
            key = Requirement(gate.subject, gate.stage, gate.metric, gate.slice, side)
            known.setdefault(key, []).append(gate)
    for key, same in known.items():
        same.sort(key=lambda gate: -gate.threshold if key.side == ">=" else gate.threshold)
    return known


def _change(key: Requirement, first: list[Gate], second: list[Gate]) -> LimitChange | None:
    named = (second or first)[0]
    requirement = f"{title_of(named)} ({_place(key)})"
    old, new = (_words(gates) for gates in (first, second))
    if not second:
        return LimitChange(kind="dropped", requirement=requirement, first=old, second="no gate")
    if not first:
        return LimitChange(kind="added", requirement=requirement, first="no gate", second=new)
    sign = 1 if key.side == ">=" else -1
    stricter = sign * (second[0].threshold - first[0].threshold)
    smaller = max(gate.min_n for gate in second) - max(gate.min_n for gate in first)
    inexact = first[0].op == "==" and not any(gate.op == "==" for gate in second)
    if stricter < 0 or smaller < 0 or (inexact and stricter <= 0):
        return LimitChange(kind="loosened", requirement=requirement, first=old, second=new)
    if _until(second) > _until(first):
        return LimitChange(kind="waived", requirement=requirement, first=old, second=new)
    if stricter > 0 or smaller > 0:
        return LimitChange(kind="tightened", requirement=requirement, first=old, second=new)
    if _until(second) < _until(first):
        return LimitChange(kind="waiver removed", requirement=requirement, first=old, second=new)
    return None


def _until(gates: list[Gate]) -> str:
    """Return the last day of the longest waiver; "" without one."""
    return max((gate.waiver.until for gate in gates if gate.waiver is not None), default="")


def _place(key: Requirement) -> str:
    parts = [key.subject] * (key.subject != MODEL) + [f"{key.stage}.{key.metric}"]
    return ", ".join([*parts, *([key.slice] if key.slice != "all" else [])])


def _words(gates: list[Gate]) -> str:
    """Return the strictest limit, and what weakens it."""
    if not gates:
        return "no gate"
    gate, images = gates[0], max(gate.min_n for gate in gates)
    text = f"{gate.op} {number(gate.threshold)}"
    if images > 1:
        text += f" on at least {counted(images, 'image')}"
    until = _until(gates)
    return f"{text}, waived until {until}" if until else text
