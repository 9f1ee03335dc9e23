"""Images and labels of a caller, checked: a misfit is one sentence with a remedy. Legend: N images, H W C pixels, K classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from safeml.data.dataset import ImageDataset
from safeml.errors import ConfigError, InputRefused

# Of one step of 8 bits: float32 holds k/255 to 1e-5 of a step.
ROUNDING = 1e-3


def dataset(
    images: Any,
    labels: Any,
    class_names: Sequence[str] = (),
    *,
    tracks: Any = None,
    frames_per_sign: float | None = None,
    name: str = "arrays",
) -> ImageDataset:
    """Make a data set of arrays.

    Args:
        images: [N, H, W, 1 or 3], RGB or grey: integers 0..255, or floats 0..1 that are multiples of 1/255.
        labels: int [N], 0..K-1.
        class_names: K different names; default: "class 0" to the largest label.
        tracks: int [N]; equal numbers are frames of one physical sign.
        frames_per_sign: declared frames of one sign, where tracks are unknown; 1 declares independent images.
        name: of the data in the report.

    Raises:
        InputRefused: images or labels of another shape, type or range, or with NaN.
        ConfigError: class names that repeat, or an impossible frames_per_sign.
    """
    pixels = eight_bits(images)
    classes = checked_labels(labels, len(pixels), len(class_names) or None)
    names = tuple(map(str, class_names)) or numbered_names(int(classes.max()) + 1)
    return ImageDataset(
        name,
        pixels,
        classes,
        names,
        tracks=None if tracks is None else whole_numbers(tracks, "tracks", len(pixels)),
        frames_per_sign=frames_per_sign,
    )


def numbered_names(classes: int) -> tuple[str, ...]:
    """Return names for K classes that have none."""
    return tuple(f"class {k}" for k in range(classes))


def eight_bits(images: Any) -> np.ndarray:
    """Return the images as uint8 [N, H, W, C], without changing a pixel. Raises InputRefused if that is impossible."""
    array = _image_shape(images)
    if array.dtype == np.uint8:
        return array
    if np.issubdtype(array.dtype, np.integer):
        low, high = int(array.min()), int(array.max())
        if low < 0 or high > 255:
            raise InputRefused(f"images are {array.dtype} from {low} to {high}; expected 0 to 255.")
        return array.astype(np.uint8)
    steps = unit_range(array).astype(np.float64) * 255
    whole = np.rint(steps)
    off = np.abs(steps - whole).max(axis=(1, 2, 3)) > ROUNDING
    if off.any():
        raise InputRefused(
            f"images are {array.dtype}, and image {int(np.flatnonzero(off)[0])} has values that are no multiple of 1/255; an audit "
            "works on the 8-bit pixels of a camera, so pass np.rint(images * 255).astype('uint8')."
        )
    return whole.astype(np.uint8)


def unit_pixels(images: Any) -> np.ndarray:
    """Return the images as float32 [N, H, W, C], 0..1: integers are divided by 255. Raises InputRefused for other ranges."""
    array = _image_shape(images)
    if np.issubdtype(array.dtype, np.integer):
        return eight_bits(array).astype(np.float32) / np.float32(255)
    return unit_range(array).astype(np.float32)


def unit_range(array: np.ndarray) -> np.ndarray:
    """Return float images. Raises InputRefused for other types, NaN, and values outside 0..1."""
    if not np.issubdtype(array.dtype, np.floating):
        raise InputRefused(f"images are {array.dtype}; expected uint8 0..255, or float32 0..1.")
    finite = np.isfinite(array).all(axis=(1, 2, 3))
    if not finite.all():
        raise InputRefused(
            f"image {int(np.flatnonzero(~finite)[0])} of {len(array)} has NaN or infinite pixels; expected numbers from 0 to 1."
        )
    low, high = float(array.min()), float(array.max())
    if low < 0 or high > 1:
        raise InputRefused(
            f"images are {array.dtype} from {low:g} to {high:g}; expected 0 to 1. Pass the pixels as uint8 0..255, and say in "
            "`input` which values the model takes, such as input={'range': [0, 255]}."
        )
    return array


def checked_labels(labels: Any, count: int, classes: int | None = None) -> np.ndarray:
    """Return labels as int64 [N]. Raises InputRefused for another type, another number, or ids outside 0..K-1.

    classes: K, where it is known.
    """
    array = np.asarray(labels)
    if array.ndim == 2 and array.shape[1] > 1:
        raise InputRefused(
            f"labels are {array.dtype} {list(array.shape)}, as if one-hot; expected one class id per image, such as "
            "labels.argmax(axis=1)."
        )
    whole = whole_numbers(array, "labels", count)
    if count == 0:
        raise InputRefused("there are no images; expected at least one.")
    most = int(whole.max()) if classes is None else classes - 1
    wrong = (whole < 0) | (whole > most)
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        known = "ids start at 0" if classes is None else f"with {classes} classes, ids are 0-{most}"
        raise InputRefused(f"labels: image {row} has class id {int(whole[row])}; {known}.")
    return whole


def whole_numbers(values: Any, name: str, count: int) -> np.ndarray:
    """Return int64 [N]. Raises InputRefused for another type or shape; name: of the values, for the message."""
    array = np.asarray(values)
    if array.ndim == 2 and array.shape[1] == 1:
        raise InputRefused(f"{name} have the shape {list(array.shape)}; expected [N], such as {name}[:, 0].")
    if not np.issubdtype(array.dtype, np.integer):
        kind = "text" if array.dtype.kind in "US" else str(array.dtype)
        raise InputRefused(f"{name} are {kind}; expected whole numbers, such as {name}.astype('int64').")
    if array.shape != (count,):
        raise InputRefused(
            f"{name} have the shape {list(array.shape)}; expected one for each of the {count} images."
        )
    return array.astype(np.int64)


def _image_shape(images: Any) -> np.ndarray:
    """Return [N, H, W, 1 or 3]. Raises InputRefused for another shape."""
    try:
        array = np.asarray(images)
    except (ValueError, TypeError) as error:
        raise InputRefused(
            "images are not one array, perhaps of different sizes; expected [N, H, W, 1 or 3]."
        ) from error
    shape = list(array.shape)
    if array.ndim == 3 and shape[2] in (1, 3):
        raise InputRefused(
            f"images have the shape {shape}, which is one image; expected [N, H, W, C]: images[None]."
        )
    if array.ndim == 3:
        raise InputRefused(
            f"images have the shape {shape}; expected [N, H, W, 1 or 3]; of grey images: images[..., None]."
        )
    if array.ndim == 4 and shape[3] not in (1, 3) and shape[1] in (1, 3):
        raise InputRefused(
            f"images have the shape {shape}, with the channels first; expected [N, H, W, C]: np.transpose(images, (0, 2, 3, 1))."
        )
    if array.ndim != 4 or shape[3] not in (1, 3):
        raise InputRefused(f"images have the shape {shape}; expected [N, H, W, 1 or 3].")
    if len(array) == 0:
        raise InputRefused("there are no images; expected at least one.")
    return array


def declared(data: ImageDataset, frames_per_sign: float | None) -> ImageDataset:
    """Return the data with the declared frames of one sign. Raises ConfigError where the data declare another number."""
    if frames_per_sign is None or data.frames_per_sign == frames_per_sign:
        return data
    if data.frames_per_sign is not None:
        raise ConfigError(
            f"frames_per_sign is {frames_per_sign:g}, and the data set {data.name} declares {data.frames_per_sign:g}; remove one."
        )
    return replace(data, frames_per_sign=frames_per_sign)
