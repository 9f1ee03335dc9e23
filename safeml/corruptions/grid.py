"""A grid of small changes: rotation, shift, brightness and blur together. Legend: N images, H W C pixels, P points."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np

from safeml.corruptions.filters import gaussian, positions, sample
from safeml.wording import limit_percent, number


@dataclass(frozen=True)
class Point:
    """One change of the image.

    degrees: anticlockwise. shift: to the right, as a share of the width. light: factor. blur: deviation as a share of the side.
    """

    degrees: float = 0.0
    shift: float = 0.0
    light: float = 1.0
    blur: float = 0.0

    def __str__(self) -> str:
        return (
            f"rotation {number(self.degrees)}°, shift {limit_percent(self.shift)}, light × {number(self.light)}, "
            f"blur {limit_percent(self.blur)}"
        )


def grid(degrees: float, shift: float, brightness: float, blur: float) -> list[Point]:
    """Return the P points of the grid: both ends and the middle of each range, for the blur its two ends, the unchanged image first."""
    axes = (_ends(degrees, 0.0), _ends(shift, 0.0), _ends(brightness, 1.0), (0.0, blur) if blur else (0.0,))
    return [Point(*values) for values in product(*axes)]


def _ends(size: float, middle: float) -> tuple[float, ...]:
    return (middle, middle - size, middle + size) if size else (middle,)


def changed(images: np.ndarray, point: Point) -> np.ndarray:
    """Return the images at one point of the grid. images: uint8 [N, H, W, C]; returns the same shape."""
    pixels = images.astype(np.float32) / np.float32(255)
    n, height, width = images.shape[:3]
    if point.degrees or point.shift:
        ys, xs = positions(height, width)
        xs = xs - np.float32(point.shift * width)
        angle = np.deg2rad(point.degrees)
        down = np.cos(angle) * ys + np.sin(angle) * xs + (height - 1) / 2
        right = np.cos(angle) * xs - np.sin(angle) * ys + (width - 1) / 2
        shape = (n, height, width)
        pixels = sample(pixels, np.broadcast_to(down, shape), np.broadcast_to(right, shape))
    pixels = gaussian(pixels * np.float32(point.light), point.blur * min(height, width))
    return np.asarray(np.rint(np.clip(pixels, 0, 1) * np.float32(255)), np.uint8)
