"""Images from one .npz file, checked before they are read. Legend: N images, H W C pixels, K classes.

    images       uint8 [N, H, W, C], RGB or grey              required
    labels       integer [N], 0..K-1                          required, unless there are targets
    targets      float [N] or [N, T]; what a regression model predicts
    target_names text [T]; without it, the columns have the declared order
    track_id     integer [N]; with the label, one physical sign
    frame_id     integer [N]; the number of the image in its track
    roi          integer [N, 4]; x1, y1, x2, y2 in pixels of the ORIGINAL image, needs width and height
    width,height integer [N]; of the original images, in pixels
    file_index   integer [N]; the number of each image in its source, each once
    class_names  text [K]

Other arrays are not read. An .npz file is a zip archive of arrays, each with a header that declares type and shape;
all headers are read and checked before any array, and nothing is ever unpickled.
"""

from __future__ import annotations

import difflib
import os
import struct
import tokenize
import zipfile
import zlib
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import IO

import numpy as np

from safeml.data.annotations import scale_boxes, track_numbers
from safeml.data.classes import Known, LabelOrder, known_classes, numbered_classes
from safeml.data.dataset import ImageDataset
from safeml.errors import ConfigError, InputRefused
from safeml.limits import LIMITS, Limits

KEYS = (
    "images",
    "labels",
    "track_id",
    "frame_id",
    "roi",
    "width",
    "height",
    "file_index",
    "class_names",
    "targets",
    "target_names",
)
# Arrays whose rows are not images.
NAMES = ("class_names", "target_names")
# The class of images that have targets and no labels.
ONE_CLASS = "image"
MOST_TARGETS = 64
# Errors of zipfile, zlib and numpy's header parser on damaged files.
_DAMAGED = (
    OSError,
    EOFError,
    ValueError,
    TypeError,
    LookupError,
    ArithmeticError,
    RuntimeError,
    SyntaxError,
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    tokenize.TokenError,
)


@dataclass(frozen=True)
class _Header:
    """The declared type and shape of an array."""

    member: zipfile.ZipInfo
    shape: tuple[int, ...]
    dtype: np.dtype


def load(
    path: str | Path,
    name: str | None = None,
    class_names: tuple[str, ...] = (),
    frames_per_sign: float | None = None,
    class_table: str | Path = "",
    label_order: LabelOrder = "ids",
) -> ImageDataset:
    """Load the images in the .npz file at `path`.

    Class names are `class_names`, else those of the CSV file `class_table`, else those in the file, else those of a
    labels.csv (ClassId,SignName) beside it, else "class 0" to the highest label.

    Args:
        label_order: how labels become classes 0..K-1 (see `safeml.data.classes`); by default, each label is the class id.

    Raises:
        ConfigError: there is no such file, or the class names do not fit the labels.
        InputRefused: the file is damaged, too large, or its arrays differ from the table above.
    """
    file = Path(path)
    if not file.is_file():
        problem = "is not a file" if os.path.lexists(file) else "does not exist"
        raise ConfigError(f"{file}: {problem}; expected an .npz file with images and labels.")
    arrays = read_arrays(file)
    images = arrays["images"]
    if "labels" not in arrays:
        arrays["labels"] = np.zeros(len(images), np.int64)
        class_names = class_names or (ONE_CLASS,)
    labels = arrays["labels"]
    if images.dtype != np.uint8:
        raise InputRefused(f"{file}: {_wrong_pixels(images)}")
    if 0 in images.shape[1:]:
        raise InputRefused(f"{file}: images are {list(images.shape)}; expected [N, H, W, C] with pixels.")
    for key in ("labels", "track_id", "frame_id", "roi", "width", "height", "file_index"):
        if key in arrays:
            _check_integers(file, key, arrays[key], (len(images), 4) if key == "roi" else (len(images),))
    if "file_index" in arrays:
        _check_numbers(file, arrays["file_index"])
    original_size = None
    if "width" in arrays and "height" in arrays:
        sides = np.stack([arrays["height"], arrays["width"]], axis=1)
        if int(sides.min()) < 1 or int(sides.max()) > LIMITS.image_pixels:
            raise InputRefused(
                f"{file}: width or height is outside 1-{LIMITS.image_pixels:,}; expected pixels of the original images."
            )
        original_size = sides.astype(np.int32)
    if "roi" in arrays and original_size is None:
        raise InputRefused(
            f"{file}: has roi without width and height; roi is in pixels of the original images, so store all three."
        )
    boxes = None
    if original_size is not None and "roi" in arrays and images.ndim == 4:
        boxes = scale_boxes(arrays["roi"], original_size, images.shape[1], images.shape[2], str(file))
    known = _known(file, arrays, class_names, class_table)
    numbers = set(labels.tolist())
    if not numbers or min(numbers) < 0:
        raise InputRefused(
            f"{file}: has {f'class id {min(numbers)}' if numbers else 'no rows'}; expected class ids of at least 0."
        )
    names, class_of = numbered_classes(numbers, known, label_order, str(file), "label")
    return ImageDataset(
        name=name or file.stem,
        images=images,
        labels=np.array([class_of[label] for label in labels.tolist()], np.int64),
        class_names=names,
        tracks=track_numbers(labels, arrays["track_id"], str(file)) if "track_id" in arrays else None,
        frames_per_sign=frames_per_sign,
        boxes=boxes,
        original_size=original_size,
        ids=arrays["file_index"].astype(np.int64) if "file_index" in arrays else None,
        notes=known.notes,
        frames=arrays["frame_id"].astype(np.int64) if "frame_id" in arrays else None,
        quantities=_quantities(file, arrays),
    )


def _quantities(file: Path, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the columns of the targets by name, float64 [N]; by number where they have no names."""
    if "targets" not in arrays:
        return {}
    values = arrays["targets"]
    if values.dtype.kind != "f":
        raise InputRefused(
            f"{file}: targets are {values.dtype}; expected floats. If they are class ids, store them as labels; if they are "
            "quantities, store them as float32."
        )
    if values.ndim not in (1, 2) or (values.ndim == 2 and not 1 <= values.shape[1] <= MOST_TARGETS):
        raise InputRefused(
            f"{file}: targets are {list(values.shape)}; expected [N], or [N, T] with 1 to {MOST_TARGETS} columns."
        )
    columns = values.reshape(len(values), -1).astype(np.float64).T
    names = [str(number) for number in range(len(columns))]
    if "target_names" in arrays:
        given = arrays["target_names"]
        if (
            given.dtype.kind != "U"
            or given.shape != (len(columns),)
            or len(set(given.tolist())) < len(columns)
        ):
            raise InputRefused(
                f"{file}: target_names is {given.dtype} {list(given.shape)}; expected {len(columns)} different texts, one for "
                "each column of targets."
            )
        names = [str(name) for name in given]
    return dict(zip(names, columns, strict=True))


def read_arrays(path: Path, limits: Limits = LIMITS) -> dict[str, np.ndarray]:
    """Read the arrays of `KEYS` in the .npz file at `path`, after checking all headers."""
    try:
        with zipfile.ZipFile(path) as archive:
            headers = _read_headers(archive, path, limits)
            arrays = {}
            for key, header in headers.items():
                with archive.open(header.member) as stream:
                    arrays[key] = np.lib.format.read_array(stream, allow_pickle=False)
            return arrays
    except _DAMAGED as error:
        raise InputRefused(
            f"{path}: is damaged or not an .npz file; write it again with numpy.savez_compressed."
        ) from error


def _read_headers(archive: zipfile.ZipFile, path: Path, limits: Limits) -> dict[str, _Header]:
    members = archive.infolist()
    if len(members) > limits.array_members:
        raise InputRefused(f"{path}: has {len(members)} entries; the limit is {limits.array_members}.")
    by_name = {member.filename.removesuffix(".npy"): member for member in members}
    if len(by_name) != len(members):
        raise InputRefused(f"{path}: holds an array twice; expected each once.")
    for key in ("images", "labels"):
        if key not in by_name and not (key == "labels" and "targets" in by_name):
            near = difflib.get_close_matches(key, by_name, n=1)
            hint = f'; rename "{near[0]}"?' if near else "; expected the arrays images and labels."
            raise InputRefused(f"{path}: has no array {key}{hint}")
    wanted = {key: by_name[key] for key in KEYS if key in by_name}
    # First the declared size: no byte is inflated for a file that declares too much.
    total = sum(member.file_size for member in wanted.values())
    if total > limits.array_bytes:
        raise InputRefused(
            f"{path}: declares {total:,} bytes of arrays; the limit is {limits.array_bytes:,} bytes."
        )
    headers = {}
    for key, member in wanted.items():
        with archive.open(member) as stream:
            headers[key] = _read_header(stream, member, f"{path}: the array {key}")
    rows = headers["images"].shape[0] if headers["images"].shape else 0
    if rows > limits.images:
        raise InputRefused(f"{path}: has {rows:,} images; the limit is {limits.images:,}.")
    for key, header in headers.items():
        if key not in NAMES and (not header.shape or header.shape[0] != rows):
            found = header.shape[0] if header.shape else "no"
            raise InputRefused(f"{path}: {key} has {found} rows; there are {rows} images.")
    return headers


def _read_header(stream: IO[bytes], member: zipfile.ZipInfo, where: str) -> _Header:
    version = np.lib.format.read_magic(stream)
    if version == (1, 0):
        shape, _, dtype = np.lib.format.read_array_header_1_0(stream)
    elif version == (2, 0):
        shape, _, dtype = np.lib.format.read_array_header_2_0(stream)
    else:
        raise InputRefused(f"{where} has format version {version[0]}.{version[1]}; expected 1.0 or 2.0.")
    if dtype.hasobject or dtype.fields is not None or dtype.kind not in "biufUS":
        raise InputRefused(
            f"{where} holds {dtype.kind!r} objects or records; expected numbers or text, never pickled data."
        )
    # For a shape far beyond the stored bytes, numpy would reserve that memory before it detects the error.
    declared, stored = prod(shape) * dtype.itemsize, member.file_size - stream.tell()
    if min(shape, default=0) < 0 or declared != stored:
        raise InputRefused(
            f"{where} declares {declared:,} bytes but stores {stored:,}; the file is damaged or hostile."
        )
    return _Header(member, shape, dtype)


def _wrong_pixels(images: np.ndarray) -> str:
    if images.dtype.kind == "f" and images.size and np.isfinite(images).all():
        found = f"images are {images.dtype} from {images.min():g} to {images.max():g}"
    else:
        found = f"images are {images.dtype}" + (
            " with values that are not finite" if images.dtype.kind == "f" else ""
        )
    return f"{found}; expected uint8 from 0 to 255, so store the original 8-bit pixels."


def _check_integers(file: Path, key: str, values: np.ndarray, shape: tuple[int, ...]) -> None:
    if values.dtype.kind not in "iu" or values.shape != shape:
        raise InputRefused(
            f"{file}: {key} is {values.dtype} {list(values.shape)}; expected integers {list(shape)}."
        )


def _check_numbers(file: Path, numbers: np.ndarray) -> None:
    """Refuse numbers of images that repeat: tables of images and paired comparisons find an image by its number."""
    values, counts = np.unique(numbers, return_counts=True)
    if len(values) and values[0] < 0:
        raise InputRefused(f"{file}: file_index has {values[0]}; expected numbers of at least 0.")
    if (counts > 1).any():
        twice = values[counts > 1][0]
        raise InputRefused(f"{file}: file_index has {twice} more than once; give each image a unique number.")


def _known(
    file: Path, arrays: dict[str, np.ndarray], class_names: tuple[str, ...], class_table: str | Path
) -> Known:
    """Return the class names of the settings, of the file or of the labels.csv beside it."""
    if "class_names" not in arrays or class_names or class_table:
        return known_classes(file.parent, class_names, class_table)
    names = arrays["class_names"]
    if names.dtype.kind != "U" or names.ndim != 1:
        raise InputRefused(f"{file}: class_names is {names.dtype} {list(names.shape)}; expected text [K].")
    return Known(dict(enumerate(map(str, names))), "class_names")
