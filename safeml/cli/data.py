"""`safeml data`: fetch a data set, or look at one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="Fetch a data set, or look at one.", no_args_is_help=True, rich_markup_mode=None)


@app.command()
def fetch(
    name: Annotated[str, typer.Argument(help="The data set: gtsrb.")],
    root: Annotated[Path, typer.Option(help="The folder to put it in.")] = Path("data"),
) -> None:
    """Download a data set, check it against its checksums and unpack it."""
    from safeml.data.fetch import fetch_gtsrb
    from safeml.errors import ConfigError

    if name != "gtsrb":
        raise ConfigError(f'"{name}" is not a data set that safeml can fetch; known are: gtsrb.')
    typer.echo(fetch_gtsrb(root))


@app.command()
def preview(
    kind: Annotated[str, typer.Argument(help="npz, gtsrb, folder or rendered.")],
    path: Annotated[str, typer.Argument(help="Where the data are; nothing for rendered signs.")] = "",
    out: Annotated[Path, typer.Option("--out", "-o", help="The picture to write.")] = Path(
        "contact_sheet.png"
    ),
    images: Annotated[int, typer.Option(min=1, max=2000, help="How many images to show.")] = 172,
    seed: Annotated[int, typer.Option(min=0, help="Which images are drawn.")] = 0,
) -> None:
    """Write a contact sheet of some images, in class order."""
    import numpy as np

    from safeml.config import DataSettings
    from safeml.data.contact_sheet import contact_sheet
    from safeml.errors import ConfigError
    from safeml.pipeline import Place

    if kind not in ("npz", "gtsrb", "folder", "rendered"):
        raise ConfigError(f'"{kind}" is not a kind of data; known are: npz, gtsrb, folder, rendered.')
    data = Place(Path(), Path()).data(DataSettings(kind=kind, path=path, seed=seed))
    chosen = data.sample(images, seed)
    order = np.argsort(chosen.labels, kind="stable")
    contact_sheet(chosen.images[order], columns=min(len(chosen), 20), scale=2).save(out)
    typer.echo(out)
