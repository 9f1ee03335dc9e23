"""What a training wrote down of its epochs: CSVLogger files, and `history.history` as JSON or as a table of pandas.

    CSVLogger                 a column "epoch", counted from 0; separated by commas, semicolons, tabs or bars
    pandas, CSV               DataFrame(history.history).to_csv, with or without the column of the index; row n is epoch n
    JSON                      an object of lists, or a list of one object per epoch
    pandas, JSON              DataFrame.to_json in the orientations "columns", "index", "records", "split" and "table"
    safeml                    the manifest of `safeml train`

Epochs are numbered from 1 here, as in the names of files that `keras.callbacks.ModelCheckpoint` writes.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safeml.errors import InputRefused
from safeml.limits import LIMITS
from safeml.scan.base import Refused
from safeml.scan.strict_json import parse

EPOCHS = 10_000
HEAD_BYTES = 16 * 1024
ENDINGS = (".csv", ".log", ".tsv", ".json")
SEPARATORS = (";", "\t", "|")  # else a comma
# The first column of DataFrame.to_csv, which is the number of the row.
INDEX_COLUMNS = ("", "Unnamed: 0", "index")


@dataclass(frozen=True)
class Record:
    """A record of a training.

    path: its file.
    epochs: the metrics of each epoch, counted from 1, that are finite numbers.
    """

    path: Path
    epochs: dict[int, dict[str, float]]

    @property
    def metrics(self) -> tuple[str, ...]:
        """Return the names of all metrics in the order of the file."""
        return tuple(dict.fromkeys(name for row in self.epochs.values() for name in row))

    def agrees(self, other: Record) -> bool:
        """Return whether both are of one training: the same epochs and metrics, equal to six digits."""
        return self.epochs.keys() == other.epochs.keys() and all(
            row.keys() == other.epochs[epoch].keys()
            and all(
                math.isclose(value, other.epochs[epoch][name], rel_tol=1e-6) for name, value in row.items()
            )
            for epoch, row in self.epochs.items()
        )


def read_record(path: Path) -> Record | None:
    """Return the record in a file, or None if the file is something else.

    Raises:
        InputRefused: the file is a record that is damaged, too large, or of more than one run.
    """
    try:
        with path.open("rb") as stream:
            head = stream.read(HEAD_BYTES)
            if path.suffix != ".json" and _header(head) is None:
                return None
            raw = head + stream.read(LIMITS.record_bytes + 1 - len(head))
    except OSError as error:
        raise InputRefused(f"{path}: cannot be read ({error.strerror}); expected a readable file.") from error
    if len(raw) > LIMITS.record_bytes:
        raise InputRefused(
            f"{path}: is larger than {LIMITS.record_bytes:,} bytes; expected a record of epochs."
        )
    rows = _json_rows(path, raw) if path.suffix == ".json" else _csv_rows(path, raw)
    if rows is None:
        return None
    if not rows:
        raise InputRefused(f"{path}: records no epoch; expected one row per epoch.")
    return Record(path, {epoch: _numbers(row) for epoch, row in rows.items()})


def _header(head: bytes) -> tuple[str, list[str]] | None:
    """Return the separator and the columns of a record, or None if the first line is of something else."""
    first = head.split(b"\n", 1)[0].decode("utf-8-sig", "replace").strip("\r ")
    separator = next((mark for mark in SEPARATORS if mark in first), ",")
    columns = [name.strip().strip('"') for name in first.split(separator)]
    validated = [name for name in columns if name.startswith("val_")]
    if "epoch" in columns:
        is_record = bool(validated) or "loss" in columns
    else:
        # A table of another kind, such as one row per run, has no training metric beside each validation metric.
        pairs = all(name.removeprefix("val_") in columns for name in validated)
        is_record = bool(validated) and pairs and "loss" in columns
    return (separator, columns) if is_record else None


def _csv_rows(path: Path, raw: bytes) -> dict[int, dict[str, Any]] | None:
    """Return the rows of a CSV file by epoch. A second run may be appended to the first, which is refused."""
    header = _header(raw[:HEAD_BYTES])
    if header is None:
        return None
    separator, columns = header
    try:
        reader = csv.reader(
            io.StringIO(raw.decode("utf-8-sig"), newline=""), delimiter=separator, strict=True
        )
        next(reader)
        return _epoch_rows(path, columns, ((reader.line_num, cells) for cells in reader if cells))
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputRefused(
            f"{path}: is not valid CSV; expected the file of CSVLogger, or of DataFrame.to_csv."
        ) from error


def _epoch_rows(
    path: Path, header: list[str], table: Iterator[tuple[int, list[str]]]
) -> dict[int, dict[str, Any]]:
    """Return the rows by epoch, checked one by one, so that a damaged record is left at its first fault."""
    index = header[0] if header[0] in INDEX_COLUMNS else None
    counter = "epoch" if "epoch" in header else index
    rows: dict[int, dict[str, Any]] = {}
    for line, cells in table:
        if cells == header:
            raise InputRefused(
                f"{path}:{line}: starts a second run; keep only the run of these checkpoints in it."
            )
        if len(cells) != len(header):
            raise InputRefused(f"{path}:{line}: has {len(cells)} cells; the header has {len(header)}.")
        row: dict[str, Any] = dict(zip(header, cells, strict=True))
        epoch = len(rows) + 1 if counter is None else _epoch(row[counter], f"{path}:{line}") + 1
        if epoch in rows:
            raise InputRefused(
                f"{path}:{line}: records epoch {epoch - 1} a second time, as appended runs do; keep only the run of these "
                "checkpoints in it."
            )
        if counter is index is not None and epoch != len(rows) + 1:
            raise InputRefused(
                f"{path}:{line}: is row {row[counter or ''][:20]} of the table, expected {len(rows)}; save the whole history."
            )
        rows[epoch] = {key: value for key, value in row.items() if key not in (counter, index)}
    return rows


def _epoch(text: str, where: str) -> int:
    """Return an epoch as stored. pandas writes whole numbers as 3.0 where a column once had a gap."""
    whole = text.strip().removesuffix(".0")
    if not (whole.isascii() and whole.isdigit() and len(whole) <= 7 and int(whole) < EPOCHS):
        raise InputRefused(f"{where}: epoch is {text[:20] or 'empty'}; expected a whole number from 0.")
    return int(whole)


def _json_rows(path: Path, raw: bytes) -> dict[int, dict[str, Any]] | None:
    """Return the rows of a JSON record by epoch, or None if the file is something else."""
    try:
        value = parse(raw, "it")
    except Refused as refusal:
        if b'"val_' not in raw:
            return None  # an architecture is JSON too, and is checked elsewhere
        raise InputRefused(f"{path}: {refusal}; expected history.history as JSON.") from refusal
    value = _as_rows(path, value)
    if not (isinstance(value, list) and value and all(isinstance(row, dict) for row in value)):
        return None
    if not any(str(key).startswith("val_") for key in value[0]):
        return None
    rows = {}
    for number, row in enumerate(value, start=1):
        stated = row.get("epoch", number)
        if stated not in (number, number - 1):
            raise InputRefused(
                f"{path}: its entry {number} is of another epoch; expected the epochs in order."
            )
        rows[number] = {key: entry for key, entry in row.items() if key not in ("epoch", "index")}
    return rows


def _as_rows(path: Path, value: Any) -> Any:
    """Return one object per epoch from any of the JSON layouts above; any other value is returned as it is."""
    if not isinstance(value, dict):
        return value
    if isinstance(value.get("epochs"), list):
        return value["epochs"]  # the manifest of `safeml train`
    if isinstance(value.get("history"), dict):
        value = value["history"]
    if isinstance(value.get("data"), list) and isinstance(value.get("schema"), dict):
        return value["data"]  # pandas, "table"
    columns, table = value.get("columns"), value.get("data")
    if isinstance(columns, list) and isinstance(table, list):  # pandas, "split"
        return [
            dict(zip(map(str, columns), row, strict=False)) if isinstance(row, list) else row for row in table
        ]
    inner = list(value.values())
    if inner and all(isinstance(entry, dict) for entry in inner):
        if any(str(key).startswith("val_") for key in value):  # pandas, "columns"
            value = {key: _in_order(path, entry) for key, entry in value.items()}
        elif any(str(key).startswith("val_") for key in inner[0]):  # pandas, "index"
            return _in_order(path, value)
    if any(str(key).startswith("val_") for key in value):
        lists = {key: entry for key, entry in value.items() if isinstance(entry, list)}
        lengths = {len(entry) for key, entry in lists.items() if key != "epoch"}
        if len(lengths) != 1 or len(lists) != len(value):
            raise InputRefused(
                f"{path}: its metrics are not lists of one length; expected history.history as JSON."
            )
        return [dict(zip(lists, row, strict=False)) for row in zip(*lists.values(), strict=False)]
    return value


def _in_order(path: Path, rows: dict[str, Any]) -> list[Any]:
    """Return the values of an object whose keys count from 0, in that order."""
    if list(rows) != [str(number) for number in range(len(rows))]:
        raise InputRefused(
            f"{path}: its rows are not numbered 0-{len(rows) - 1} in order; save the whole history."
        )
    return list(rows.values())


def _numbers(row: dict[str, Any]) -> dict[str, float]:
    """Return the metrics of one epoch that are finite numbers. CSVLogger writes NA where an epoch has none."""
    values = {}
    for name, entry in row.items():
        try:
            value = float(entry) if isinstance(entry, str | int | float) else math.nan
        except (ValueError, OverflowError):
            value = math.nan
        if math.isfinite(value):
            values[name] = value
    return values
