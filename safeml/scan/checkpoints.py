"""Which checkpoint of a folder is the model: the best by the metric that training recorded at full precision.

`keras.callbacks.ModelCheckpoint` rounds the metric into the file's name ("{epoch:02d}-{val_accuracy:.2f}.keras"), so names tie
where models differ. A record of the epochs decides: the file of `keras.callbacks.CSVLogger`, or `history.history` as JSON, in
the folder or in its parent. CSVLogger counts epochs from 0 and ModelCheckpoint from 1.
"""

from __future__ import annotations

import csv
import io
import itertools
import math
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safeml.errors import InputRefused
from safeml.limits import LIMITS
from safeml.scan.base import Refused
from safeml.scan.strict_json import parse

MODELS = (".weights.h5", ".keras", ".h5", ".hdf5", ".onnx")
FILES = 10_000
EPOCHS = 10_000
TABLES = 100
HEAD_BYTES = 16 * 1024
# Of validation only: training metrics reward what was learned by heart. The first that a record has is taken.
HIGHER = ("val_accuracy", "val_acc", "val_sparse_categorical_accuracy", "val_categorical_accuracy")
METRICS = (*HIGHER, "val_loss")
# A number in a file's name: "07" and "0.98" in "weights.07-0.98", "9.8e-01" in "model_3_9.8e-01".
NUMBER = re.compile(r"(?<!\d)(?<!\d\.)\d+(?:\.\d+(?:[eE][+-]?\d+)?)?")
NAMED_EPOCH = re.compile(r"(?<![a-z])(?:epoch|ep|e)[-_.= ]*(\d{1,7})(?!\d|\.\d)", re.IGNORECASE)
VERSION = re.compile(r"(?:^|[^a-z])v$", re.IGNORECASE)
REMEDY = "so give one file, or put the CSVLogger file beside them"


@dataclass(frozen=True)
class Checkpoint:
    """The chosen file, and one sentence for the report that says why it is this one."""

    path: Path
    reason: str


@dataclass(frozen=True)
class Record:
    """What training wrote down: the metrics of each epoch, counted from 1 as in the names of files."""

    path: Path
    epochs: dict[int, dict[str, float]]


def choose(folder: Path) -> Checkpoint:
    """The best checkpoint in `folder` by validation accuracy, else by validation loss; of equals, the earliest.

    Raises InputRefused where the folder holds no model, no record says which is best, or names and record disagree.
    """
    names = _listed(folder)
    models = [path for path in names if path.name.endswith(MODELS)]
    if not models:
        raise InputRefused(
            f"{folder}: holds no model file; expected a .keras, .h5 or ONNX file, a SavedModel or checkpoints."
        )
    if len(models) == 1:
        return Checkpoint(models[0], "the only model file in its folder")
    record = _record(folder, names)
    if record is None:
        raise InputRefused(
            f"{folder}: holds {len(models)} checkpoints and no record of their metrics; file names round, {REMEDY}."
        )
    metric = next((name for name in METRICS if any(name in row for row in record.epochs.values())), None)
    if metric is None:
        raise InputRefused(
            f"{record.path}: records no validation metric; expected val_accuracy or val_loss, {REMEDY}."
        )
    epochs = _assigned(folder, models, record, metric)
    written = _check_names(epochs, record, metric)
    if min(record.epochs) == 2 and not written:
        raise InputRefused(
            f"{record.path}: starts with epoch 1, which is the second one of CSVLogger or the first one of another record, "
            "and no file name holds a metric to tell; give one file."
        )
    sign = 1 if metric in HIGHER else -1
    recorded = {epoch: sign * row[metric] for epoch, row in record.epochs.items() if metric in row}
    best = max(epochs, key=lambda epoch: (recorded[epoch], -epoch))
    rounds = f"; the name rounds it to {written[best]}" if best in written else ""
    better = [epoch for epoch, value in recorded.items() if value > recorded[best]]
    gone = f"; epoch {better[0]} was better and has no file here" if better else ""
    return Checkpoint(
        epochs[best],
        f"epoch {best} of {max(record.epochs)}, {metric} {record.epochs[best][metric]:.10g} "
        f"as recorded in {record.path.name}{rounds}{gone}",
    )


def _assigned(folder: Path, models: list[Path], record: Record, metric: str) -> dict[int, Path]:
    """The checkpoint of each epoch, by the names of the files."""
    epochs: dict[int, Path] = {}
    for path in models:
        epoch = _epoch(_stem(path))
        if epoch is None:
            raise InputRefused(
                f"{path}: no one epoch can be read from its name, so no recorded metric is known to be its own; "
                'expected a name like "07-0.98.keras", or only one model file in the folder.'
            )
        if epoch in epochs:
            raise InputRefused(
                f"{folder}: {epochs[epoch].name} and {path.name} are both of epoch {epoch}; give one of them."
            )
        if epoch not in record.epochs:
            raise InputRefused(
                f"{path}: is of epoch {epoch} by its name; {record.path.name} records the epochs "
                f"{min(record.epochs)}-{max(record.epochs)}, counted from 1."
            )
        if metric not in record.epochs[epoch]:
            raise InputRefused(
                f"{path}: is of epoch {epoch} by its name, for which {record.path.name} records no finite {metric}; "
                "take the file out of the folder, or give one file."
            )
        epochs[epoch] = path
    return epochs


def _check_names(epochs: dict[int, Path], record: Record, metric: str) -> dict[int, str]:
    """The text of `metric` in the file names, by epoch. Each number in the names must be one metric, rounded, in all files."""
    written: dict[int, str] = {}
    meanings: dict[int, set[str]] = {}
    for epoch, path in sorted(epochs.items()):
        row = record.epochs[epoch]
        for place, text in enumerate(_decimals(_stem(path))):
            agreeing = {name for name, value in row.items() if _rounds_to(value, text)}
            meanings[place] = meanings.get(place, set(row)) & agreeing
            if not meanings[place]:
                raise InputRefused(
                    f"{path}: its name says {text}; {record.path.name} records {metric} {row[metric]:.10g} for epoch {epoch}, "
                    "so one of them is of another training."
                )
    for place, names in meanings.items():
        if metric in names:
            found = {epoch: _decimals(_stem(path))[place:] for epoch, path in epochs.items()}
            written = {epoch: texts[0] for epoch, texts in found.items() if texts}
            break
    return written


def _stem(path: Path) -> str:
    return next(path.name.removesuffix(ending) for ending in MODELS if path.name.endswith(ending))


def _listed(folder: Path) -> list[Path]:
    """The regular files of the folder by name. Links are not followed."""
    try:
        found = list(itertools.islice(folder.iterdir(), FILES + 1))
        if len(found) > FILES:
            raise InputRefused(
                f"{folder}: holds more than {FILES:,} files; expected a folder of checkpoints."
            )
        files = sorted(path for path in found if stat.S_ISREG(path.lstat().st_mode))
    except OSError as error:
        raise InputRefused(
            f"{folder}: cannot be listed ({error.strerror}); expected a readable folder."
        ) from error
    return files


def _epoch(stem: str) -> int | None:
    """The epoch in a file's name: the number after "epoch", "ep" or "e", else the only whole number that stands by itself."""
    named = NAMED_EPOCH.search(stem)
    if named:
        return int(named.group(1))
    whole = [
        match.group()
        for match in NUMBER.finditer(stem)
        if match.group().isascii()
        and match.group().isdigit()
        and len(match.group()) <= 7
        # "resnet50" and "2x" name no epoch
        and not stem[: match.start()][-1:].isalpha()
        and not stem[match.end() :][:1].isalpha()
    ]
    return int(whole[0]) if len(whole) == 1 else None


def _decimals(stem: str) -> list[str]:
    """The numbers with a decimal point in a file's name, as text; "v1.0" is a version."""
    return [
        match.group()
        for match in NUMBER.finditer(stem)
        if "." in match.group() and not VERSION.search(stem[: match.start()])
    ]


def _rounds_to(value: float, text: str) -> bool:
    """Whether `value`, written with as many decimals as `text`, is `text`."""
    digits = re.split("[eE]", text)[0].partition(".")[2]
    style = "e" if "e" in text.lower() else "f"
    return format(value, f".{len(digits)}{style}") == text.lower()


def _record(folder: Path, names: list[Path]) -> Record | None:
    """The record of the training in the folder, else in its parent; None where there is none. Raises where there are two."""
    for files in (names, _listed(folder.absolute().parent)):
        tables = [path for path in files if path.suffix in (".csv", ".log", ".json")]
        if len(tables) > TABLES:
            raise InputRefused(
                f"{tables[0].parent}: holds {len(tables)} files that may record metrics; at most {TABLES} are read, {REMEDY}."
            )
        found = [record for path in tables if (record := _read(path)) is not None]
        if len(found) > 1:
            raise InputRefused(
                f"{folder}: {found[0].path.name} and {found[1].path.name} both record metrics; leave the one of these checkpoints."
            )
        if found:
            return found[0]
    return None


def _read(path: Path) -> Record | None:
    """The record in a file, or None where the file is something else. Epochs are renumbered from 1."""
    try:
        with path.open("rb") as stream:
            head = stream.read(HEAD_BYTES)
            if path.suffix != ".json" and _header(head) is None:
                return None
            raw = head + stream.read(LIMITS.record_bytes + 1 - len(head))
    except OSError as error:
        raise InputRefused(f"{path}: cannot be read ({error.strerror}).") from error
    if len(raw) > LIMITS.record_bytes:
        raise InputRefused(
            f"{path}: is larger than {LIMITS.record_bytes:,} bytes; expected a record of epochs."
        )
    rows = _json_rows(path, raw) if path.suffix == ".json" else _csv_rows(path, raw)
    if rows is None:
        return None
    if not rows:
        raise InputRefused(f"{path}: records no epoch; expected one row for each.")
    return Record(path, {epoch: _numbers(row) for epoch, row in rows.items()})


def _header(head: bytes) -> tuple[str, list[str]] | None:
    """The separator and the columns of a CSVLogger file, or None where its first line is of something else."""
    first = head.split(b"\n", 1)[0].decode("utf-8-sig", "replace").strip()
    separator = ";" if ";" in first else ","
    columns = [name.strip() for name in first.split(separator)]
    is_record = "epoch" in columns and any(name.startswith("val_") or name == "loss" for name in columns)
    return (separator, columns) if is_record else None


def _csv_rows(path: Path, raw: bytes) -> dict[int, dict[str, Any]] | None:
    """The rows of a CSVLogger file by epoch. CSVLogger counts from 0, and a second run may be appended to the first."""
    found = _header(raw[:HEAD_BYTES])
    if found is None:
        return None
    separator, header = found
    try:
        reader = csv.reader(
            io.StringIO(raw.decode("utf-8-sig"), newline=""), delimiter=separator, strict=True
        )
        next(reader)
        return _judged(path, header, ((reader.line_num, cells) for cells in reader if cells))
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputRefused(
            f"{path}: is not the text that CSVLogger writes; save the record again."
        ) from error


def _judged(
    path: Path, header: list[str], table: Iterator[tuple[int, list[str]]]
) -> dict[int, dict[str, Any]]:
    """Row by row, so that a record that is none is left at its first fault."""
    rows: dict[int, dict[str, Any]] = {}
    for line, cells in table:
        if cells == header:
            raise InputRefused(
                f"{path}:{line}: starts a second run; leave the run of these checkpoints alone in it."
            )
        if len(cells) != len(header):
            raise InputRefused(f"{path}:{line}: has {len(cells)} cells; the header has {len(header)}.")
        row: dict[str, Any] = dict(zip(header, cells, strict=True))
        text = row.pop("epoch").strip()
        if not (text.isascii() and text.isdigit() and len(text) <= 7 and int(text) < EPOCHS):
            raise InputRefused(
                f"{path}:{line}: epoch is {text[:20] or 'empty'}; expected a whole number from 0."
            )
        if int(text) + 1 in rows:
            raise InputRefused(
                f"{path}:{line}: records epoch {text} a second time, as appended runs do; leave the run of these checkpoints alone in it."
            )
        rows[int(text) + 1] = row
    return rows


def _json_rows(path: Path, raw: bytes) -> dict[int, dict[str, Any]] | None:
    """`history.history` as JSON: an object of lists of one length, or a list of objects in the order of the epochs."""
    try:
        value = parse(raw, "it")
    except Refused as refusal:
        if b'"val_' not in raw:
            return None  # an architecture is JSON too, and judged elsewhere
        raise InputRefused(f"{path}: {refusal}; expected history.history as JSON.") from refusal
    if isinstance(value, dict) and isinstance(value.get("epochs"), list):
        value = value["epochs"]  # the manifest of `safeml train`
    if isinstance(value, dict) and any(str(key).startswith("val_") for key in value):
        lists = {key: entry for key, entry in value.items() if isinstance(entry, list)}
        lengths = {len(entry) for key, entry in lists.items() if key != "epoch"}
        if len(lengths) != 1 or len(lists) != len(value):
            raise InputRefused(
                f"{path}: its metrics are not lists of one length; expected history.history as JSON."
            )
        value = [dict(zip(lists, row, strict=False)) for row in zip(*lists.values(), strict=False)]
    if not (isinstance(value, list) and value and all(isinstance(row, dict) for row in value)):
        return None
    if not any(str(key).startswith("val_") for key in value[0]):
        return None
    rows = {}
    for index, row in enumerate(value, start=1):
        stated = row.get("epoch", index)
        if stated not in (index, index - 1):
            raise InputRefused(
                f"{path}: its entry {index} is of another epoch; expected the epochs in order."
            )
        rows[index] = {key: entry for key, entry in row.items() if key != "epoch"}
    return rows


def _numbers(row: dict[str, Any]) -> dict[str, float]:
    """The metrics of one epoch that are finite numbers. CSVLogger writes NA where an epoch has none."""
    values = {}
    for name, entry in row.items():
        try:
            value = float(entry) if isinstance(entry, str | int | float) else math.nan
        except (ValueError, OverflowError):
            value = math.nan
        if math.isfinite(value):
            values[name] = value
    return values
