"""`safeml compare` and `safeml history`: recorded runs against each other, without a framework."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from safeml.cli.paths import check_name, check_room

if TYPE_CHECKING:
    from safeml.comparison.records import Comparison, History

RUN = typer.Argument(help="A results.json or its run folder, or a selftest.json, bench.json or run.json of a device.")  # fmt: skip
OUT = typer.Option("--out", "-o", help="The page to write; default: comparison.html or history.html.")
FORCE = typer.Option("--force", help="Replace an existing file.")
AS_JSON = typer.Option("--json", help="Print the record as JSON; a page is written only with --out.")


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command()(compare)
    app.command()(history)


def compare(
    first: Annotated[Path, RUN],
    second: Annotated[Path, RUN],
    out: Annotated[Path | None, OUT] = None,
    as_json: Annotated[bool, AS_JSON] = False,
    force: Annotated[bool, FORCE] = False,
) -> None:
    """Compare the second run with the first on the same test images: accuracies, gates, limits and settings.

    Two records of `safeml-edge` are shown side by side, with the conditions that forbid to compare their numbers.
    Exit code 0 means that the comparison was made; it is no verdict. 5: the runs are not of the same test data.
    """
    from safeml.cli.results import recorded
    from safeml.comparison.compare import compare_runs, shown_folder
    from safeml.comparison.page import comparison_page
    from safeml.store.files import to_json

    page = _page(out, "comparison.html", as_json, force)
    if _of_devices(first, second):
        _compare_devices(first, second, page, as_json)
        return
    comparison = compare_runs(recorded(first), recorded(second), shown_folder(first), shown_folder(second))
    if as_json:
        typer.echo(to_json(comparison), nl=False)
    else:
        _show_comparison(comparison)
    if page is not None:
        _write(page, comparison_page(comparison), as_json)


def history(
    folder: Annotated[Path, typer.Argument(help="A folder with run folders.")],
    out: Annotated[Path | None, OUT] = None,
    as_json: Annotated[bool, AS_JSON] = False,
    force: Annotated[bool, FORCE] = False,
) -> None:
    """Show verdicts, gated metrics and limits of all runs below a folder over time, and what devices recorded.

    Test sets, forms of the model (float, INT8), profiles, devices and power modes are never in one line.
    Exit code 0 means that the history was made; it is no verdict.
    """
    from safeml.comparison.history import history_of
    from safeml.comparison.page import history_page
    from safeml.store.files import to_json

    check_name(folder)
    page = _page(out, "history.html", as_json, force)
    record = history_of(folder)
    if as_json:
        typer.echo(to_json(record), nl=False)
    else:
        _show_history(record)
    if page is not None:
        _write(page, history_page(record), as_json)


def _of_devices(first: Path, second: Path) -> bool:
    """Return whether both are records of devices. Raises ConfigError for one of each."""
    from safeml.comparison.devices import is_device_record
    from safeml.errors import ConfigError

    check_name(first, second)
    kinds = [is_device_record(path) for path in (first, second)]
    if kinds[0] != kinds[1]:
        record, run = (first, second) if kinds[0] else (second, first)
        raise ConfigError(f"{record}: is a record of a device, and {run} is none; expected two runs of the host or two records of devices.")  # fmt: skip
    return kinds[0]


def _compare_devices(first: Path, second: Path, page: Path | None, as_json: bool) -> None:
    from safeml.cli.show import plain
    from safeml.comparison.device_page import values_of
    from safeml.comparison.devices import compare_devices, read_device
    from safeml.comparison.page import device_comparison_page
    from safeml.store.files import to_json

    comparison = compare_devices(read_device(first, first.as_posix()), read_device(second, second.as_posix()))
    if as_json:
        typer.echo(to_json(comparison), nl=False)
    else:
        for record in (comparison.first, comparison.second):
            typer.echo(plain(f"  {record.device_id}, release {record.release}: {values_of(record)}"))
        for line in ("", comparison.sentence, *comparison.notes):
            typer.echo(plain(line))
    if page is not None:
        _write(page, device_comparison_page(comparison), as_json)


def _page(out: Path | None, default: str, as_json: bool, force: bool) -> Path | None:
    """Return the path of the page, checked before any work; None where none is written."""
    if out is None and as_json:
        return None
    page = out or Path(default)
    check_room(page, force)
    return page


def _write(page: Path, content: str, quiet: bool) -> None:
    from safeml.store.files import atomic_write

    atomic_write(page, content)
    typer.echo(f"Page: {page}", err=quiet)


def _show_comparison(comparison: Comparison) -> None:
    """Print the paired differences, the loosened limits and the changed gates, one per line."""
    from safeml.cli.show import MARKS, plain
    from safeml.comparison.page import points
    from safeml.wording import interval, percent

    lines = [
        f"  {entry.side:<20} {entry.title}: {percent(entry.first)} -> {percent(entry.second)}, loss "
        f"{points(entry.difference.value)} points ({interval(entry.difference.low, entry.difference.high)})"
        for entry in comparison.paired
    ]
    lines += [
        f"  {change.kind.upper():<20} {change.requirement}: {change.first} -> {change.second}"
        for change in comparison.loosened
    ]
    lines += [
        f"  {'gate':<20} {change.title}: {_mark(change.first, MARKS)} -> {_mark(change.second, MARKS)}"
        for change in comparison.gates
    ]
    for line in [*lines, "", comparison.sentence, *comparison.notes]:
        typer.echo(plain(line))


def _mark(status: str | None, marks: dict[str, str]) -> str:
    return "no such gate" if status is None else marks[status]


def _show_history(history: History) -> None:
    """Print one line per run, and the limits that were loosened."""
    from safeml.cli.show import plain
    from safeml.comparison.device_page import result_of, values_of
    from safeml.comparison.records import LOOSENED
    from safeml.report.text import when

    for place, run in enumerate(history.runs, 1):
        date = when(run.started) if run.started else "no date"
        verdict = f"{run.status.replace('_', ' ')} ({run.exit_code})"
        typer.echo(
            plain(
                f"  {place:>3}  {date:<21} {verdict:<16} {run.model}  {run.form}  {run.profile}  {run.folder}"
            )
        )
    for record in history.devices:
        typer.echo(
            plain(
                f"  device  {when(record.at):<21} {result_of(record):<16} {record.device_id}, release {record.release}: {values_of(record)}"
            )
        )
    for place, change in history.limits:
        if change.kind in LOOSENED:
            typer.echo(
                plain(
                    f"  {change.kind.upper()} in run {place + 1}: {change.requirement}: {change.first} -> {change.second}"
                )
            )
    for entry in history.unreadable:
        typer.echo(plain(f"  unreadable: {entry.reason}"))
    for note in history.notes:
        typer.echo(plain(note))
