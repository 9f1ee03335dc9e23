"""Where the sign is in its image, in whole pixels. Legend: N images, H W C pixels."""

from __future__ import annotations

import numpy as np

from safeml.errors import StageError

CENTRED = 0.8
_SLACK = 1e-3


def pixel_boxes(boxes: np.ndarray | None, count: int, height: int, width: int) -> np.ndarray:
    """The pixels that lie wholly in each sign's box: int64 [N, 4], x1, y1, x2, y2, the last two exclusive.

    boxes: float [N, 4], x1, y1, x2, y2 in pixels, or None: then the middle 80 % of each side is taken.
    A box thinner than one pixel keeps the pixel at its middle. Raises StageError for a box that leaves its image, is
    empty or not finite.
    """
    if boxes is None:
        edge = (1 - CENTRED) / 2
        row = np.array([width, height, width, height]) * np.array([edge, edge, 1 - edge, 1 - edge])
        boxes = np.tile(row, (count, 1))
    sides = np.array([width, height], np.float64)
    low, high = boxes[:, :2].astype(np.float64), boxes[:, 2:].astype(np.float64)
    with np.errstate(invalid="ignore"):
        sound = (low >= -_SLACK).all(axis=1) & (low < high).all(axis=1) & (high <= sides + _SLACK).all(axis=1)
    if not sound.all():
        row_number = int(np.flatnonzero(~sound)[0])
        raise StageError(
            f"the sign's box of image {row_number} is empty or leaves its image of {width} x {height} pixels; "
            "expected x1 < x2 and y1 < y2 inside the image."
        )
    first = np.clip(np.ceil(low - _SLACK), 0, sides - 1)
    last = np.clip(np.floor(high + _SLACK), 1, sides)
    middle = np.clip(np.floor((low + high) / 2), 0, sides - 1)
    thin = first >= last
    whole = np.concatenate([np.where(thin, middle, first), np.where(thin, middle + 1, last)], axis=1)
    return whole.astype(np.int64)


def box_sides(boxes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Height and width of int boxes [N, 4] in pixels: int64 [N] each, >= 1."""
    return boxes[:, 3] - boxes[:, 1], boxes[:, 2] - boxes[:, 0]


def patch_sizes(boxes: np.ndarray, area: float) -> np.ndarray:
    """The rectangle nearest to a square whose pixels are at most `area` of the box: int64 [N, 2], height and width.

    At least one pixel, which is more than its share in a box of less than 1 / area pixels.

    >>> patch_sizes(np.array([[4, 4, 28, 28]]), 0.05).tolist()
    [[5, 5]]
    """
    high, wide = box_sides(boxes)
    budget = np.maximum(1, np.floor(area * high * wide + 1e-9)).astype(np.int64)
    height = np.clip(np.floor(np.sqrt(budget)).astype(np.int64), 1, high)
    width = np.clip(budget // height, 1, wide)
    return np.stack([np.minimum(high, budget // width), width], axis=1)


def inside(boxes: np.ndarray, height: int, width: int) -> np.ndarray:
    """bool [N, H, W]: the pixels of each box (int [N, 4], x1, y1, x2, y2, the last two exclusive)."""
    x, y = np.arange(width), np.arange(height)
    columns = (x >= boxes[:, 0, None]) & (x < boxes[:, 2, None])
    rows = (y >= boxes[:, 1, None]) & (y < boxes[:, 3, None])
    return rows[:, :, None] & columns[:, None, :]


def placed(boxes: np.ndarray, sizes: np.ndarray, down: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Rectangles of `sizes` (int [N, 2]) in their boxes, int64 [N, 4]; down, right: float [N], 0 (top, left) to 1."""
    high, wide = box_sides(boxes)
    top = boxes[:, 1] + np.rint(down * (high - sizes[:, 0])).astype(np.int64)
    left = boxes[:, 0] + np.rint(right * (wide - sizes[:, 1])).astype(np.int64)
    return np.stack([left, top, left + sizes[:, 1], top + sizes[:, 0]], axis=1)


def changed(clean: np.ndarray, attacked: np.ndarray) -> np.ndarray:
    """bool [N, H, W]: the pixels that differ in any channel, by any amount."""
    return np.asarray((clean != attacked).any(axis=3))


def extent(pixels: np.ndarray) -> np.ndarray:
    """Height and width of the smallest rectangle around the true pixels (bool [N, H, W]): int64 [N, 2], 0 where none is."""
    sides = []
    for other in (2, 1):
        line = np.asarray(pixels.any(axis=other))
        first, last = line.argmax(axis=1), line.shape[1] - line[:, ::-1].argmax(axis=1)
        sides.append(np.where(line.any(axis=1), last - first, 0))
    return np.stack(sides, axis=1)
