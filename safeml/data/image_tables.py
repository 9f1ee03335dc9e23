"""What a user lists of single images: their sign tracks, which of them are generated, their targets. Legend: N images.

All are CSV files with a column `image`: the path of an image in the data folder, or its number in the source.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from safeml.data.annotations import Row, read_rows, track_numbers
from safeml.data.dataset import RECOVERED, ImageDataset
from safeml.errors import InputRefused
from safeml.limits import LIMITS

IMAGE, TRACK, ORIGIN = "image", "track", "origin"
RECORDED = "recorded"


def with_tracks(data: ImageDataset, path: Path) -> ImageDataset:
    """Add the sign track of each image from the columns image and track.

    A column origin says "recorded" or "recovered" of each row, as `safeml data tracks` writes it; with one recovered track, all
    count as recovered. Rows of other images are ignored.
    Numbers may restart in each class, as in GTSRB.
    Raises InputRefused if the data have track ids already, or an image has no row or two.
    """
    if data.tracks is not None:
        raise InputRefused(
            f"{path}: {data.name} has track ids already; remove the setting tracks, or the ids from the data."
        )
    by_image = rows_by_image(path, (IMAGE, TRACK))
    found = [row_of(data, place, by_image) for place in range(len(data))]
    absent = next((place for place, row in enumerate(found) if row is None), None)
    if absent is not None:
        raise InputRefused(
            f"{path}: the image {names_of(data, absent)[0]} has no row; expected the track of each image."
        )
    rows = [row for row in found if row is not None]
    tracks = track_numbers(data.labels, np.array([row.integer(TRACK) for row in rows], np.int64), str(path))
    origins = {row.cells.get(ORIGIN, RECORDED).strip() for row in rows}
    unknown = sorted(origins - {RECORDED, RECOVERED})
    if unknown:
        raise InputRefused(f'{path}: {ORIGIN} is "{unknown[0][:40]}"; expected {RECORDED} or {RECOVERED}.')
    origin = RECOVERED if RECOVERED in origins else ""
    note = (
        f"The sign tracks of {len(data):,} images are recovered from pixels, not recorded ({path.name}); every interval "
        "depends on them.",
    )
    return replace(data, tracks=tracks, tracks_origin=origin, notes=(*data.notes, *(note if origin else ())))


def with_generated(data: ImageDataset, path: Path) -> ImageDataset:
    """Mark the images that a CSV file with the column image lists: they were generated, not photographed.

    Rows of other images are ignored, so that one file serves several splits.
    """
    by_image = rows_by_image(path, (IMAGE,))
    marked = [row_of(data, place, by_image) is not None for place in range(len(data))]
    return replace(data, generated=np.array(marked, bool))


def with_quantities(data: ImageDataset, path: Path, names: tuple[str, ...]) -> ImageDataset:
    """Add the quantities `names` of each image from the columns of these names. Rows of other images are ignored.

    Raises InputRefused if the data hold targets already, an image has no row or two, or a cell is no finite number.
    """
    if data.quantities:
        raise InputRefused(
            f"{path}: {data.name} holds targets already; remove the setting targets, or the targets from the data."
        )
    by_image = rows_by_image(path, (IMAGE, *names))
    rows = [row_of(data, place, by_image) for place in range(len(data))]
    absent = next((place for place, row in enumerate(rows) if row is None), None)
    if absent is not None:
        raise InputRefused(
            f"{path}: the image {names_of(data, absent)[0]} has no row; expected the targets of each image."
        )
    return replace(
        data,
        quantities={
            name: np.array([row.number(name) for row in rows if row is not None], np.float64)
            for name in names
        },
    )


def rows_by_image(path: Path, columns: tuple[str, ...]) -> dict[str, Row]:
    """Read the rows of a table by their image. Raises InputRefused for an image that occurs twice."""
    by_image: dict[str, Row] = {}
    for row in read_rows(path, columns, LIMITS):
        name = _plain(row.cells[IMAGE])
        if name in by_image:
            raise InputRefused(
                f"{row.where}: the image {name[:60]} occurs twice; expected one row per image."
            )
        by_image[name] = row
    return by_image


def _plain(cell: str) -> str:
    """Return a path with slashes, without `./` before it, or a number without zeros before it."""
    name = cell.strip().replace("\\", "/").removeprefix("./")
    return str(int(name)) if name.isascii() and name.isdigit() and len(name) <= 18 else name


def names_of(data: ImageDataset, place: int) -> list[str]:
    """Return the names of an image in a table: its path in the data folder, where it has one, and its number."""
    number = str(place if data.ids is None else int(data.ids[place]))
    return [number] if data.files is None else [str(data.files[place]), number]


def row_of(data: ImageDataset, place: int, by_image: dict[str, Row]) -> Row | None:
    """Return the row of an image; None where it has none."""
    return next((by_image[name] for name in names_of(data, place) if name in by_image), None)
