"""`safeml list`: stages, attacks, metrics and default gates, from the rows that declare them."""

from __future__ import annotations

import json
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from safeml.settings.base import Settings

Table = list[dict[str, str]]


class Kind(StrEnum):
    """What can be listed."""

    STAGES = "stages"
    ATTACKS = "attacks"
    METRICS = "metrics"
    GATES = "gates"


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command("list")(list_rows)


def list_rows(
    kind: Annotated[Kind, typer.Argument(help="The rows to list.")],
    config: Annotated[
        Path | None,
        typer.Option("--config", "-c", help="Use this settings file instead of the default settings."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the rows as JSON.")] = False,
) -> None:
    """List the stages, the attacks, the metrics that a gate may read, or the gates."""
    from safeml.cli.show import plain

    rows = LISTS[kind](config)
    if as_json:
        typer.echo(json.dumps(rows, indent=1, ensure_ascii=False))
        return
    heads = list(rows[0]) if rows else []
    widths = {head: max(len(head), *(len(row[head]) for row in rows)) for head in heads[:-1]}
    # No line is cut or folded, so that a pipe receives every value whole.
    for row in [{head: head for head in heads}, *rows]:
        line = "  ".join(row[head].ljust(widths.get(head, 0)) for head in heads)
        typer.echo(plain(line.rstrip()))


def _stages(config: Path | None) -> Table:
    from safeml.stages import STAGES, settings_of

    table = _settings(config)
    return [
        {
            "stage": row.name,
            "enabled": "yes" if settings_of(table, row).enabled else "no",
            "title": row.title,
            "measures": row.summary,
        }
        for row in STAGES
    ]


def _attacks(config: Path | None) -> Table:
    from safeml.attacks.rows import ROWS
    from safeml.stages import settings_of
    from safeml.stages.adversarial import ADVERSARIAL

    enabled = settings_of(_settings(config), ADVERSARIAL).attacks
    return [
        {
            "attack": name,
            "enabled": "yes" if name in enabled else "no",
            "required by gates": "yes" if row.required else "no",
            "knowledge": row.knowledge,
            "title": row.title,
        }
        for name, row in ROWS.items()
    ]


def _metrics(config: Path | None) -> Table:
    from safeml.stages import STAGES, settings_of

    table = _settings(config)
    return [
        {
            "stage": row.name,
            "metric": declared.name,
            "better": {"up": "higher", "down": "lower"}[declared.direction],
            "range": f"{declared.low:g} to {declared.high:g}",
            "slices": ", ".join(f"{name}..." if name.endswith(":") else name for name in declared.slices),
            "gate": "no: " + declared.weak if declared.weak else "yes",
        }
        for row in STAGES
        for declared in row.records(settings_of(table, row))
    ]


def _gates(config: Path | None) -> Table:
    from safeml.defaults import GATES

    if config is None:
        gates = GATES
    else:
        from safeml.config.audit import load_config

        gates = tuple(load_config(config).gates)
    return [
        {
            "gate": gate.id,
            "stage": gate.stage,
            "metric": gate.metric,
            "slice": gate.slice,
            "limit": f"{gate.op} {gate.threshold:g}",
            "title": gate.title,
        }
        for gate in gates
    ]


def _settings(config: Path | None) -> Settings:
    """Return the tables of the stages: from the settings file, or the defaults."""
    if config is None:
        from safeml.stages import StageSettings

        return StageSettings()
    from safeml.config.audit import load_config

    return load_config(config).stages


LISTS: dict[Kind, Callable[[Path | None], Table]] = {
    Kind.STAGES: _stages,
    Kind.ATTACKS: _attacks,
    Kind.METRICS: _metrics,
    Kind.GATES: _gates,
}
