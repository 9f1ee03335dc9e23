"""Options of the command line that say how data are read; each is a key of [data.test] in `safeml.toml`, too."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

LabelOrderOption = Annotated[
    Literal["ids", "numbers", "text"] | None,
    typer.Option(
        "--label-order",
        help="How numbers (folder names, labels) become classes: ids (the number is the class id), numbers (sorted as "
        "numbers) or text (sorted as text, as Keras sorts folders).",
    ),
]
ClassTableOption = Annotated[
    Path | None,
    typer.Option(
        "--class-table", help="A CSV file with the columns ClassId and SignName: all classes of the model."
    ),
]
ClassesOption = Annotated[
    str | None,
    typer.Option(
        "--classes",
        help="The classes of the data that the model has, in the order of its outputs: ids and ranges (0-18,20-42), or "
        "names between commas.",
    ),
]
DecodeOption = Annotated[
    Literal["upright", "keras"] | None,
    typer.Option(
        "--decode",
        help="upright applies EXIF orientation and composites transparency; keras ignores both, as Keras does.",
    ),
]


def data_keys(
    label_order: str | None, class_table: Path | None, classes: str | None, decode: str | None
) -> dict[str, Any]:
    """Return the given options as keys of data settings.

    Raises:
        ConfigError: --classes cannot be read, or the path of --class-table is not valid.
    """
    from safeml.cli.paths import check_name
    from safeml.data.classes import chosen_classes

    if class_table is not None:
        check_name(class_table)
    keys: dict[str, Any] = {
        "label_order": label_order,
        "class_table": None if class_table is None else str(class_table),
        "classes": None if classes is None else chosen_classes(classes),
        "decode": decode,
    }
    return {key: value for key, value in keys.items() if value is not None}
