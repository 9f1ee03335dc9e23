"""Class names and class order of data that name their classes by text or by number. Legend: K classes.

Numbers (folder names, labels) become classes 0..K-1 by a `LabelOrder`:

    ids        the number is the class id; K is the number of class names, else the largest number + 1
    numbers    sorted as numbers: 1, 2, 10
    text       sorted as text, as Keras's image_dataset_from_directory sorts folders: 1, 10, 2

Without an order, numbers are ids where they are 0..K-1, or where the known class names cover them. Anything else can be read
in several ways and is refused with the setting for each.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from safeml.data.annotations import plain_name, read_rows
from safeml.errors import ConfigError, InputRefused
from safeml.limits import LIMITS, Limits

LabelOrder = Literal["ids", "numbers", "text"]
LABEL_FILE = "labels.csv"
ID_COLUMN, NAME_COLUMN = "ClassId", "SignName"
_ID_NAMES = frozenset({"classid"})
_NAME_NAMES = frozenset({"signname", "name", "classname"})


@dataclass(frozen=True)
class Known:
    """The class names that settings or a table give.

    names: the names by class id, in ascending order of the ids; empty if unknown.
    source: the setting or file, for messages.
    notes: why a table beside the data is not read.
    """

    names: dict[int, str]
    source: str = ""
    notes: tuple[str, ...] = ()

    @property
    def ordered(self) -> tuple[str, ...] | None:
        """The K names where the ids are 0..K-1, else None."""
        return (
            tuple(self.names.values())
            if self.names and list(self.names) == list(range(len(self.names)))
            else None
        )


def known_classes(folder: Path, class_names: tuple[str, ...], class_table: str | Path) -> Known:
    """Return the class names: `class_names`, else those of the file `class_table`, else those of a labels.csv in `folder`.

    A labels.csv that is no table of class names, such as a list of image files, is not read; a note says so.

    Raises:
        InputRefused: the table is damaged or repeats an id.
    """
    if class_names:
        return Known(dict(enumerate(class_names)), "class_names")
    if class_table:
        path = Path(class_table)
        return Known(read_class_table(path), path.name)
    path = folder / LABEL_FILE
    if not path.is_file():
        return Known({})
    try:
        return Known(read_class_table(path), path.name)
    except InputRefused as error:
        if _is_meant(path):
            raise
        problem = str(error).removeprefix(str(path)).lstrip(":0123456789 ").split("; expected")[0]
        return Known(
            {},
            notes=(
                f"{LABEL_FILE} is not read as class names ({problem.rstrip('.')}); expected the columns {ID_COLUMN} and "
                f"{NAME_COLUMN}, so the classes have no names.",
            ),
        )


def _is_meant(path: Path) -> bool:
    """Return whether the table at `path` has exactly the two documented columns."""
    try:
        header = set(read_rows(path, ())[0].cells)
    except InputRefused:
        return False
    return header == {ID_COLUMN, NAME_COLUMN}


def read_class_table(path: Path, limits: Limits = LIMITS) -> dict[int, str]:
    """Read class names by id, ascending, from a CSV file with the columns ClassId and SignName (or Name, ClassName).

    Raises:
        InputRefused: the file cannot be read, lacks a column, repeats an id, or has too many classes.
    """
    id_column, name_column = _columns(path)
    rows = read_rows(path, (id_column, name_column))
    if len(rows) > limits.classes:
        raise InputRefused(f"{path}: has {len(rows):,} classes; the limit is {limits.classes:,}.")
    names: dict[int, str] = {}
    for row in rows:
        label = row.integer(id_column)
        if label in names:
            raise InputRefused(f"{row.where}: class id {label} occurs twice; expected each id once.")
        names[label] = row.cells[name_column].strip()
    return dict(sorted(names.items()))


def _columns(path: Path) -> tuple[str, str]:
    """Return the columns of ids and names in the table at `path`."""
    header = list(read_rows(path, ())[0].cells)
    ids = [name for name in header if plain_name(name) in _ID_NAMES]
    names = [name for name in header if plain_name(name) in _NAME_NAMES]
    if len(ids) != 1 or len(names) != 1:
        shown = ", ".join(name[:40] or "an empty name" for name in header[:6])
        raise InputRefused(
            f"{path}:1: has the columns {shown}; expected one column {ID_COLUMN} and one column {NAME_COLUMN}."
        )
    return ids[0], names[0]


def numbered_classes(
    numbers: set[int], known: Known, order: LabelOrder | None, where: str, what: str
) -> tuple[tuple[str, ...], dict[int, int]]:
    """Return the K class names, and the class of each of the `numbers`.

    Args:
        numbers: folder names or labels, >= 0, at least one.
        order: how they become classes; see the top of this file.
        where: the data, for messages.
        what: "folder" or "label".

    Raises:
        ConfigError: the numbers can be read in several ways, or the class names do not fit them.
    """
    if order is None:
        order = _only_order(numbers, known, where, what)
    if order == "ids":
        return _by_id(numbers, known, where, what)
    ordered = sorted(numbers | _listed(numbers, known), key=str if order == "text" else int)
    if known.source == "class_names":
        if len(known.names) != len(ordered):
            raise ConfigError(
                f"{where}: has {len(ordered)} {what}s and {len(known.names)} class_names; with label_order = "
                f'"{order}", give one name for each {what}.'
            )
        names = tuple(known.names.values())
    else:
        names = tuple(known.names.get(number, f"{what} {number}") for number in ordered)
    return names, {number: ordered.index(number) for number in numbers}


def _listed(numbers: set[int], known: Known) -> set[int]:
    """Return the ids of a table that lists all `numbers`: such a table states all classes."""
    ids = set(known.names) if known.source != "class_names" else set()
    return ids if numbers <= ids else set()


def _only_order(numbers: set[int], known: Known, where: str, what: str) -> LabelOrder:
    """Return the only possible order, or raise ConfigError with the setting for each."""
    count = len(known.names) or len(numbers)
    covers = known.ordered is not None or not known.names
    if max(numbers) < count and covers and (known.names or numbers == set(range(count))):
        return "ids"
    listed = sorted(known.names)
    if known.ordered is None and numbers <= set(listed) and sorted(listed, key=str) == listed:
        return "numbers"  # the table lists all classes, and both sortings agree
    shown = f"{what}s {min(numbers)} to {max(numbers)}" if len(numbers) > 1 else f"{what} {min(numbers)}"
    given = f" and {len(known.names)} names in {known.source}" if known.names else ""
    by_number = f"{min(numbers)} is class 0 and {max(numbers)} is class {len(numbers) - 1}"
    raise ConfigError(
        f"{where}: has {len(numbers)} {what}s, {shown}{given}; set label_order (--label-order): "
        f'"numbers" if they are {len(numbers)} classes sorted as numbers ({by_number}), "text" if sorted as text, as Keras '
        f'sorts folders, or "ids" if each number is the class id (the model then has {max(numbers) + 1} outputs, or as many '
        "as class_names or a --class-table names)."
    )


def _by_id(numbers: set[int], known: Known, where: str, what: str) -> tuple[tuple[str, ...], dict[int, int]]:
    count = len(known.names) or max(numbers) + 1
    if known.names and known.ordered is None:
        raise ConfigError(
            f"{where}: {known.source} has the ids {min(known.names)} to {max(known.names)}, not 0-{count - 1}; "
            'set label_order = "numbers" or "text", or list all ids.'
        )
    if max(numbers) >= count:
        raise ConfigError(
            f"{where}: {what} {max(numbers)} is out of range for the {count} names in {known.source}; give a name for each "
            'class, or set label_order = "numbers" or "text" if the first class is not 0.'
        )
    if count > LIMITS.classes:
        raise InputRefused(
            f"{where}: has class id {max(numbers):,}; the limit is {LIMITS.classes:,} classes."
        )
    return known.ordered or tuple(f"class {label}" for label in range(count)), {
        number: number for number in numbers
    }


def chosen_classes(text: str) -> tuple[str | int, ...]:
    """Read a list of classes from the command line: ids and ranges ("0-18,20-42"), or names between commas.

    Raises:
        ConfigError: a range that descends, or an empty entry.
    """
    entries = [entry.strip() for entry in text.split(",")]
    if not all(entries):
        raise ConfigError(
            f'--classes "{text}": has an empty entry; expected ids, ranges or names between commas.'
        )
    ends = [entry.split("-") for entry in entries]
    if not all(1 <= len(pair) <= 2 and all(_is_number(part) for part in pair) for pair in ends):
        return tuple(entries)
    chosen: list[int] = []
    for pair in ends:
        first, last = int(pair[0]), int(pair[-1])
        if last < first or last >= LIMITS.classes:
            raise ConfigError(
                f'--classes "{text}": {"-".join(pair)} is no range of class ids below {LIMITS.classes:,}; expected such as 0-18.'
            )
        chosen += range(first, last + 1)
    return tuple(chosen)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 9
