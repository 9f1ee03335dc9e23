"""`safeml data tracks`: propose the sign tracks of the test images from their pixels, for a person to inspect."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from safeml.cli.audit import DATA_ROOT


def tracks(
    config: Annotated[Path, typer.Option("--config", "-c", help="The settings file of the audit.")] = Path(
        "safeml.toml"
    ),
    out: Annotated[Path, typer.Option("--out", "-o", help="The CSV file to write.")] = Path(
        "recovered-tracks.csv"
    ),
    data_root: Annotated[Path | None, DATA_ROOT] = None,
) -> None:
    """Propose the sign track of each test image, and say how far training tracks are recovered.

    Nothing uses the file until [data.test] names it as tracks.
    """
    from safeml.audits.data_quality.tracks import proposal
    from safeml.cli.paths import check_name, check_room
    from safeml.config.audit import load_config
    from safeml.data.place import Place
    from safeml.errors import ConfigError
    from safeml.store.files import atomic_write
    from safeml.wording import counted, percent

    if out.suffix.lower() != ".csv":
        raise ConfigError(f"{out}: is not a CSV file name; expected a name that ends in .csv.")
    check_name(config)
    check_room(out, force=True)
    settings = load_config(config)
    place = Place(config.parent, data_root)
    test = place.plain(settings.data.test)
    if test.tracks is not None:
        raise ConfigError(f"{test.name}: has sign tracks already; there is nothing to propose.")
    train = place.plain(settings.data.train) if settings.data.train else None
    text, count, precision, recall = proposal(test, train, settings.run.seed)
    atomic_write(out, text.encode())
    trust = (
        "The data have no training tracks, so how far to trust them is not known."
        if precision is None
        else f"On training tracks, {percent(precision)} of the pairs in one proposed track belong together; {percent(recall)} of those "
        "that belong together are found."
    )
    typer.echo(f"{counted(count, 'track')} proposed for {counted(len(test), 'image')}. {trust}", err=True)
    typer.echo(out)
