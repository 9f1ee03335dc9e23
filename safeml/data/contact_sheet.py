"""Contact sheets of small images. Legend: N images, H W C pixels."""

from __future__ import annotations

import numpy as np
from PIL import Image

from safeml.errors import ConfigError, InputRefused

GAP = 1
PAPER = (255, 255, 255)


def contact_sheet(images: np.ndarray, columns: int = 10, scale: int = 2) -> Image.Image:
    """Draw images in rows, left to right and top to bottom, on a white sheet.

    images: uint8 [N, H, W, 1 or 3], 0..255, grey or RGB, N >= 1.
    columns: images in a row, >= 1. scale: sheet pixels per image pixel, whole, >= 1; pixels stay sharp squares.
    Returns an RGB image with a white border of one pixel (times `scale`) around every image.
    Raises InputRefused for other arrays and ConfigError for a layout that cannot be drawn.
    """
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] not in (1, 3) or len(images) == 0:
        raise InputRefused(
            f"contact sheet: images are {images.dtype} {list(images.shape)}; expected uint8 [N, H, W, 1 or 3] with N >= 1."
        )
    if columns < 1 or scale < 1:
        raise ConfigError(
            f"contact sheet: columns is {columns} and scale is {scale}; give whole numbers of at least 1."
        )
    count, height, width, _ = images.shape
    rows = -(-count // columns)
    sheet = np.empty((rows * (height + GAP) + GAP, columns * (width + GAP) + GAP, 3), dtype=np.uint8)
    sheet[:] = PAPER
    for index, image in enumerate(images):
        top = GAP + (index // columns) * (height + GAP)
        left = GAP + (index % columns) * (width + GAP)
        sheet[top : top + height, left : left + width] = image
    picture = Image.fromarray(sheet)
    return picture.resize((picture.width * scale, picture.height * scale), Image.Resampling.NEAREST)
