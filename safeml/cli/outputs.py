"""The verdict for other programs: JSON on standard output, annotations and summary of GitHub, SARIF and JUnit files."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from safeml.errors import ConfigError

if TYPE_CHECKING:
    from safeml.results import Run

JSON = typer.Option("--json", help="Print results.json on standard output, and nothing else there.")
GITHUB = typer.Option(
    "--github", help="Print annotations for GitHub Actions, and append the verdict to the step summary."
)
SARIF = typer.Option("--sarif", help="Write the gates that did not pass as SARIF 2.1.0, for code scanning.")
JUNIT = typer.Option("--junit", help="Write the gates as JUnit XML.")
STEP_SUMMARY = "GITHUB_STEP_SUMMARY"


def check_outputs(*files: Path | None) -> None:
    """Raise ConfigError, before any measurement, for an output file that cannot be written."""
    from safeml.cli.paths import check_room

    for file in files:
        if file is not None:
            check_room(file, force=True)


def publish(
    run: Run,
    folder: Path | None,
    config: Path | None,
    as_json: bool,
    github: bool,
    sarif: Path | None,
    junit: Path | None = None,
) -> None:
    """Print the verdict, in words or as JSON, and write the requested files.

    folder: with the report, or None. config: the settings file whose lines state the limits, or None.
    """
    from safeml.cli.show import show_verdict
    from safeml.report import junit as junit_xml
    from safeml.report import markdown
    from safeml.report.github import workflow_commands
    from safeml.report.sarif import sarif as sarif_text
    from safeml.settings.lines import threshold_lines
    from safeml.store.files import atomic_write, to_json

    if as_json:
        typer.echo(to_json(run), nl=False)
    else:
        show_verdict(run, folder)
    source = config or (folder / "results.json" if folder else Path("results.json"))
    file, lines = _relative(source), threshold_lines(config) if config else {}
    if github:
        for line in workflow_commands(run, file, lines):
            typer.echo(line, err=as_json)
        _append_summary(markdown.summary(run))
    if sarif is not None:
        atomic_write(sarif, sarif_text(run, file, lines))
    if junit is not None:
        atomic_write(junit, junit_xml.junit(run))


def _relative(path: Path) -> str:
    """Return the path from the working folder, which GitHub takes for the root of the repository."""
    return Path(os.path.relpath(path)).as_posix()


def _append_summary(text: str) -> None:
    target = os.environ.get(STEP_SUMMARY)
    if not target:
        return
    try:
        with open(target, "a", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise ConfigError(
            f"{target}: cannot be written ({error.strerror}); {STEP_SUMMARY} is set by GitHub Actions; unset it elsewhere."
        ) from error
