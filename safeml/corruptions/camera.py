"""Camera and image signal processor (ISP). Legend: N images, H W C pixels, float32 0..1."""

from __future__ import annotations

import numpy as np

from safeml.corruptions.draws import Draws
from safeml.corruptions.filters import box_operator, gaussian, sample, separable
from safeml.corruptions.weather import luminance


def driving_blur(pixels: np.ndarray, length: float, draws: Draws) -> np.ndarray:
    """Blur along the rows: a sign beside the road moves sideways during the exposure. length: of the path, as a share of the width."""
    width = pixels.shape[2]
    return separable(pixels, None, box_operator(width, max(1.0, length * width)))


def rolling_shutter(pixels: np.ndarray, skew: float, draws: Draws) -> np.ndarray:
    """Shift each row in proportion to its height: a moving sensor reads row after row. skew: from top to bottom, as a share of the width."""
    n, height, width = pixels.shape[:3]
    side = np.where(draws.uniform(1) < 0.5, -1, 1)[:, :, None]
    rows = np.arange(height, dtype=np.float32)[None, :, None]
    columns = np.arange(width, dtype=np.float32)[None, None, :]
    shift = side * np.float32(skew * width) * (rows / (height - 1) - 0.5)
    return sample(pixels, np.broadcast_to(rows, (n, height, width)), columns + shift)


def white_balance(pixels: np.ndarray, gain: float, draws: Draws) -> np.ndarray:
    """Multiply red by 1 + gain and blue by 1 - gain, or the reverse, at random."""
    side = np.where(draws.uniform(1) < 0.5, -1, 1)[:, :, None, None].astype(np.float32)
    return pixels * (1 + side * np.array([gain, 0, -gain], np.float32))


def isp(pixels: np.ndarray, processing: tuple[float, float], draws: Draws) -> np.ndarray:
    """Sharpen the luminance and blur the colour, as an ISP of low quality.

    processing: amount of the sharpening (unsharp mask of 1 pixel), and deviation of the blur of the colour in pixels.
    """
    amount, sigma = processing
    grey = luminance(pixels)
    sharp = grey + np.float32(amount) * (grey - gaussian(grey, 1.0))
    return np.asarray(sharp if pixels.shape[3] == 1 else sharp + gaussian(pixels - grey, sigma))
