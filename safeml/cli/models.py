"""`safeml scan`: inspect a model file without loading it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from safeml.errors import InputRefused, MissingInput, StageError


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command()(scan)


def scan(
    model: Annotated[
        Path,
        typer.Argument(help="A .keras, .h5 or ONNX file, a SavedModel folder, or a folder of checkpoints."),
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print the record as JSON.")] = False,
) -> None:
    """Scan a model file without loading it. Exit code: 0 accepted, 5 refused, 4 undecided."""
    from safeml.cli.show import show_scan
    from safeml.scan.scan import scan_path
    from safeml.scan.sources import is_checkpoint_prefix
    from safeml.store.files import to_json

    found = scan_path(model)
    if as_json:
        typer.echo(to_json(found), nl=False)
    elif found.status == "accepted":
        show_scan(found)
    if not os.path.lexists(model) and not is_checkpoint_prefix(model):
        raise MissingInput(f"{model}: there is no such file; expected a trained model.")
    if found.status == "refused":
        raise InputRefused(f"{found.path}: {found.reason}.")
    if found.status == "inconclusive":
        raise StageError(f"{found.path}: could not be judged: {found.reason}.")
