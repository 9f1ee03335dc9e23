"""`safeml data`: fetch or preview a data set."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from safeml.cli.data_options import (
    ClassesOption,
    ClassTableOption,
    DecodeOption,
    LabelOrderOption,
    data_keys,
)
from safeml.cli.data_tracks import tracks

app = typer.Typer(
    help="Fetch or preview a data set, or propose sign tracks.", no_args_is_help=True, rich_markup_mode=None
)
app.command()(tracks)


@app.command()
def fetch(
    name: Annotated[str, typer.Argument(help="The data set: gtsrb.")],
    root: Annotated[Path, typer.Option(help="The destination folder.")] = Path("data"),
    base_url: Annotated[
        str | None, typer.Option(help="The folder of the archives on a mirror, http or https.")
    ] = None,
) -> None:
    """Download a data set, verify its checksums and unpack it."""
    from safeml.cli.paths import check_name
    from safeml.data.fetch import fetch_gtsrb
    from safeml.errors import ConfigError

    check_name(root)
    if root.exists() and not root.is_dir():
        raise ConfigError(f"{root}: is a file; expected a folder for the data in --root.")
    if name != "gtsrb":
        raise ConfigError(f'"{name}" is not a data set that safeml can fetch; expected gtsrb.')
    typer.echo(fetch_gtsrb(root, base_url=base_url))


@app.command()
def preview(
    kind: Annotated[str, typer.Argument(help="npz, gtsrb, folder or rendered.")],
    path: Annotated[str, typer.Argument(help="File or folder of the data; empty for rendered signs.")] = "",
    out: Annotated[Path, typer.Option("--out", "-o", help="The PNG file to write.")] = Path(
        "contact_sheet.png"
    ),
    images: Annotated[int, typer.Option(min=1, max=2000, help="Number of images.")] = 172,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Seed of the random sample.")] = 0,
    label_order: LabelOrderOption = None,
    class_table: ClassTableOption = None,
    classes: ClassesOption = None,
    decode: DecodeOption = None,
) -> None:
    """Write a contact sheet of sample images, in class order, and print the number of images and the classes."""
    import io

    import numpy as np

    from safeml.cli.paths import check_name, check_room
    from safeml.cli.show import plain
    from safeml.config.data import data_settings
    from safeml.data.contact_sheet import contact_sheet
    from safeml.data.place import Place
    from safeml.errors import ConfigError
    from safeml.store.files import atomic_write

    if kind not in ("npz", "gtsrb", "folder", "rendered"):
        raise ConfigError(f'"{kind}" is not a kind of data; expected npz, gtsrb, folder or rendered.')
    if out.suffix.lower() != ".png":
        raise ConfigError(f"{out}: is not a PNG file name; expected a name that ends in .png.")
    check_room(out, force=True)
    if path:
        check_name(path)
    keys = data_keys(label_order, class_table, classes, decode)
    settings = data_settings(f"data preview {kind}", kind=kind, path=path, seed=seed, **keys)
    data = Place(Path(), Path()).data(settings)
    shown = "; ".join(f"{label} {name}" for label, name in enumerate(data.class_names[:6]))
    more = "; ..." if data.classes > 6 else ""
    typer.echo(plain(f"{data.name}: {len(data):,} images, {data.classes} classes ({shown}{more})"), err=True)
    chosen = data.sample(images, seed)
    order = np.argsort(chosen.labels, kind="stable")
    picture = io.BytesIO()
    contact_sheet(chosen.images[order], columns=min(len(chosen), 20), scale=2).save(picture, format="PNG")
    atomic_write(out, picture.getvalue())
    typer.echo(out)
