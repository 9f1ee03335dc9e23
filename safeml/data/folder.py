"""Images from a folder with one folder per class. Legend: N images, K classes."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np

from safeml.data.classes import Known, LabelOrder, known_classes, numbered_classes
from safeml.data.dataset import ImageDataset
from safeml.data.images import Decode, Pixels, check_room, read_image, read_pixels, resolve_inside
from safeml.errors import ConfigError, InputRefused
from safeml.limits import LIMITS

# Common files beside images; any other file is read as an image.
_NOTES = frozenset({".csv", ".txt", ".md", ".json", ".xml", ".db", ".ini"})
# Folders of operating systems, storage and notebooks, in lower case; folders that start with "." are skipped too.
_SYSTEM = frozenset(
    {"__macosx", "__pycache__", "@eadir", "$recycle.bin", "system volume information", "lost+found"}
)
_log = logging.getLogger(__name__)


def load(
    path: str | Path,
    size: int = 32,
    name: str | None = None,
    class_names: tuple[str, ...] = (),
    frames_per_sign: float | None = None,
    max_refused: int = 0,
    class_table: str | Path = "",
    label_order: LabelOrder | None = None,
    decode: Decode = "upright",
) -> ImageDataset:
    """Load the images (PNG, JPEG, PPM, BMP, WebP) in the class folders of `path`.

    Folders are classes in the order of their names. If all names are whole numbers, `label_order` says how they become
    classes (see `safeml.data.classes`); then class names come from `class_names`, else from `class_table`, else from a
    labels.csv (ClassId,SignName) in `path`. For other folder names, `class_names` is the order of the model's outputs.
    Folders of operating systems (__MACOSX, @eaDir, names that start with ".") are skipped.

    Args:
        path: the folder of class folders.
        size: height and width to which each whole image is resized (Pillow, bilinear).
        name: of the data set; the folder's name if not given.
        class_names: K names; a class without a folder has no images.
        frames_per_sign: the declared mean number of frames of one sign.
        max_refused: number of unreadable files that may be skipped; they are logged by name and counted in a note.
        class_table: a CSV file with the columns ClassId and SignName.
        label_order: "ids", "numbers" or "text".
        decode: "upright", or "keras" to ignore EXIF orientation and transparency.

    Raises:
        ConfigError: no such folder, folders and class names differ, or the folders can be read in several ways.
        InputRefused: more than `max_refused` files cannot be read as images, or there are too many.
    """
    root = Path(path)
    if not root.is_dir():
        problem = "is a file" if root.exists() else "does not exist"
        raise ConfigError(f"{root}: {problem}; expected a folder with one folder of images per class.")
    if not 1 <= size <= 4096:
        raise ConfigError(f"{root}: size is {size}; expected 1 to 4096 pixels.")
    known = known_classes(root, class_names, class_table)
    folders = sorted(entry for entry in root.iterdir() if entry.is_dir() and not _is_system(entry))
    if not folders:
        raise ConfigError(
            f"{root}: has no folders; expected one folder of images per class.{_table_hint(root)}"
        )
    if len(folders) > LIMITS.classes:
        raise InputRefused(f"{root}: has {len(folders):,} class folders; the limit is {LIMITS.classes:,}.")
    files_of = _files_of(root, folders)
    names, labels_of = _classes(
        root, {name: len(files) for name, files in files_of.items()}, known, label_order
    )
    paths: list[Path] = []
    names_of: list[str] = []
    labels: list[int] = []
    for folder in sorted(files_of, key=lambda folder: labels_of[folder]):
        paths += files_of[folder].values()
        names_of += files_of[folder]
        labels += [labels_of[folder]] * len(files_of[folder])
    check_room(len(paths), size)
    kept = _readable(root, paths, max_refused) if max_refused else range(len(paths))
    if not kept:
        raise InputRefused(
            f"{root}: its class folders hold no images; expected PNG, JPEG, PPM, BMP or WebP files."
        )
    pixels = _read(root, [paths[index] for index in kept], size, decode)
    skipped = len(paths) - len(kept)
    notes = (
        (f"{skipped:,} of {len(paths):,} files are not readable images and were skipped.",) if skipped else ()
    )
    return ImageDataset(
        name=name or root.resolve().name.encode("utf-8", "replace").decode(),
        images=pixels.images,
        labels=np.array([labels[index] for index in kept], np.int64),
        class_names=names,
        frames_per_sign=frames_per_sign,
        original_size=pixels.original_size,
        ids=np.array(kept, np.int64),
        files=np.array([names_of[index] for index in kept], object),
        notes=(*known.notes, *pixels.notes, *notes),
    )


def _is_system(entry: Path) -> bool:
    return entry.name.startswith(".") or entry.name.lower() in _SYSTEM


def _classes(
    root: Path, images_in: dict[str, int], known: Known, order: LabelOrder | None
) -> tuple[tuple[str, ...], dict[str, int]]:
    """Return the K class names, and the class id of each folder name. images_in: number of files by folder name."""
    folders = list(images_in)
    numeric = [folder for folder in folders if _is_number(folder)]
    listed = set(known.names.values())
    if len(numeric) == len(folders) and not set(folders) <= listed:
        numbers = {folder: int(folder) for folder in folders}
        if len(set(numbers.values())) != len(folders):
            raise ConfigError(f"{root}: two folders have the same class id; expected one folder per class.")
        names, label_of = numbered_classes(set(numbers.values()), known, order, str(root), "folder")
        return names, {folder: label_of[number] for folder, number in numbers.items()}
    if order is not None:
        other = next((folder for folder in folders if folder not in numeric), folders[0])
        raise ConfigError(
            f"{root}: label_order is for folders named by numbers; the folder {other} is not. Remove label_order."
        )
    names = known.ordered or tuple(known.names.values())
    if names:
        unknown = sorted(set(folders) - set(names))
        if unknown:
            raise ConfigError(
                f"{root}: folder {unknown[0]} is not one of the {len(names)} class names in {known.source}; rename or remove "
                "it, or add its name."
            )
        return names, {folder: names.index(folder) for folder in folders}
    _check_words(root, images_in, numeric)
    return tuple(folders), {folder: index for index, folder in enumerate(folders)}


def _check_words(root: Path, images_in: dict[str, int], numeric: list[str]) -> None:
    """Raise ConfigError for a folder that may be no class: it would renumber the classes after it."""
    remedy = "remove it, or list all classes of the model in class_names (or a --class-table)"
    other = next((folder for folder in images_in if folder not in numeric), "")
    if len(numeric) > 1:
        raise ConfigError(
            f"{root}: has {len(numeric)} folders named by numbers and the folder {other}, which may be a class or not; {remedy}."
        )
    empty = next((folder for folder, images in images_in.items() if images == 0), None)
    if empty is not None and any(images_in.values()):
        raise ConfigError(
            f"{root / empty}: holds no images, so it is a class without images or no class; {remedy}."
        )


def _is_number(name: str) -> bool:
    return name.isascii() and name.isdigit() and len(name) <= 9


def _files_of(root: Path, folders: list[Path]) -> dict[str, dict[str, Path]]:
    """Return the files of each folder name in the order of their names, by path in `root`; links resolved and inside it."""
    files_of: dict[str, dict[str, Path]] = {}
    for folder in folders:
        entries = [entry for entry in sorted(folder.iterdir()) if not _is_system(entry)]
        inner = next((entry for entry in entries if entry.is_dir()), None)
        if inner is not None:
            raise InputRefused(
                f"{inner}: is a folder in a class folder; expected only images there. If {folder.name} holds class folders, "
                f"give {folder} as the data."
            )
        images = [entry for entry in entries if entry.suffix.lower() not in _NOTES]
        within = [entry.relative_to(root) for entry in images]
        files_of[folder.name] = {path.as_posix(): resolve_inside(root, str(path)) for path in within}
    return files_of


def _table_hint(root: Path) -> str:
    """Return what to do with a folder of images and a table of their labels."""
    tables = sorted(entry.name for entry in root.iterdir() if entry.suffix.lower() == ".csv")
    if not tables:
        return ""
    return f" The table {tables[0]} is not read: move each image into a folder of its class, or store the images as .npz."


def _read(root: Path, paths: list[Path], size: int, decode: Decode) -> Pixels:
    try:
        return read_pixels(paths, size, decode)
    except InputRefused:
        # The second pass counts all unreadable files for the message.
        _readable(root, paths, 0)
        raise


def _readable(root: Path, paths: list[Path], max_refused: int) -> list[int]:
    """Return the positions of the readable images; at most `max_refused` files may be unreadable."""
    kept: list[int] = []
    refused: list[str] = []
    for index, path in enumerate(paths):
        try:
            read_image(path)
        except InputRefused as error:
            refused.append(str(error))
        else:
            kept.append(index)
    if len(refused) > max_refused:
        raise InputRefused(
            f"{root}: {len(refused)} of {len(paths)} files are not readable images (allowed: {max_refused}); first: {refused[0]}"
        )
    for message in refused:
        _log.warning("skipped: %s", message)
    return kept
