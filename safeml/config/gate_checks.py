"""Checks of gates before any measurement.

`safeml.gates` decides from evidence and trusts no record. This module checks the settings alone, so that a gate that can
never be decided, or never fail, is reported before a long run.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

from safeml.errors import ConfigError
from safeml.results import BASELINE, MODEL, Accepted, Gate, Requirement
from safeml.settings.base import Settings
from safeml.settings.errors import found, suggest
from safeml.stages import STAGES, settings_of
from safeml.stages.base import Declared, Stage, losses

# The subjects that a run measures: the model, and its losses against a baseline.
SUBJECTS = [MODEL, BASELINE]
# More images than any test set has: such a gate is a mistake and could never be decided.
MOST_IMAGES = 1_000_000_000
MOST_SLICES = 6


def check_gates(
    gates: Sequence[Gate], stages: Settings, where: str, rows: Sequence[Stage[Any]] = STAGES
) -> None:
    """Raise ConfigError for the first gate of the settings file `where` that no run can decide as intended."""
    if not gates:
        raise ConfigError(
            f"{where}: has no [[gates]]; a verdict needs at least one, and `safeml init` writes the defaults."
        )
    for gate_id, count in Counter(gate.id for gate in gates).items():
        if count > 1:
            raise ConfigError(f'{where}: the gate id "{gate_id}" is used {count} times; ids must differ.')
    known = [stage.name for stage in rows]
    records = {stage.name: stage.records(settings_of(stages, stage)) for stage in rows}
    for gate in gates:
        here = f'{where}: gate "{gate.id}"'
        if gate.subject not in SUBJECTS:
            raise ConfigError(
                f"{here} is about the subject {found(gate.subject)}, which no run measures{suggest(gate.subject, SUBJECTS)}."
            )
        if gate.stage not in known:
            raise ConfigError(f"{here} reads the stage {found(gate.stage)}{suggest(gate.stage, known)}.")
        if gate.min_n > MOST_IMAGES:
            raise ConfigError(f"{here}: min_n is {found(gate.min_n)}; expected at most {MOST_IMAGES:,}.")
        declared = records[gate.stage] if gate.subject == MODEL else losses(records[gate.stage])
        _check_on(gate, _row(gate, declared, here), here)
    _check_together(gates, where)


def check_accepted(
    accepted: Sequence[Accepted],
    gates: Sequence[Gate],
    stages: Settings,
    where: str,
    rows: Sequence[Stage[Any]] = STAGES,
) -> None:
    """Raise ConfigError for the first accepted entry of the settings file `where` that covers nothing, or what a gate reads."""
    known = [stage.name for stage in rows]
    records = {stage.name: stage.records(settings_of(stages, stage)) for stage in rows}
    seen: set[tuple[str, str, str]] = set()
    for number, entry in enumerate(accepted, 1):
        here = f"{where}: accepted entry {number}"
        if entry.stage not in known:
            raise ConfigError(f"{here} names the stage {found(entry.stage)}{suggest(entry.stage, known)}.")
        place = (entry.stage, entry.metric, entry.slice)
        if place in seen:
            raise ConfigError(f"{here} repeats an earlier one; remove one of them.")
        seen.add(place)
        if not entry.metric:
            if entry.slice != "all":
                raise ConfigError(
                    f"{here} has a slice without a metric; set the metric, or remove the slice."
                )
            continue
        _declared(entry, records[entry.stage], f"{here} names")
        if place in {(gate.stage, gate.metric, gate.slice) for gate in gates}:
            raise ConfigError(
                f"{here} accepts {entry.metric}, which a gate reads; remove the entry, or give the gate a waiver."
            )


def check_requirements(requirements: Sequence[Requirement], gates: Sequence[Gate], where: str) -> None:
    """Raise ConfigError for the first requirement of the settings file `where` that repeats an id or names a gate that is not there."""
    known = [gate.id for gate in gates]
    for name, count in Counter(entry.id for entry in requirements).items():
        if count > 1:
            raise ConfigError(f'{where}: the requirement id "{name}" is used {count} times; ids must differ.')
    for entry in requirements:
        here = f'{where}: requirement "{entry.id}"'
        for name in entry.gates:
            if name not in known:
                raise ConfigError(f"{here} names the gate {found(name)}{suggest(name, known)}.")
        if len(set(entry.gates)) != len(entry.gates):
            raise ConfigError(f"{here} names a gate twice; remove one of them.")
        if entry.gates and entry.elsewhere:
            raise ConfigError(
                f"{here} has gates and evidence elsewhere; split it in two, so that each part has one kind of evidence."
            )


def _row(gate: Gate, rows: tuple[Declared, ...], here: str) -> Declared:
    """Return the declared metric of the gate, by name and slice."""
    row = _declared(gate, rows, f"{here} reads")
    if row.weak:
        raise ConfigError(f"{here} reads {found(gate.metric)}, which is {row.weak}.")
    return row


def _declared(entry: Gate | Accepted, rows: tuple[Declared, ...], here: str) -> Declared:
    """Return the declared metric of an entry, by name and slice. here: begins each sentence."""
    names = [row.name for row in rows]
    if not names:
        of_baseline = isinstance(entry, Gate) and entry.subject == BASELINE
        what = "no metric image by image" if of_baseline else "no metrics"
        raise ConfigError(f"{here} {found(entry.metric)}; the stage {entry.stage} records {what}.")
    if entry.metric not in names:
        raise ConfigError(
            f"{here} {found(entry.metric)}, which the stage {entry.stage} does not record under these settings"
            f"{suggest(entry.metric, names)}."
        )
    row = rows[names.index(entry.metric)]
    if not row.weak or isinstance(entry, Accepted):
        _check_slice(entry, row, here)
    return row


def _check_slice(entry: Gate | Accepted, row: Declared, here: str) -> None:
    if not any(_is_slice(entry.slice, pattern) for pattern in row.slices):
        known = [f"{s}NAME" if s.endswith(":") else f'"{s}"' for s in row.slices]
        shown = " or ".join(known[:MOST_SLICES])
        if len(known) > MOST_SLICES:
            shown += f" and {len(known) - MOST_SLICES} more, which `safeml list metrics` lists"
        raise ConfigError(
            f"{here} {entry.metric}, but slice is {found(entry.slice)}; the metric is recorded for the slice {shown}."
        )


def _is_slice(name: str, pattern: str) -> bool:
    return name.startswith(pattern) and name != pattern if pattern.endswith(":") else name == pattern


def _check_on(gate: Gate, row: Declared, here: str) -> None:
    """Check direction, range and kind of the limit."""
    right = {"up": ">=", "down": "<="}[row.direction]
    better = "higher" if row.direction == "up" else "lower"
    if gate.op not in (right, "=="):
        raise ConfigError(f"{here}: op is {gate.op}, but {better} is better for {gate.metric}; use {right}.")
    if gate.op == "==" and not row.counted:
        raise ConfigError(
            f"{here}: op is ==, but {gate.metric} is estimated from a sample, which cannot prove an equality; use {right}."
        )
    if not row.low <= gate.threshold <= row.high:
        limit = f"{gate.threshold:g}"
        if row.is_share and 1 < gate.threshold <= 100:
            raise ConfigError(
                f"{here}: threshold is {limit}; {gate.metric} is a proportion of 1, so write {gate.threshold / 100:g}."
            )
        upper = f" to {row.high:g}" if math.isfinite(row.high) else " or more"
        raise ConfigError(f"{here}: threshold is {limit}; {gate.metric} is {row.low:g}{upper}.")
    worst = row.low if row.direction == "up" else row.high
    if gate.op == right and gate.threshold == worst:
        raise ConfigError(
            f"{here}: threshold is {gate.threshold:g}, which {gate.metric} cannot miss; a gate that cannot fail proves nothing."
        )
    if gate.op == "==" and row.whole and gate.threshold != int(gate.threshold):
        raise ConfigError(f"{here}: threshold is {gate.threshold:g}; {gate.metric} is a whole number.")


def _check_together(gates: Sequence[Gate], where: str) -> None:
    """Check that no two gates repeat or contradict each other, since all must pass."""
    seen: dict[tuple[str, str, str, str], list[Gate]] = {}
    for gate in gates:
        seen.setdefault((gate.subject, gate.stage, gate.metric, gate.slice), []).append(gate)
    for same in seen.values():
        limits: dict[tuple[str, float], Gate] = {}
        for gate in same:
            twin = limits.setdefault((gate.op, gate.threshold), gate)
            if twin is not gate:
                raise ConfigError(
                    f'{where}: gates "{twin.id}" and "{gate.id}" set the same requirement for {gate.metric}; remove one of them.'
                )
        tops = [gate for gate in same if gate.op in ("<=", "==")]
        floors = [gate for gate in same if gate.op in (">=", "==")]
        if not tops or not floors:
            continue
        top, floor = min(tops, key=_limit), max(floors, key=_limit)
        if top.threshold < floor.threshold:
            raise ConfigError(
                f'{where}: gates "{floor.id}" and "{top.id}" contradict each other: {gate.metric} cannot be '
                f"{floor.op} {floor.threshold:g} and {top.op} {top.threshold:g}."
            )


def _limit(gate: Gate) -> float:
    return gate.threshold
