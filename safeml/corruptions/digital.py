"""Colour, codec and pixel grid, after Hendrycks and Dietterich, 2019. Legend: N images, H W C pixels, float32 0..1."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

from safeml.corruptions.draws import Draws
from safeml.corruptions.filters import (
    brightest,
    gaussian,
    positions,
    resize_operator,
    sample,
    separable,
    tone,
)

WATER = np.array([175, 238, 238], np.float32) / 255
MUD = np.array([63, 42, 20], np.float32) / 255


def brightness(pixels: np.ndarray, amount: float, draws: Draws) -> np.ndarray:
    """Add to the value of HSV. amount: of the range 0..1."""
    value = brightest(pixels)
    brighter = np.minimum(value + np.float32(amount), 1)
    return np.where(value > 0, pixels * (brighter / np.maximum(value, 1e-12)), brighter)


def contrast(pixels: np.ndarray, factor: float, draws: Draws) -> np.ndarray:
    """Move each channel towards its mean over the image. factor: share of the distance that remains."""
    means = pixels.mean(axis=(1, 2), keepdims=True)
    return np.asarray((pixels - means) * np.float32(factor) + means)


def saturate(pixels: np.ndarray, change: tuple[float, float], draws: Draws) -> np.ndarray:
    """Change the saturation of HSV. change: factor and summand. A grey pixel has hue 0 (red)."""
    factor, summand = change
    value = brightest(pixels)
    depth = value - pixels
    most = brightest(depth)
    saturation = most / np.maximum(value, 1e-12)
    target = np.clip(saturation * np.float32(factor) + np.float32(summand), 0, 1)
    red = np.array([0, 1, 1], np.float32)
    share = np.where(most > 0, depth / np.maximum(most, 1e-12), red)
    return np.asarray(value * (1 - share * target))


def jpeg(pixels: np.ndarray, quality: int, draws: Draws) -> np.ndarray:
    """Encode and decode as JPEG with chroma subsampling. quality: Pillow's, 1..95."""
    levels = np.rint(np.clip(pixels, 0, 1) * 255).astype(np.uint8)
    out = np.empty_like(levels)
    for number, image in enumerate(levels):
        buffer = io.BytesIO()
        Image.fromarray(image[:, :, 0] if image.shape[2] == 1 else image).save(
            buffer, "JPEG", quality=quality
        )
        out[number] = np.asarray(JpegImageFile(io.BytesIO(buffer.getvalue()))).reshape(image.shape)
    return np.asarray(out / np.float32(255))


def pixelate(pixels: np.ndarray, factor: float, draws: Draws) -> np.ndarray:
    """Reduce the size by averages and enlarge it again. factor: reduced size as a share of the side."""
    sides = pixels.shape[1:3]
    vertical, horizontal = (
        (
            resize_operator(int(s * factor), s, Image.Resampling.BOX)
            @ resize_operator(s, int(s * factor), Image.Resampling.BOX)
        )
        for s in sides
    )
    return separable(pixels, vertical, horizontal)


def spatter(pixels: np.ndarray, liquid: tuple[float, ...], draws: Draws) -> np.ndarray:
    """Cover parts of the lens with drops of water or with mud.

    liquid: mean and deviation of the noise, its blur in pixels, the level above which there is liquid, then the strength of the
    water or the blur of the mud in pixels, and 0 for water or 1 for mud. Water is brighter in the lower right of a drop.
    """
    mean, deviation, sigma, level, last, kind = liquid
    height, width = pixels.shape[1:3]
    layer = gaussian(np.float32(mean) + np.float32(deviation) * draws.normal(height, width, 1), sigma)
    wet = (layer >= np.float32(level)).astype(np.float32)
    if kind == 0:
        rim = wet - 0.5 * np.roll(gaussian(wet, 1.0), (-1, -1), axis=(1, 2))
        mask = np.float32(last) * np.clip(rim, 0, 1)
        return np.asarray(pixels + mask * tone(WATER, pixels))
    mask = gaussian(wet, last)
    mask = np.where(mask < np.float32(0.8), np.float32(0), mask)
    return np.asarray(pixels * (1 - mask) + mask * tone(MUD, pixels))


def elastic(pixels: np.ndarray, stretch: tuple[float, float, float], draws: Draws) -> np.ndarray:
    """Move three points at random (an affine map) and add smooth random displacements; both in one interpolation.

    stretch: size of the displacements, their blur, and the largest move of a point, as shares of the side.
    """
    height, width = pixels.shape[1:3]
    side = min(height, width)
    size, sigma, move = (share * side for share in stretch)
    corner = side // 3
    points = np.array([[corner, corner], [corner, -corner], [-corner, -corner]], np.float64)
    moves = (draws.uniform(3, 2) * 2 - 1) * move
    ones = np.ones((len(moves), 3, 1))
    target = np.concatenate([points + moves, ones], axis=2)
    matrix = np.linalg.solve(target, np.broadcast_to(points, (len(moves), 3, 2)))
    ys, xs = positions(height, width)
    shifts = (draws.uniform(height, width, 2) * 2 - 1) * np.float32(size)
    shifts = gaussian(shifts, sigma, 3.0)
    down, right = ys + shifts[..., 0], xs + shifts[..., 1]
    m = matrix.astype(np.float32)[:, None, None]
    rows = m[..., 0, 0] * down + m[..., 1, 0] * right + m[..., 2, 0]
    columns = m[..., 0, 1] * down + m[..., 1, 1] * right + m[..., 2, 1]
    return sample(pixels, rows + (height - 1) / 2, columns + (width - 1) / 2)
