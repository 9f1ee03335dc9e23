"""Progress and results on the terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import typer

from safeml.results import ModelScan, Run
from safeml.work import Progress

MARKS = {
    "pass": "passed",
    "fail": "FAILED",
    "not_proven": "not proven",
    "error": "ERROR",
    "skipped": "missing",
    "waived": "waived",
}


@contextmanager
def progress_bar() -> Iterator[Progress]:
    """Show progress on standard error: a bar on a terminal, else a line per step."""
    if not sys.stderr.isatty():
        seen: set[str] = set()

        def line(step: str, done: int, total: int) -> None:
            if step not in seen:
                seen.add(step)
                typer.echo(f"  {step}", err=True)

        yield line
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bars

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Bars(*columns, console=Console(stderr=True), transient=True) as bars:
        tasks: dict[str, int] = {}

        def bar(step: str, done: int, total: int) -> None:
            if step not in tasks:
                tasks[step] = bars.add_task(step, total=total)
            bars.update(tasks[step], completed=done, total=total)  # type: ignore[arg-type]

        yield bar


def show_verdict(run: Run, folder: Path | None) -> None:
    """Print one line per gate, the verdict, and the path of the report."""
    for result in run.verdict.gates:
        typer.echo(plain(f"  {MARKS[result.status]:<11} {result.message}"))
    typer.echo("")
    typer.echo(plain(f"{run.verdict.status.replace('_', ' ').upper()} (exit code {run.verdict.exit_code})"))
    typer.echo(plain(run.verdict.sentence))
    if folder:
        typer.echo(f"Report: {folder / 'index.html'}")


def show_scan(scan: ModelScan) -> None:
    """Print the facts of an accepted model, one per line."""
    chosen = {"chosen": scan.chosen} if scan.chosen else {}
    lines = {
        "accepted": scan.path,
        **chosen,
        "format": scan.format,
        "sha256": scan.sha256,
        "bytes": f"{scan.bytes:,}",
    }
    facts = {name: f"{value:,}" if isinstance(value, int) else value for name, value in scan.facts.items()}
    for name, value in {**lines, **facts}.items():
        typer.echo(plain(f"  {name:<15} {value}"))


def plain(text: str) -> str:
    """Replace control characters, which a class name may hold, by spaces."""
    return "".join(c if c.isprintable() else " " for c in text)
