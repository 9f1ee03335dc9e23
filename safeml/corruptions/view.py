"""Position of the camera: rotation, perspective, distance. Legend: N images, H W C pixels, float32 0..1."""

from __future__ import annotations

import numpy as np
from PIL import Image

from safeml.corruptions.draws import Draws
from safeml.corruptions.filters import positions, resize_operator, sample, separable

CAMERA_DISTANCE = 3.0  # in half sides of the sign


def rotation(pixels: np.ndarray, degrees: float, draws: Draws) -> np.ndarray:
    """Rotate about the middle, clockwise or anticlockwise at random. degrees: > 0."""
    angle = np.deg2rad(degrees) * np.where(draws.uniform(1) < 0.5, -1, 1)[:, :, None]
    ys, xs = positions(*pixels.shape[1:3])
    cos, sin = np.cos(angle), np.sin(angle)
    return _read(pixels, cos * ys - sin * xs, sin * ys + cos * xs)


def perspective(pixels: np.ndarray, degrees: float, draws: Draws) -> np.ndarray:
    """Turn the plane of the sign about its vertical axis, left or right at random, seen from CAMERA_DISTANCE. degrees: 0..60."""
    angle = np.deg2rad(degrees) * np.where(draws.uniform(1) < 0.5, -1, 1)[:, :, None]
    height, width = pixels.shape[1:3]
    ys, xs = positions(height, width)
    down, right = ys / (height / 2), xs / (width / 2)
    across = right * CAMERA_DISTANCE / (CAMERA_DISTANCE * np.cos(angle) - right * np.sin(angle))
    along = down * (CAMERA_DISTANCE + across * np.sin(angle)) / CAMERA_DISTANCE
    return _read(pixels, along * (height / 2), across * (width / 2))


def distance(pixels: np.ndarray, size: float, draws: Draws) -> np.ndarray:
    """Show a sign that is far away, enlarged to the size of the image. size: of the recorded sign, as a share of the side."""
    operators = []
    for side in pixels.shape[1:3]:
        small = max(2, round(size * side))
        reduce = resize_operator(side, small, Image.Resampling.BOX)
        operators.append(resize_operator(small, side, Image.Resampling.BILINEAR) @ reduce)
    return separable(pixels, *operators)


def _read(pixels: np.ndarray, ys: np.ndarray, xs: np.ndarray) -> np.ndarray:
    n, height, width = pixels.shape[:3]
    ys = np.broadcast_to(ys + (height - 1) / 2, (n, height, width))
    return sample(pixels, ys, np.broadcast_to(xs + (width - 1) / 2, (n, height, width)))
