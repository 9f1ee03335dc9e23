"""Linear filters and resampling of a batch. Legend: N images, H W C pixels.

Each image is computed by the same operations in every batch, so a batch changes no bit.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from PIL import Image
from scipy import ndimage, sparse

# Kernels of more taps are applied by FFT.
MOST_TAPS = 64


@lru_cache(maxsize=64)
def gaussian_operator(side: int, sigma: float, truncate: float = 4.0) -> np.ndarray:
    """Return the matrix of a 1-D Gaussian blur with repeated borders, float32 [side, side]."""
    rows = ndimage.gaussian_filter1d(np.eye(side), sigma, axis=0, mode="nearest", truncate=truncate)
    return np.asarray(rows.astype(np.float32))


@lru_cache(maxsize=64)
def resize_operator(side: int, target: int, kind: Image.Resampling) -> np.ndarray:
    """Return the matrix of Pillow's 1-D resampling, float32 [target, side]."""
    identity = Image.fromarray(np.eye(side, dtype=np.float32))
    return np.asarray(identity.resize((side, target), kind), np.float32)


@lru_cache(maxsize=256)
def zoom_operator(side: int, factor: float) -> np.ndarray:
    """Return the matrix that enlarges the middle of a line `factor` times by linear interpolation, float32 [side, side]."""
    part = int(np.ceil(side / factor))
    start = (side - part) // 2
    zoomed = ndimage.zoom(np.eye(side)[start : start + part], (factor, 1), order=1)
    trim = (len(zoomed) - side) // 2
    return np.asarray(zoomed[trim : trim + side].astype(np.float32))


@lru_cache(maxsize=64)
def box_operator(side: int, length: float) -> np.ndarray:
    """Return the matrix of a centred box of `length` pixels (>= 1, with parts of pixels at its ends) with repeated borders."""
    reach = int(np.ceil((length - 1) / 2))
    kernel = np.clip((length + 1) / 2 - np.abs(np.arange(-reach, reach + 1)), 0, 1)
    rows = ndimage.correlate1d(np.eye(side), kernel / kernel.sum(), axis=0, mode="nearest")
    return np.asarray(rows.astype(np.float32))


def separable(pixels: np.ndarray, vertical: np.ndarray | None, horizontal: np.ndarray | None) -> np.ndarray:
    """Apply a matrix along the height and one along the width.

    pixels: float32 [N, H, W, C].
    vertical: float32 [H', H]; None leaves the height.
    horizontal: float32 [W', W]; None leaves the width.
    Returns float32 [N, H', W', C].
    """
    if vertical is not None:
        pixels = _along_height(pixels, vertical)
    if horizontal is not None:
        pixels = _along_height(pixels.swapaxes(1, 2), horizontal).swapaxes(1, 2)
    return pixels


def _along_height(pixels: np.ndarray, operator: np.ndarray) -> np.ndarray:
    n, height, width, channels = pixels.shape
    flat = np.ascontiguousarray(pixels).reshape(n, height, width * channels)
    return np.asarray(np.matmul(operator, flat).reshape(n, len(operator), width, channels))


def spread(pixels: np.ndarray, operator: sparse.csr_array) -> np.ndarray:
    """Apply a sparse matrix to the pixels of each image and channel. pixels: float32 [N, H, W, C]; operator: [H * W, H * W]."""
    n, height, width, channels = pixels.shape
    flat = pixels.transpose(1, 2, 0, 3).reshape(height * width, n * channels)
    return np.asarray((operator @ flat).reshape(height, width, n, channels).transpose(2, 0, 1, 3))


def gaussian(pixels: np.ndarray, sigma: float, truncate: float = 4.0) -> np.ndarray:
    """Blur height and width by a Gaussian of `sigma` pixels with repeated borders. pixels: float32 [N, H, W, C]."""
    if sigma <= 0:
        return pixels
    height, width = pixels.shape[1:3]
    return separable(
        pixels, gaussian_operator(height, sigma, truncate), gaussian_operator(width, sigma, truncate)
    )


def correlate(pixels: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Apply a square kernel of odd side with mirrored borders. pixels: float32 [N, H, W, C]; kernel: float [k, k]."""
    reach = len(kernel) // 2
    padded = np.pad(pixels, ((0, 0), (reach, reach), (reach, reach), (0, 0)), mode="reflect")
    taps = np.argwhere(kernel != 0)
    if len(taps) > MOST_TAPS:
        from scipy.signal import fftconvolve  # takes half a second to import

        flipped = kernel[::-1, ::-1].astype(np.float32)
        return np.stack([fftconvolve(image, flipped[:, :, None], "valid", axes=(0, 1)) for image in padded])
    height, width = pixels.shape[1:3]
    out = np.zeros_like(pixels)
    for row, column in taps:
        out += np.float32(kernel[row, column]) * padded[:, row : row + height, column : column + width]
    return out


def smear(pixels: np.ndarray, degrees: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Blur each image along its own direction: pixel p becomes the sum over i of weights[i] * pixel(p + i * direction).

    pixels: float32 [N, H, W, C].
    degrees: float [N], rounded to one degree; 0 is to the right, 90 is down.
    weights: float [k], sum 1; positions are rounded to whole pixels, borders are repeated.
    """
    weights = weights[weights > 1e-4 * weights.max()]
    weights = weights / weights.sum()
    reach = len(weights) - 1
    height, width = pixels.shape[1:3]
    whole = np.rint(degrees).astype(int)
    # In the order of the angles, so that the images of one angle are a slice of one padded array.
    order = np.argsort(whole, kind="stable")
    angles, starts = np.unique(whole[order], return_index=True)
    padded = np.pad(pixels[order], ((0, 0), (reach, reach), (reach, reach), (0, 0)), mode="edge")
    total = np.zeros(pixels.shape, np.float32)
    term = np.empty_like(total)
    steps = np.arange(len(weights))
    for angle, start, end in zip(angles, starts, [*starts[1:], len(order)], strict=True):
        down = np.rint(steps * np.sin(np.deg2rad(angle))).astype(int) + reach
        right = np.rint(steps * np.cos(np.deg2rad(angle))).astype(int) + reach
        part, parts, into = padded[start:end], term[start:end], total[start:end]
        for weight, y, x in zip(weights.astype(np.float32), down, right, strict=True):
            np.multiply(part[:, y : y + height, x : x + width], weight, out=parts)
            into += parts
    out = np.empty_like(total)
    out[order] = total
    return out


def sample(pixels: np.ndarray, ys: np.ndarray, xs: np.ndarray) -> np.ndarray:
    """Read each image at fractional positions by bilinear interpolation, with repeated borders.

    pixels: float32 [N, H, W, C].
    ys, xs: float [N, H', W'], in pixels; 0 is the middle of the first pixel.
    Returns float32 [N, H', W', C].
    """
    n, height, width, channels = pixels.shape
    ys = np.clip(ys, 0, height - 1).astype(np.float32)
    xs = np.clip(xs, 0, width - 1).astype(np.float32)
    top = np.minimum(ys.astype(np.int64), height - 2)
    left = np.minimum(xs.astype(np.int64), width - 2)
    down, right = ys - top, xs - left
    first = np.arange(n)[:, None, None] * (height * width) + top * width + left
    planes = np.ascontiguousarray(np.moveaxis(pixels, 3, 0)).reshape(channels, n * height * width)
    out = np.zeros((channels, *first.shape), np.float32)
    value = np.empty(first.shape, np.float32)
    term = np.empty(first.shape, np.result_type(down, np.float32))
    for step, weight in (
        (0, (1 - down) * (1 - right)),
        (1, (1 - down) * right),
        (width, down * (1 - right)),
        (width + 1, down * right),
    ):
        places = first + step
        for plane, total in zip(planes, out, strict=True):
            plane.take(places, mode="clip", out=value)
            np.multiply(value, weight, out=term)
            total += term
    return np.moveaxis(out, 0, 3)


def brightest(pixels: np.ndarray) -> np.ndarray:
    """Return the largest channel of each pixel, float32 [N, H, W, 1]."""
    most = pixels[..., :1]
    for channel in range(1, pixels.shape[3]):
        most = np.maximum(most, pixels[..., channel : channel + 1])
    return most


def tone(colour: np.ndarray, pixels: np.ndarray) -> np.ndarray:
    """Return the colour for images of three channels, its mean for grey ones. colour: float32 [3]; pixels: [N, H, W, C]."""
    return colour if pixels.shape[3] == 3 else colour.mean(keepdims=True)


def positions(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the offset of each pixel from the middle of the image in pixels, float32 [H, 1] and [1, W]."""
    ys = np.arange(height, dtype=np.float32) - (height - 1) / 2
    xs = np.arange(width, dtype=np.float32) - (width - 1) / 2
    return ys[:, None], xs[None, :]


def smooth_field(noise: np.ndarray, sigma: float) -> np.ndarray:
    """Return smooth noise of mean 0 and deviation about 1 from white noise [N, H, W], blurred by `sigma` pixels."""
    field = gaussian(noise[..., None], sigma)[..., 0]
    deviation = field.std(axis=(1, 2), keepdims=True)
    out: np.ndarray = (field - field.mean(axis=(1, 2), keepdims=True)) / np.maximum(deviation, 1e-6)
    return out
