"""`safeml edge`: the runtime of the device as files to install there."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from safeml.cli.paths import check_name

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def edge() -> None:
    """Make the runtime of the device."""


@app.command("build")
def build_edge(
    out: Annotated[Path, typer.Option("--out", "-o", help="The folder for the wheel and the zipapp.")] = Path(
        "dist"
    ),
) -> None:
    """Write the runtime of the device, safeml-edge, as a wheel and as a zipapp; no network is used."""
    from safeml.bundle import runtime
    from safeml.store.files import atomic_write, make_folder

    check_name(out)
    folder = make_folder(out)
    for name, content in ((runtime.WHEEL, runtime.wheel_bytes()), (runtime.ZIPAPP, runtime.zipapp_bytes())):
        atomic_write(folder / name, content)
        typer.echo(f"{folder / name}")
    typer.echo(f"On the device: python3 -m pip install {runtime.WHEEL}, or python3 {runtime.ZIPAPP}")
