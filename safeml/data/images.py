"""Safe decoding of image files. Legend: N images, H W C pixels.

Conversion to 8-bit RGB:

    8-bit RGB                  unchanged (16-bit RGB PNG: its upper 8 bits)
    8-bit grey, 1-bit          the value in all three channels
    16-bit grey                value / 257, rounded, in all three channels
    palette                    looked up
    any transparency           composited over mid-grey (128), so that neither hidden pixels nor a bright or dark ground show
    CMYK, YCbCr, Lab           Pillow's conversion, without the colour profile
    floating point             refused: its range is not declared

An EXIF orientation is applied. Keras (`load_img`, `image_dataset_from_directory`) ignores orientation and transparency, so
either is counted and reported, and decode = "keras" reads such files as Keras does.
"""

from __future__ import annotations

import struct
import warnings
import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from safeml.errors import InputRefused
from safeml.limits import LIMITS, Limits
from safeml.links import resolved

# Decoders by content, not by file name; Pillow's other decoders, about forty, are attack surface.
FORMATS = ("PNG", "JPEG", "PPM", "BMP", "WEBP")
_GROUND = (128, 128, 128, 255)
Decode = Literal["upright", "keras"]
_ORIENTATION = 0x0112  # the EXIF tag; 1 is upright
_TURNED, _TRANSPARENT = "turned", "transparent"
# Errors of Pillow's decoders on damaged files.
_DAMAGED = (
    OSError,
    ValueError,
    SyntaxError,
    EOFError,
    LookupError,
    TypeError,
    ArithmeticError,
    struct.error,
    zlib.error,
)


@dataclass(frozen=True)
class Pixels:
    """Decoded image files.

    images: uint8 [N, size, size, 3], RGB, 0..255.
    original_size: int32 [N, 2]; height and width before resizing.
    notes: one sentence per way in which files are read differently from Keras, with the number of images.
    """

    images: np.ndarray
    original_size: np.ndarray
    notes: tuple[str, ...]


def resolve_inside(root: Path, name: str) -> Path:
    """Resolve the file `name` of a label list, which must be inside the folder `root`, links resolved."""
    base = root.resolve()
    try:
        target = resolved(base / name)
    except (OSError, ValueError) as error:
        raise InputRefused(
            f"{root}: the file name {name[:80]!r} cannot be resolved; expected a path inside the folder."
        ) from error
    if not target.is_relative_to(base):
        raise InputRefused(
            f"{root}: the file name {name[:80]!r} is outside the data folder; expected a path inside it."
        )
    return target


def read_image(
    path: Path,
    limits: Limits = LIMITS,
    decode: Decode = "upright",
    seen: Counter[str] | None = None,
) -> Image.Image:
    """Read the image file at `path` as 8-bit RGB.

    Args:
        decode: "upright" applies the EXIF orientation and composites transparency over mid-grey; "keras" ignores both.
        seen: counts the images that have an orientation or transparent pixels.

    Raises:
        InputRefused: not a regular file, too large (file or pixels), not PNG, JPEG, PPM, BMP or WebP by content,
            more than one frame, floating point, truncated or damaged.
    """
    try:
        if not path.is_file():
            raise InputRefused(f"{path}: there is no such file; expected an image.")
        if path.stat().st_size > limits.image_file_bytes:
            raise InputRefused(
                f"{path}: is larger than {limits.image_file_bytes:,} bytes, the limit for an image."
            )
        with warnings.catch_warnings():
            # Between one and two times its bound, Pillow only warns, which the caller would not see.
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path, formats=FORMATS) as image:
                if image.width * image.height > limits.image_pixels:
                    raise InputRefused(
                        f"{path}: declares {image.width} x {image.height} pixels; the limit is {limits.image_pixels:,} pixels."
                    )
                if getattr(image, "n_frames", 1) != 1:
                    raise InputRefused(f"{path}: has more than one frame; expected a still image.")
                counts = Counter() if seen is None else seen
                counts[_TURNED] += image.getexif().get(_ORIENTATION, 1) in range(2, 9)
                turned = ImageOps.exif_transpose(image) if decode == "upright" else image
                return _to_rgb(turned, path, decode, counts)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise InputRefused(
            f"{path}: declares too many pixels; the limit is {limits.image_pixels:,} pixels."
        ) from error
    except UnidentifiedImageError as error:
        raise InputRefused(
            f"{path}: is not an image by its content; expected {', '.join(FORMATS)}."
        ) from error
    except _DAMAGED as error:
        raise InputRefused(
            f"{path}: cannot be decoded (damaged or truncated); replace or remove the file."
        ) from error


def read_pixels(paths: Sequence[Path], size: int, decode: Decode = "upright") -> Pixels:
    """Read all images at `paths`, each resized as a whole to size x size (Pillow, bilinear).

    Raises:
        InputRefused: there are more images than the limits allow, or one of them is refused by `read_image`.
    """
    check_room(len(paths), size)
    pixels = np.empty((len(paths), size, size, 3), np.uint8)
    original_size = np.empty((len(paths), 2), np.int32)
    seen: Counter[str] = Counter()
    for index, path in enumerate(paths):
        image = read_image(path, decode=decode, seen=seen)
        original_size[index] = image.height, image.width
        pixels[index] = np.asarray(image.resize((size, size), Image.Resampling.BILINEAR))
    return Pixels(pixels, original_size, _notes(seen, len(paths), decode))


def _notes(seen: Counter[str], images: int, decode: Decode) -> tuple[str, ...]:
    """Return one sentence for orientation and one for transparency, where any image has it."""
    upright = decode == "upright"
    words = {
        _TURNED: ("have an EXIF orientation", "were turned upright", "leaves them as they are stored"),
        _TRANSPARENT: ("have transparent pixels", "were composited over mid-grey", "drops the transparency"),
    }
    return tuple(
        f"{seen[kind]:,} of {images:,} images {have} and {done}; Keras {otherwise}. If the model was trained on files read by "
        'Keras, set decode = "keras".'
        if upright
        else f'{seen[kind]:,} of {images:,} images {have}, which decode = "keras" ignores, as Keras does.'
        for kind, (have, done, otherwise) in words.items()
        if seen[kind]
    )


def check_room(images: int, size: int, limits: Limits = LIMITS) -> None:
    """Refuse a set of `images` images of size x size RGB pixels that exceeds the limits."""
    if images > limits.images or images * size * size * 3 > limits.array_bytes:
        raise InputRefused(
            f"{images:,} images of {size} x {size} pixels are too many; the limits are {limits.images:,} images and "
            f"{limits.array_bytes:,} bytes of pixels."
        )


def _to_rgb(image: Image.Image, path: Path, decode: Decode, seen: Counter[str]) -> Image.Image:
    """Convert to 8-bit RGB by the rules at the top of this file."""
    if image.mode == "F":
        raise InputRefused(f"{path}: has floating-point pixels of undeclared range; expected 8 or 16 bits.")
    if image.mode == "I" or image.mode.startswith("I;16"):
        values = np.asarray(image).astype(np.int64)
        if values.min() < 0 or values.max() > 65535:
            raise InputRefused(f"{path}: has pixels outside 0..65535; expected 8 or 16 bits.")
        return Image.fromarray(((values + 128) // 257).astype(np.uint8)).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        layered = image.convert("RGBA")
        seen[_TRANSPARENT] += layered.getextrema()[3][0] < 255
        if decode == "upright":
            return Image.alpha_composite(Image.new("RGBA", layered.size, _GROUND), layered).convert("RGB")
        return (layered if image.mode in ("La", "RGBa") else image).convert("RGB")
    return image.convert("RGB")
