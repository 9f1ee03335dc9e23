"""Images from a folder with one folder per class. Legend: N images, K classes."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np

from safeml.data.annotations import read_class_names
from safeml.data.dataset import ImageDataset
from safeml.data.images import check_room, read_image, read_pixels, resolve_inside
from safeml.errors import ConfigError, InputRefused
from safeml.limits import LIMITS

LABEL_FILE = "labels.csv"
# Common files beside images; any other file is read as an image.
_NOTES = frozenset({".csv", ".txt", ".md", ".json", ".xml", ".db", ".ini"})
_log = logging.getLogger(__name__)


def load(
    path: str | Path,
    size: int = 32,
    name: str | None = None,
    class_names: tuple[str, ...] | None = None,
    frames_per_sign: float | None = None,
    max_refused: int = 0,
) -> ImageDataset:
    """Load the images (PNG, JPEG, PPM, BMP, WebP) in the class folders of `path`.

    Folders are classes in the order of their names. If all names are whole numbers, they are the class ids; then class
    names come from `class_names`, else from a labels.csv (ClassId,SignName) in `path`, else they are "class 0",
    "class 1" and so on. For other folder names, `class_names` is the order of the model's outputs.

    Args:
        path: the folder of class folders.
        size: height and width to which each whole image is resized (Pillow, bilinear).
        name: of the data set; the folder's name if not given.
        class_names: K names; a class without a folder has no images.
        frames_per_sign: the declared mean number of frames of one sign.
        max_refused: number of unreadable files that may be skipped; they are logged by name.

    Raises:
        ConfigError: no such folder, or folders and class names differ.
        InputRefused: more than `max_refused` files cannot be read as images, or there are too many.
    """
    root = Path(path)
    if not root.is_dir():
        problem = "is a file" if root.exists() else "does not exist"
        raise ConfigError(f"{root}: {problem}; expected a folder with one folder of images per class.")
    if not 1 <= size <= 4096:
        raise ConfigError(f"{root}: size is {size}; expected 1 to 4096 pixels.")
    if class_names is None and (root / LABEL_FILE).is_file():
        class_names = read_class_names(root / LABEL_FILE)
    folders = [entry for entry in root.iterdir() if entry.is_dir() and not entry.name.startswith(".")]
    names, labels_of = _classes(root, [folder.name for folder in folders], class_names)
    paths: list[Path] = []
    labels: list[int] = []
    for folder in sorted(folders, key=lambda folder: labels_of[folder.name]):
        files = _files(root, folder)
        paths += files
        labels += [labels_of[folder.name]] * len(files)
    check_room(len(paths), size)
    kept = _readable(root, paths, max_refused) if max_refused else range(len(paths))
    if not kept:
        raise InputRefused(
            f"{root}: its class folders hold no images; expected PNG, JPEG, PPM, BMP or WebP files."
        )
    images, original_size = _read(root, [paths[index] for index in kept], size)
    return ImageDataset(
        name=name or root.resolve().name,
        images=images,
        labels=np.array([labels[index] for index in kept], np.int64),
        class_names=names,
        frames_per_sign=frames_per_sign,
        original_size=original_size,
        ids=np.array(kept, np.int64),
    )


def _classes(
    root: Path, folders: list[str], class_names: tuple[str, ...] | None
) -> tuple[tuple[str, ...], dict[str, int]]:
    """Return the K class names, and the class id of each folder name."""
    if not folders:
        raise ConfigError(f"{root}: has no folders; expected one folder of images per class.")
    if len(folders) > LIMITS.classes:
        raise InputRefused(f"{root}: has {len(folders):,} class folders; the limit is {LIMITS.classes:,}.")
    if all(folder.isascii() and folder.isdigit() and len(folder) <= 9 for folder in folders):
        labels_of = {folder: int(folder) for folder in folders}
        count = len(class_names) if class_names is not None else len(folders)
        if len(set(labels_of.values())) != len(folders):
            raise ConfigError(f"{root}: two folders have the same class id; expected one folder per class.")
        if max(labels_of.values()) >= count:
            raise ConfigError(
                f"{root}: folder {max(folders, key=int)} is out of range for {count} classes; name the "
                f"folders 0-{count - 1}, or set "
                f"class_names (or a {LABEL_FILE}) if some classes have no images."
            )
        return class_names or tuple(f"class {label}" for label in range(count)), labels_of
    names = class_names or tuple(sorted(folders))
    unknown = sorted(set(folders) - set(names))
    if unknown:
        raise ConfigError(
            f"{root}: folder {unknown[0]} is not one of the {len(names)} class names; rename or remove it."
        )
    return names, {folder: names.index(folder) for folder in folders}


def _files(root: Path, folder: Path) -> list[Path]:
    """Return the files of a class in the order of their names, links resolved and inside `root`."""
    files = []
    for entry in sorted(folder.iterdir()):
        if entry.name.startswith(".") or entry.suffix.lower() in _NOTES:
            continue
        if entry.is_dir():
            raise InputRefused(f"{entry}: is a folder in a class folder; expected only images there.")
        files.append(resolve_inside(root, str(entry.relative_to(root))))
    return files


def _read(root: Path, paths: list[Path], size: int) -> tuple[np.ndarray, np.ndarray]:
    try:
        return read_pixels(paths, size)
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
