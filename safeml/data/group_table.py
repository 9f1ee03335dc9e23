"""What a user knows about the images: groups such as condition, site or camera, from a CSV file. Legend: N images."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import replace
from pathlib import Path

import numpy as np

from safeml.data.annotations import Row
from safeml.data.dataset import ImageDataset
from safeml.data.groups import DERIVED
from safeml.data.image_tables import IMAGE, names_of, row_of, rows_by_image
from safeml.errors import InputRefused

RESERVED = (*DERIVED, "aspect", "criticality", "class")
COLUMN = re.compile(r"[a-z][a-z0-9_]{0,39}")
MOST_COLUMNS, MOST_GROUPS, LONGEST_NAME = 16, 200, 60
# The group of the images without a value.
MISSING = "(missing)"


def with_groups(data: ImageDataset, path: Path) -> ImageDataset:
    """Add the group columns of a CSV file to the images.

    The column `image` holds the path of an image in the data folder, or its number in the source (as in the ledger of a
    report). Rows of other images are ignored, so that one file serves several data sets.

    An empty cell is the group MISSING. Names that Unicode regards as equal (composed and decomposed letters) are one group, in
    the composed form (NFC), and a note counts them.

    Raises InputRefused if an image has no row or two, a column has the name of a derived one, or there are too many groups.
    """
    by_image = rows_by_image(path, (IMAGE,))
    columns = [column for column in next(iter(by_image.values())).cells if column != IMAGE]
    _check_columns(path, columns)
    found = [_row_of(data, place, by_image, path) for place in range(len(data))]
    cells = {column: [_value(row, column) for row in found] for column in columns}
    groups = {
        column: np.array([unicodedata.normalize("NFC", value) for value in values])
        for column, values in cells.items()
    }
    for column, values in groups.items():
        if len(set(values.tolist())) > MOST_GROUPS:
            raise InputRefused(
                f"{path}: the column {column} has {len(set(values.tolist())):,} groups; expected at most {MOST_GROUPS}."
            )
    return replace(data, groups={**data.groups, **groups}, notes=(*data.notes, *_merged(cells)))


def _merged(cells: dict[str, list[str]]) -> list[str]:
    """Return a note for each column in which one name is written in several Unicode forms."""
    notes = []
    for column, values in cells.items():
        spellings = set(values)
        names = {unicodedata.normalize("NFC", value) for value in spellings}
        if len(names) < len(spellings):
            notes.append(
                f"The group column {column} writes {len(spellings) - len(names)} of its {len(names)} names in two Unicode forms; the forms "
                "of a name are one group."
            )
    return notes


def _check_columns(path: Path, columns: list[str]) -> None:
    if not 1 <= len(columns) <= MOST_COLUMNS:
        raise InputRefused(
            f"{path}:1: has {len(columns)} group columns beside {IMAGE}; expected 1 to {MOST_COLUMNS}."
        )
    for column in columns:
        if not COLUMN.fullmatch(column):
            raise InputRefused(
                f'{path}:1: the column is called "{column[:60]}"; expected small letters, digits and underscores, a letter first.'
            )
        if column in RESERVED:
            raise InputRefused(
                f"{path}:1: the column {column} has the name of a group that safeml derives ({', '.join(RESERVED)}); rename it."
            )


def _row_of(data: ImageDataset, place: int, by_image: dict[str, Row], path: Path) -> Row:
    row = row_of(data, place, by_image)
    if row is None:
        raise InputRefused(
            f"{path}: the image {names_of(data, place)[0]} has no row; expected a row for each image, with its path in the data folder or its number."
        )
    return row


def _value(row: Row, column: str) -> str:
    value = row.cells[column].strip()
    if len(value) > LONGEST_NAME:
        raise InputRefused(
            f"{row.where}: {column} has {len(value)} characters; expected the name of a group of at most {LONGEST_NAME} characters."
        )
    return value or MISSING
