"""`safeml mlflow`: a recorded run in a store of MLflow, an optional extra."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

LOCAL = "sqlite:///mlflow.db"


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command()(mlflow)


def mlflow(
    run: Annotated[Path, typer.Argument(help="A run folder of `safeml audit`.")],
    uri: Annotated[
        str, typer.Option(help="The store: sqlite:///FILE, or the http address of a server.")
    ] = LOCAL,
    experiment: Annotated[str, typer.Option(help="The experiment to log to.")] = "safeml",
) -> None:
    """Log a recorded run to MLflow: metrics with their intervals, the verdict as tags, the report as artifacts.

    Exit code 0 means that the run was logged; it is no verdict.
    """
    from safeml.cli.paths import check_name
    from safeml.cli.results import recorded
    from safeml.report.tracking import check_store, log_run

    check_name(run)
    check_store(uri)
    folder = run if run.is_dir() else run.parent
    name = log_run(recorded(run), folder, uri, experiment)
    typer.echo(f"Logged to {uri}, experiment {experiment}, run {name}")
