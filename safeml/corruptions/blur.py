"""Blur, as published by Hendrycks and Dietterich, 2019. Legend: N images, H W C pixels, float32 0..1."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from scipy import sparse

from safeml.corruptions.draws import Draws
from safeml.corruptions.filters import correlate, gaussian, smear, spread, zoom_operator


def gaussian_blur(pixels: np.ndarray, sigma: float, draws: Draws) -> np.ndarray:
    """Blur by a Gaussian. sigma: its standard deviation in pixels."""
    return gaussian(pixels, sigma)


def defocus_blur(pixels: np.ndarray, lens: tuple[float, float], draws: Draws) -> np.ndarray:
    """Blur by a disk. lens: radius of the disk, and deviation of the Gaussian that softens its edge, in pixels."""
    return correlate(pixels, disk(*lens))


def disk(radius: float, softness: float) -> np.ndarray:
    """Return the kernel of `defocus_blur`, float64 [k, k], sum 1; the Gaussian has 3 taps, above radius 8 it has 5."""
    taps = 1 if radius <= 8 else 2
    reach = int(np.floor(radius)) + taps
    line = np.arange(-reach, reach + 1)
    kernel = (line[:, None] ** 2 + line**2 <= radius**2).astype(float)
    edge = np.exp(-(np.arange(-taps, taps + 1) ** 2) / (2 * softness**2))
    edge /= edge.sum()
    for axis in (0, 1):
        kernel = np.apply_along_axis(np.convolve, axis, kernel, edge, "same")
    return np.asarray(kernel / kernel.sum())


def motion_blur(pixels: np.ndarray, camera: tuple[float, float], draws: Draws) -> np.ndarray:
    """Blur along a random direction within 45 degrees of the horizontal. camera: radius and deviation in pixels."""
    radius, sigma = camera
    degrees = draws.uniform(1)[:, 0] * 90 - 45
    return smear(pixels, degrees, one_sided(radius, sigma))


def one_sided(radius: float, sigma: float) -> np.ndarray:
    """Return the falling half of a Gaussian, float64 [2 * radius + 1], sum 1."""
    weights = np.exp(-(np.arange(2 * int(radius) + 1) ** 2) / (2 * sigma**2))
    weights /= weights.sum()
    return weights


def zoom_blur(pixels: np.ndarray, zoom: tuple[float, float], draws: Draws) -> np.ndarray:
    """Average the image and its enlargements about the middle. zoom: end (exclusive) and step of the factors from 1."""
    height, width = pixels.shape[1:3]
    return spread(pixels, _zooms(height, width, *zoom))


@lru_cache(maxsize=10)
def _zooms(height: int, width: int, end: float, step: float) -> sparse.csr_array:
    """Return the matrix of `zoom_blur` on the pixels of an image, float32 [H * W, H * W]."""
    factors = np.arange(1, end, step)
    total = sparse.eye_array(height * width, dtype=np.float32, format="csr")
    for factor in factors.tolist():
        lines = (sparse.coo_array(zoom_operator(side, factor)) for side in (height, width))
        total = total + sparse.kron(*lines, format="csr")
    return (total / np.float32(len(factors) + 1)).astype(np.float32)


def glass_blur(pixels: np.ndarray, glass: tuple[float, int, int], draws: Draws) -> np.ndarray:
    """Swap near pixels between two Gaussian blurs. glass: sigma in pixels, largest distance of a swap, rounds.

    Pixels are visited from the last to the first, and each is swapped with one at a random offset of -distance to distance - 1.
    """
    sigma, distance, rounds = glass
    n, height, width, channels = pixels.shape
    blurred = gaussian(pixels, sigma)
    offsets = draws.integers(-distance, distance, rounds, height, width, 2)
    # [H * W, N], flat: the pixel of each image that is at each place, and how far its partner of a turn is in that array.
    source = np.repeat(np.arange(height * width, dtype=np.int32), n)
    ahead = offsets[..., 0].astype(np.int64) * width + offsets[..., 1]
    ahead = np.ascontiguousarray(ahead.reshape(n, rounds, height * width).transpose(1, 2, 0)) * n
    images = np.arange(n)
    for turn in range(rounds):
        for pixel in _fronts(height, width, distance):
            here = pixel[:, None] * n + images
            there = here + ahead[turn, pixel]
            moved = source[here]
            source[here] = source[there]
            source[there] = moved
    flat = blurred.reshape(n * height * width, channels)
    at = source.reshape(height * width, n).T + np.arange(n)[:, None] * (height * width)
    swapped = flat.take(at.ravel(), axis=0).reshape(pixels.shape)
    return gaussian(swapped, sigma)


@lru_cache(maxsize=16)
def _fronts(height: int, width: int, distance: int) -> tuple[np.ndarray, ...]:
    """Group the numbers of the pixels so that a group after the other gives the same swaps as the pixels one by one, from the last to the first.

    Pixels of a group are 2 * distance + 1 columns apart in neighbouring rows, so their swaps touch different pixels.
    """
    ys, xs = np.mgrid[distance + 1 : height - distance, distance + 1 : width - distance]
    ys, xs = ys.ravel(), xs.ravel()
    time = (width - xs) + (2 * distance + 1) * (height - ys)
    order = np.argsort(time, kind="stable")
    cuts = np.flatnonzero(np.diff(time[order])) + 1
    return tuple(np.split((ys * width + xs)[order], cuts))
