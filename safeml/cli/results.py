"""`safeml gate`, `safeml report` and `safeml schema`: the commands on results, without a framework."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from safeml.results import Run

RESULTS = typer.Argument(help="A results.json or its run folder.")


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command()(gate)
    app.command()(report)
    app.command()(schema)


def gate(
    results: Annotated[Path, RESULTS],
    config: Annotated[
        Path | None,
        typer.Option(
            "--config", "-c", help="Use the gates of this settings file instead of the recorded ones."
        ),
    ] = None,
) -> None:
    """Decide again from recorded evidence. The exit code is the verdict; nothing is written."""
    from safeml.cli.show import show_verdict
    from safeml.config.audit import load_config
    from safeml.gates import decide

    configured = load_config(config).gates if config else None
    run = _recorded(results)
    gates = run.gates if configured is None else configured
    verdict = decide(run.stages, gates, today=datetime.now(UTC).date().isoformat())
    run = run.model_copy(update={"gates": list(gates), "verdict": verdict})
    show_verdict(run, None)
    raise typer.Exit(run.verdict.exit_code)


def report(
    results: Annotated[Path, RESULTS],
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="The output folder; default: the folder of the results."),
    ] = None,
) -> None:
    """Write the report again from recorded results, without model, data or framework."""
    from safeml.cli.paths import check_name
    from safeml.errors import InputRefused
    from safeml.gates import follows
    from safeml.report.write import write_report
    from safeml.store.files import atomic_write, make_folder, read_times, to_json

    run = _recorded(results)
    if out:
        check_name(out)
    times = read_times(results)
    day = times.started[:10] if times else datetime.now(UTC).date().isoformat()
    if not follows(run, day):
        raise InputRefused(
            f"{results}: the verdict does not follow from the evidence and gates on {day}, so the file was edited; audit again "
            "or run `safeml gate`."
        )
    folder = make_folder(out) if out else (results if results.is_dir() else results.parent)
    if out:
        atomic_write(folder / "results.json", to_json(run))
        if times:
            atomic_write(folder / "run.json", to_json(times))
    write_report(run, folder, times)
    typer.echo(folder / "index.html")


def _recorded(results: Path) -> Run:
    """Read the run at `results`; a pipe or a device, which may never end, is refused before reading."""
    from safeml.cli.paths import check_name
    from safeml.errors import InputRefused
    from safeml.store.files import read_run

    check_name(results)
    file = results / "results.json" if results.is_dir() else results
    if file.exists() and not file.is_file():
        raise InputRefused(f"{file}: is not a regular file; expected a results.json of `safeml audit`.")
    return read_run(results)


def schema() -> None:
    """Print the JSON Schema of results.json."""
    from safeml.results import Run

    typer.echo(json.dumps(Run.model_json_schema(), indent=1, sort_keys=True))
