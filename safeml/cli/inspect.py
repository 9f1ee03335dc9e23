"""`safeml inspect`: determine the input contract of a third-party model and write it as settings."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from safeml.cli.data_options import (
    ClassesOption,
    ClassTableOption,
    DecodeOption,
    LabelOrderOption,
    data_keys,
)
from safeml.cli.init import limits
from safeml.cli.needs import tensorflow_needed
from safeml.cli.paths import check_name, check_room, from_folder, shown_command
from safeml.errors import ConfigError, ExitCode, InputRefused

if TYPE_CHECKING:
    from collections.abc import Sequence

    from safeml.contracts.records import Outcome
    from safeml.results import Accepted, Gate
    from safeml.settings.data import DataSettings

ROWS = 8
PIPED_WIDTH = 400  # wider than any table, so that nothing is cut where there is no terminal


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command()(inspect)


def inspect(
    model: Annotated[Path, typer.Argument(help="The model file or folder.")],
    data: Annotated[
        str, typer.Option(help="Labelled images: an .npz file, a GTSRB folder, or a folder per class.")
    ],
    images: Annotated[int, typer.Option(min=20, help="Images of the first round.")] = 400,
    frames_per_sign: Annotated[
        float | None,
        typer.Option(
            min=1,
            help="Frames per physical sign (when unsure, of the largest track), if the data have no track ids.",
        ),
    ] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="The settings file to write.")] = Path(
        "safeml.toml"
    ),
    force: Annotated[bool, typer.Option("--force", help="Replace an existing file.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the outcome as JSON and nothing else.")
    ] = False,
    report: Annotated[Path | None, typer.Option(help="Folder for the report page.")] = None,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Seed of the random sample.")] = 7,
    label_order: LabelOrderOption = None,
    class_table: ClassTableOption = None,
    classes: ClassesOption = None,
    decode: DecodeOption = None,
) -> None:
    """Determine the input contract (channels, range, class order) of a model, and write settings with it.

    Exit code: 0 proposed, 3 undecided, 5 the model has other classes.
    """
    from safeml.classifiers.load import load_model
    from safeml.cli.progress import progress_bar
    from safeml.config.data import data_settings
    from safeml.contracts.decide import inspect_model
    from safeml.data.place import Place
    from safeml.defaults import data_kind
    from safeml.store.files import to_json

    # TensorFlow warns of too many graphs; there is one per contract, and each is reused.
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    check_room(out, force)
    check_name(model, data)
    if report is not None:
        check_name(report)
        if report.exists() and not report.is_dir():
            raise ConfigError(f"{report}: is a file; expected a folder for the page in --report.")
    keys = data_keys(label_order, class_table, classes, decode)
    settings = data_settings(
        "--data", kind=data_kind(data), path=data, frames_per_sign=frames_per_sign, **keys
    )
    labelled = Place(Path(), Path()).data(settings)
    with tensorflow_needed():
        opened = load_model(model)
    with progress_bar() as progress:
        outcome = inspect_model(opened.model, labelled, images, seed, progress)
    opened.check_unchanged()
    if as_json:
        typer.echo(to_json(outcome), nl=False)
    else:
        _show(outcome)
    if outcome.winner is not None:
        _write(outcome, model, settings, out)
        typer.echo(f"{out} written. Next: safeml audit --config {out}", err=as_json)
    if report is not None:
        from safeml.contracts.result import contract_run
        from safeml.report.write import write_page
        from safeml.store.files import make_folder

        page = write_page(contract_run(outcome, labelled, shown_command()), make_folder(report))
        typer.echo(f"Report: {page}", err=as_json)
    if outcome.reason == "classes":
        raise InputRefused(outcome.sentence)
    raise typer.Exit(int(ExitCode.PASSED if outcome.status == "proposed" else ExitCode.NOT_PROVEN))


def _write(outcome: Outcome, model: Path, data: DataSettings, out: Path) -> None:
    """Write the settings of the proposed contract; their paths are relative to the settings file."""
    from safeml.classifiers.contract import contract_key
    from safeml.defaults import new_config
    from safeml.store.files import atomic_write

    assert outcome.winner is not None
    key = contract_key(outcome.winner.settings, outcome.pixels_fingerprint, outcome.model_fingerprint)
    contract = outcome.winner.settings.model_copy(update={"chosen_on": key})
    model_path, data_path = from_folder(str(model), out.parent), from_folder(data.path, out.parent)
    keys = data.model_dump(include={"label_order", "class_table", "classes", "decode"}, exclude_defaults=True)
    if data.class_table:
        keys["class_table"] = from_folder(data.class_table, out.parent)

    def text(gates: Sequence[Gate] | None = None, accepted: Sequence[Accepted] | None = None) -> str:
        return new_config(
            model_path,
            data_path,
            data.frames_per_sign,
            data.kind,
            contract,
            keys,
            gates=gates,
            accepted=accepted,
        )

    atomic_write(out, text(*limits(text(), out, err=True)))


def _show(outcome: Outcome) -> None:
    """Print the best contracts, one per line, then the decision and the notes."""
    from rich.console import Console
    from rich.table import Table

    from safeml.cli.show import plain
    from safeml.contracts.words import interval, percent
    from safeml.wording import number

    if outcome.tried:
        table = Table(box=None, pad_edge=False)
        table.add_column("contract", overflow="fold")
        for head in ("accuracy", "95 % interval", "images", "loss relative to the best"):
            table.add_column(head, justify="right", no_wrap=True)
        for entry in outcome.tried[:ROWS]:
            found, lost = entry.accuracy, entry.drop
            table.add_row(
                entry.name,
                percent(found.value) if found else "not measured",
                interval(found.low, found.high) if found else "",
                number(found.n) if found else "",
                f"{percent(lost.value)} ({interval(lost.low, lost.high)})" if lost else "",
            )
        console = Console(markup=False, highlight=False)
        if not console.is_terminal:
            console.width = PIPED_WIDTH
        console.print(table)
        more = len(outcome.tried) - ROWS
        if more > 0:
            typer.echo(f"… and {more} more contracts; --json and --report show all of them.")
        typer.echo("")
    lines = [outcome.sentence, *outcome.warnings, *outcome.notes]
    if outcome.permutation is not None and outcome.reason == "permutation":
        lines.append(f"Class of each output: {', '.join(map(str, outcome.permutation.class_of_output))}.")
    if outcome.reason != "classes":  # main prints that one on standard error
        for line in (*lines, f"Not tried: {'; '.join(outcome.not_tried)}."):
            typer.echo(plain(line))
