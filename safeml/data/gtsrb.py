"""GTSRB from its files, in the official and in the Kaggle layout. Legend: N images.

    official   [GTSRB/]Final_Training/Images/000CC/TTTTT_FFFFF.ppm and GT-000CC.csv  (track T, frame F of class C)
               [GTSRB/]Final_Test/Images/NNNNN.ppm, with GT-final_test.csv beside them or up to three folders above
    Kaggle     Train.csv and Test.csv, whose column Path names PNG files; training files are CC_TTTTT_FFFFF.png;
               the columns of sizes and boxes may be missing

J. Stallkamp, M. Schlipsing, J. Salmen, C. Igel, "Man vs. computer: Benchmarking machine learning algorithms for traffic
sign recognition", Neural Networks 32 (2012). Tracks of the test images are not published.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from safeml.data.annotations import BOX_COLUMNS, Row, read_rows, scale_boxes, track_numbers
from safeml.data.dataset import ImageDataset
from safeml.data.images import Decode, read_pixels, resolve_inside
from safeml.data.signs import CLASS_NAMES
from safeml.data.splits import split_by_track
from safeml.errors import ConfigError, InputRefused
from safeml.links import resolved

SIZE_COLUMNS = ("Width", "Height")
COLUMNS = (*SIZE_COLUMNS, *BOX_COLUMNS, "ClassId")
TEST_LABELS = "GT-final_test.csv"
UNLABELLED = "GT-final_test.test.csv"
_TRACK = re.compile(r"(?:\d+_)?(\d{5})_(\d{5})\.\w+", re.ASCII)
_NUMBER = re.compile(r"(\d{1,9})\.\w+", re.ASCII)
_VALID_SEED = 43


@dataclass(frozen=True)
class _Listed:
    """An image file and its row in the label file."""

    path: Path
    row: Row


def load(
    path: str | Path,
    split: str,
    size: int = 32,
    frames_per_sign: float | None = None,
    valid_fraction: float = 0.0,
    decode: Decode = "upright",
) -> ImageDataset:
    """Load the training or test set of GTSRB under the folder `path`; the layout is detected.

    Args:
        path: the folder with GTSRB/, Final_Training/, Final_Test/, or Train.csv and Test.csv.
        split: "train" or "test"; "valid" with a `valid_fraction`.
        size: height and width to which each whole image is resized (Pillow, bilinear).
        frames_per_sign: the declared mean number of frames of one sign; only the test set, without tracks, needs it.
        valid_fraction: share of the training tracks of each class, 0..1, in "valid" and not in "train".
        decode: "upright", or "keras" to ignore EXIF orientation and transparency.

    Returns:
        uint8 RGB images with labels, original sizes, and boxes where the table has them; "train" and "valid" with tracks. The ids of official
        test images are their file numbers.

    Raises:
        ConfigError: an unknown split, or no known layout under `path`.
        InputRefused: labels and files differ, or a file is damaged.
    """
    root = Path(path)
    if split not in ("train", "valid", "test"):
        raise ConfigError(f'gtsrb: split is "{split}"; expected "train", "valid" or "test".')
    if not 0 <= valid_fraction < 1:
        raise ConfigError(f"gtsrb: valid_fraction is {valid_fraction}; expected at least 0 and less than 1.")
    if split == "valid" and valid_fraction == 0:
        raise ConfigError(
            "gtsrb: GTSRB publishes no validation set; set valid_fraction to take it from the training tracks."
        )
    if not 1 <= size <= 4096:
        raise ConfigError(f"gtsrb: size is {size}; expected 1 to 4096 pixels.")
    dataset = _read(root, _find(root, split), split == "test", size, frames_per_sign, decode)
    if split == "test" or valid_fraction == 0:
        return dataset
    return split_by_track(dataset, {"train": 1 - valid_fraction, "valid": valid_fraction}, _VALID_SEED)[split]


def _read(
    root: Path,
    listed: Sequence[_Listed],
    test: bool,
    size: int,
    frames_per_sign: float | None,
    decode: Decode,
) -> ImageDataset:
    _refuse_unlisted(listed)
    labels = np.array([item.row.class_id(len(CLASS_NAMES)) for item in listed], np.int64)
    tracks = frames = None
    if not test:
        named = np.array([_track(item) for item in listed], np.int64)
        tracks, frames = track_numbers(labels, named[:, 0], str(root)), named[:, 1]
    edges = _integers(listed, BOX_COLUMNS)
    pixels = read_pixels([item.path for item in listed], size, decode)
    _check_sizes(listed, pixels.original_size)
    boxes = None if edges is None else scale_boxes(edges, pixels.original_size, size, size, str(root))
    return ImageDataset(
        name=f"gtsrb {'test' if test else 'train'}",
        images=pixels.images,
        labels=labels,
        class_names=CLASS_NAMES,
        tracks=tracks,
        frames_per_sign=frames_per_sign,
        boxes=boxes,
        original_size=pixels.original_size,
        ids=_file_numbers(listed) if test else None,
        files=np.array([os.path.relpath(item.path, root.resolve()) for item in listed], object),
        notes=pixels.notes,
        frames=frames,
    )


def _integers(listed: Sequence[_Listed], columns: tuple[str, ...]) -> np.ndarray | None:
    """Return int64 [N, len(columns)], or None if the tables have none of the columns.

    Raises:
        InputRefused: some of the columns are missing, or the tables differ in them.
    """
    for item in listed:
        present = [column for column in columns if column in item.row.cells]
        if present and len(present) < len(columns):
            missing = next(column for column in columns if column not in present)
            raise InputRefused(
                f"{item.row.where}: has the column {present[0]} but not {missing}; expected all of {', '.join(columns)}, or none."
            )
    if columns[0] not in listed[0].row.cells:
        return None
    return np.array([[item.row.integer(column) for column in columns] for item in listed], np.int64)


def _check_sizes(listed: Sequence[_Listed], original_size: np.ndarray) -> None:
    """Raise InputRefused where an image has another size than its table states: boxes are in pixels of the original."""
    stated = _integers(listed, SIZE_COLUMNS)
    if stated is None:
        return
    differ = (stated != original_size[:, ::-1]).any(axis=1)
    if differ.any():
        index = int(np.flatnonzero(differ)[0])
        high, wide = original_size[index]
        raise InputRefused(
            f"{listed[index].row.where}: says {stated[index, 0]} x {stated[index, 1]} pixels, but {listed[index].path.name} "
            f"has {wide} x {high}; expected the original images, because boxes are in their pixels."
        )


def _find(root: Path, split: str) -> list[_Listed]:
    """Return the labelled image files of a split, in the order of the label files."""
    part = "test" if split == "test" else "train"
    for base in (root, root / "GTSRB", root / part, root / part / "GTSRB"):
        kaggle = base / ("Test.csv" if part == "test" else "Train.csv")
        if kaggle.is_file():
            return [
                _Listed(resolve_inside(base, row.cells["Path"]), row)
                for row in read_rows(kaggle, ("ClassId", "Path"))
            ]
        folder = base / ("Final_Test" if part == "test" else "Final_Training") / "Images"
        if folder.is_dir():
            return _official_test(folder) if part == "test" else _official_training(folder)
    expected = "Final_Test/Images or Test.csv" if part == "test" else "Final_Training/Images or Train.csv"
    raise ConfigError(
        f"{root}: has no GTSRB {part} set; expected {expected} in this folder or in its folder GTSRB."
    )


def _official_training(folder: Path) -> list[_Listed]:
    listed: list[_Listed] = []
    for class_folder in sorted(entry for entry in folder.iterdir() if entry.is_dir()):
        for row in read_rows(class_folder / f"GT-{class_folder.name}.csv", ("Filename", *COLUMNS)):
            if f"{row.class_id(len(CLASS_NAMES)):05d}" != class_folder.name:
                raise InputRefused(
                    f"{row.where}: class id {row.cells['ClassId']} is in the folder {class_folder.name}; expected equal ids."
                )
            listed.append(_Listed(resolve_inside(class_folder, row.cells["Filename"]), row))
    if not listed:
        raise InputRefused(
            f"{folder}: has no class folders; expected 00000 to 00042, each with images and a GT-*.csv."
        )
    return listed


def _official_test(folder: Path) -> list[_Listed]:
    # Images and labels are separate archives, so the label file may be in another folder.
    places = (folder, *folder.parents[:3])
    labels = next((place / TEST_LABELS for place in places if (place / TEST_LABELS).is_file()), None)
    if labels is None:
        beside = (
            f"; the {UNLABELLED} there has no ClassId and is not labels"
            if (folder / UNLABELLED).is_file()
            else ""
        )
        raise InputRefused(
            f"{folder}: has no test labels{beside}; put {TEST_LABELS} (from GTSRB_Final_Test_GT.zip) beside the images."
        )
    return [
        _Listed(resolve_inside(folder, row.cells["Filename"]), row)
        for row in read_rows(labels, ("Filename", *COLUMNS))
    ]


def _refuse_unlisted(listed: Sequence[_Listed]) -> None:
    """Refuse rows without image files and files without rows: a truncated label file would silently shrink the data."""
    known: set[Path] = set()
    for item in listed:
        if item.path in known:
            raise InputRefused(
                f"{item.row.where}: {item.path.name} occurs twice; expected one row per image."
            )
        known.add(item.path)
    suffixes = {path.suffix for path in known}
    for folder in sorted({path.parent for path in known}):
        present = folder.iterdir() if folder.is_dir() else ()
        without = sorted(
            entry.name for entry in present if entry.suffix in suffixes and not _is_one_of(known, entry)
        )
        if without:
            raise InputRefused(
                f"{folder}: {len(without)} images have no label, first {without[0]}; expected one row per image."
            )


def _is_one_of(known: set[Path], entry: Path) -> bool:
    try:
        return resolved(entry) in known
    except OSError:  # a loop of links
        return False


def _track(item: _Listed) -> tuple[int, int]:
    """Return the numbers of the track and of the frame in it."""
    match = _TRACK.fullmatch(item.path.name)
    if match is None:
        raise InputRefused(
            f"{item.row.where}: the file name {item.path.name} has no track number; expected TTTTT_FFFFF or CC_TTTTT_FFFFF."
        )
    return int(match[1]), int(match[2])


def _file_numbers(listed: Sequence[_Listed]) -> np.ndarray | None:
    """Return the official numbers of the test files, or None for other file names."""
    matches = [_NUMBER.fullmatch(item.path.name) for item in listed]
    numbers = [int(match[1]) for match in matches if match is not None]
    return np.array(numbers, np.int64) if len(numbers) == len(listed) else None
