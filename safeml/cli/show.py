"""Results on the terminal."""

from __future__ import annotations

from pathlib import Path

import typer

from safeml.results import ModelScan, Run
from safeml.verdict_text import verdict_line

MARKS = {
    "pass": "passed",
    "fail": "FAILED",
    "not_proven": "not proven",
    "error": "ERROR",
    "skipped": "missing",
    "waived": "waived",
}

UNGATED = {"alarm": "ALARM", "unsigned": "NOT SIGNED", "accepted": "accepted", "noted": "not gated"}


def show_verdict(run: Run, folder: Path | None) -> None:
    """Print one line per gate, what no gate reads, looser limits, the verdict, and the path of the report."""
    lines = [(MARKS[result.status], result.message) for result in run.verdict.gates]
    lines += [(UNGATED[entry.state], entry.message) for entry in run.verdict.ungated]
    lines += [("LOOSER", change.message) for change in run.loosened]
    for mark, message in lines:
        typer.echo(plain(f"  {mark:<11} {message}"))
    typer.echo("")
    typer.echo(plain(verdict_line(run)))
    typer.echo(plain(run.verdict.sentence))
    if run.verdict.detail:
        typer.echo(plain(run.verdict.detail))
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
