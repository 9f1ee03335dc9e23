"""Annotations of images: CSV rows, boxes, track numbers, class names. Legend: N images, K classes."""

from __future__ import annotations

import csv
import difflib
import io
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from safeml.errors import InputRefused
from safeml.limits import LIMITS, Limits

# Words for one thing in public tables, as `plain_name` writes them. They are proposed, never taken.
_SYNONYMS = (
    ("classid", "class", "label", "labels", "id", "target", "y"),
    ("path", "filename", "file", "image", "imagepath", "filepath", "img"),
    ("width", "w"),
    ("height", "h"),
    ("roix1", "xmin", "x1"),
    ("roiy1", "ymin", "y1"),
    ("roix2", "xmax", "x2"),
    ("roiy2", "ymax", "y2"),
)
BOX_COLUMNS = ("Roi.X1", "Roi.Y1", "Roi.X2", "Roi.Y2")


@dataclass(frozen=True)
class Row:
    """A row of a CSV file; `where` is `file:line`, for messages."""

    where: str
    cells: dict[str, str]

    def integer(self, column: str) -> int:
        """Return the non-negative whole number in `column`."""
        text = self.cells[column].strip()
        if not (text.isascii() and text.isdigit() and len(text) <= 9):
            shown = text[:40] or "an empty cell"
            raise InputRefused(
                f"{self.where}: {column} is {shown}; expected a whole number of at most 9 digits."
            )
        return int(text)

    def number(self, column: str) -> float:
        """Return the finite number in `column`."""
        text = self.cells[column].strip()
        try:
            value = float(text) if text.isascii() and len(text) <= 40 and "_" not in text else math.nan
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            shown = text[:40] or "an empty cell"
            raise InputRefused(f"{self.where}: {column} is {shown}; expected a finite number, such as -3.5.")
        return value

    def class_id(self, classes: int) -> int:
        """Return the class id in the column `ClassId`, 0..classes-1."""
        label = self.integer("ClassId")
        if label >= classes:
            raise InputRefused(
                f"{self.where}: class id {label} is out of range; there are {classes} classes, so ids are 0-{classes - 1}."
            )
        return label


def read_rows(path: Path, required: tuple[str, ...], limits: Limits = LIMITS) -> list[Row]:
    """Read the rows of a CSV file with a header, separated by `;`, tab or `,` (the first of these in the header).

    A byte-order mark and any line ending are accepted; empty lines are skipped.

    Raises:
        InputRefused: the file cannot be read, is too large, is not UTF-8, lacks a required column, or has a row with
            another number of cells than the header.
    """
    try:
        if path.stat().st_size > limits.table_bytes:
            raise InputRefused(
                f"{path}: is larger than {limits.table_bytes:,} bytes; expected a table of labels."
            )
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise InputRefused(f"{path}: cannot be read ({error.strerror}); expected a CSV file.") from error
    except UnicodeDecodeError as error:
        raise InputRefused(f"{path}: is not UTF-8 text; save it as UTF-8 CSV.") from error
    first_line = text.split("\n", 1)[0]
    separator = next((mark for mark in ";\t" if mark in first_line), ",")
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    rows: list[Row] = []
    try:
        header = [name.strip() for name in next(reader, [])]
        missing = [name for name in required if name not in header]
        if missing or len(set(header)) != len(header):
            problem = f"has no column {missing[0]}" if missing else "names a column twice"
            near = _similar(missing[0], header) if missing else ""
            hint = f' (did you mean "{near}"? Rename it)' if near else ""
            raise InputRefused(
                f"{path}:1: {problem}{hint}; expected a header with {', '.join(required) or 'a name for each column'}."
            )
        for cells in reader:
            if not cells:
                continue
            where = f"{path}:{reader.line_num}"
            if len(cells) != len(header):
                raise InputRefused(f"{where}: has {len(cells)} cells; the header has {len(header)}.")
            rows.append(Row(where, dict(zip(header, cells, strict=True))))
            if len(rows) > limits.images:
                raise InputRefused(f"{where}: the file has too many rows; the limit is {limits.images:,}.")
    except csv.Error as error:
        raise InputRefused(f"{path}:{reader.line_num}: is not valid CSV ({error}).") from error
    if not rows:
        raise InputRefused(f"{path}: has no rows below its header; expected at least one.")
    return rows


def plain_name(name: str) -> str:
    """Return a column name without case and separators: "Class_ID" and "classId" are "classid"."""
    return "".join(character for character in name.casefold() if character.isalnum())


def _similar(wanted: str, header: list[str]) -> str:
    """Return the column in `header` that may be meant by `wanted`, or ""."""
    plain = {plain_name(name): name for name in header}
    synonyms = next((group for group in _SYNONYMS if plain_name(wanted) in group), ())
    meant = next((plain[word] for word in (plain_name(wanted), *synonyms) if word in plain), "")
    near = difflib.get_close_matches(plain_name(wanted), plain, n=1)
    return meant or (plain[near[0]] if near else "")


def track_numbers(labels: np.ndarray, tracks: np.ndarray, source: str, limits: Limits = LIMITS) -> np.ndarray:
    """Number each pair of class and track: label x 10^9 + track, the same for every file and loader.

    GTSRB restarts its track numbers in each class, so the pair, not the number, is one physical sign. If numbers do
    not restart, the pair identifies the same signs.

    Args:
        labels: int [N], 0..K-1.
        tracks: int [N], 0..`limits.track_number`.

    Returns:
        int64 [N].
    """
    if len(tracks) and (int(tracks.min()) < 0 or int(tracks.max()) > limits.track_number):
        raise InputRefused(
            f"{source}: track numbers are outside 0-{limits.track_number:,}; renumber the tracks."
        )
    return labels.astype(np.int64) * (limits.track_number + 1) + tracks.astype(np.int64)


def scale_boxes(
    boxes: np.ndarray, original_size: np.ndarray, height: int, width: int, source: str
) -> np.ndarray:
    """Scale boxes from pixels of the original images to pixels of the images resized to height x width.

    Args:
        boxes: int [N, 4]; x1, y1, x2, y2 with 0 <= x1 < x2 <= original width, and so for y.
        original_size: int [N, 2]; height and width.

    Returns:
        float32 [N, 4].

    Raises:
        InputRefused: a box is empty, reversed or leaves its image.
    """
    edges = boxes.astype(np.float64)
    high, wide = original_size[:, 0].astype(np.float64), original_size[:, 1].astype(np.float64)
    x1, y1, x2, y2 = edges.T
    wrong = ~((x1 >= 0) & (x1 < x2) & (x2 <= wide) & (y1 >= 0) & (y1 < y2) & (y2 <= high))
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        box = ", ".join(str(int(edge)) for edge in boxes[row])
        raise InputRefused(
            f"{source}: the region of interest of image {row} is ({box}) in an image of {int(wide[row])} x {int(high[row])} "
            f"pixels; expected x1 < x2 and y1 < y2 inside the image."
        )
    scale = np.stack([width / wide, height / high, width / wide, height / high], axis=1)
    return (edges * scale).astype(np.float32)
