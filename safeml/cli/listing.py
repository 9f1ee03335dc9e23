"""`safeml list`: stages, attacks, metrics and gates from the rows that declare them; families and costs of GTSRB's signs."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from safeml.errors import ConfigError

if TYPE_CHECKING:
    from safeml.settings.base import Settings
    from safeml.stages.base import Declared

Table = list[dict[str, str]]


class Kind(StrEnum):
    """What can be listed."""

    STAGES = "stages"
    ATTACKS = "attacks"
    METRICS = "metrics"
    GATES = "gates"
    FAMILIES = "families"
    COSTS = "costs"


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
    as_csv: Annotated[bool, typer.Option("--csv", help="Print the rows as CSV.")] = False,
) -> None:
    """List stages, attacks, metrics, gates, or the families and costs of the signs of GTSRB.

    The CSV of families and costs has the format that the settings read.
    """
    from safeml.cli.show import plain

    if as_json and as_csv:
        raise ConfigError("--json and --csv were both given; choose one of them.")
    rows = LISTS[kind](config)
    if as_csv:
        writer = csv.DictWriter(sys.stdout, list(rows[0]) if rows else [], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        return
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
    from safeml.stages.base import losses

    table = _settings(config)
    records = [(row.name, row.records(settings_of(table, row))) for row in STAGES]
    own = [_metric(name, declared, "") for name, rows in records for declared in rows]
    lost = [
        _metric(name, declared, ', with subject = "baseline"')
        for name, rows in records
        for declared in losses(rows)
    ]
    return own + lost


def _metric(stage: str, declared: Declared, condition: str) -> dict[str, str]:
    requires = f", with {declared.requires}" if declared.requires else ""
    return {
        "stage": stage,
        "metric": declared.name,
        "better": {"up": "higher", "down": "lower"}[declared.direction],
        "range": f"{declared.low:g} to {declared.high:g}",
        "slices": ", ".join(f"{name}..." if name.endswith(":") else name for name in declared.slices),
        "gate": f"no: {declared.weak}" if declared.weak else f"yes{condition}{requires}",
    }


def _gates(config: Path | None) -> Table:
    from safeml.defaults import GATES
    from safeml.results import MODEL

    if config is None:
        gates = GATES
    else:
        from safeml.config.audit import load_config

        gates = tuple(load_config(config).gates)
    return [
        {
            "gate": gate.id,
            "stage": gate.stage if gate.subject == MODEL else f"{gate.subject}.{gate.stage}",
            "metric": gate.metric,
            "slice": gate.slice,
            "limit": f"{gate.op} {gate.threshold:g}",
            "title": gate.title,
        }
        for gate in gates
    ]


def _families(config: Path | None) -> Table:
    from safeml.data.signs import FAMILY_OF

    return [{"class": name, "family": family} for name, family in FAMILY_OF.items()]


def _costs(config: Path | None) -> Table:
    from safeml.data.signs import CLASS_NAMES
    from safeml.metrics.hazard import cost_matrix, reason

    costs = cost_matrix(CLASS_NAMES)
    return [
        {
            "true": true,
            "predicted": predicted,
            "cost": f"{costs[i, j]:g}",
            "reason": reason(true, predicted),
        }
        for i, true in enumerate(CLASS_NAMES)
        for j, predicted in enumerate(CLASS_NAMES)
        if i != j
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
    Kind.FAMILIES: _families,
    Kind.COSTS: _costs,
}
