"""Results on the terminal."""

from __future__ import annotations

from pathlib import Path

import typer

from safeml.results import ModelScan, Run

MARKS = {
    "pass": "passed",
    "fail": "FAILED",
    "not_proven": "not proven",
    "error": "ERROR",
    "skipped": "missing",
    "waived": "waived",
}


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
