"""Weather, after Hendrycks and Dietterich, 2019; frost is drawn here and not taken from photographs.

Legend: N images, H W C pixels, float32 0..1.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from safeml.corruptions.blur import one_sided
from safeml.corruptions.draws import Draws
from safeml.corruptions.filters import separable, smear, smooth_field, zoom_operator

GREY = np.array([0.299, 0.587, 0.114], np.float32)
FROST_TEXTURES, FROST_SEED = 5, 20190328


def luminance(pixels: np.ndarray) -> np.ndarray:
    """Return the grey value, float32 [N, H, W, 1] (ITU-R BT.601)."""
    return pixels if pixels.shape[3] == 1 else (pixels @ GREY)[..., None]


def fog(pixels: np.ndarray, haze: tuple[float, float], draws: Draws) -> np.ndarray:
    """Add plasma clouds and scale back to the brightest value. haze: amount, and decay of the cloud's detail."""
    amount, decay = haze
    height, width = pixels.shape[1:3]
    side = 1 << (max(height, width, 2) - 1).bit_length()
    clouds = plasma(draws.uniform(side, side), decay)[:, :height, :width, None]
    brightest = pixels.max(axis=(1, 2, 3), keepdims=True)
    return np.asarray((pixels + np.float32(amount) * clouds) * (brightest / (brightest + np.float32(amount))))


def plasma(noise: np.ndarray, decay: float) -> np.ndarray:
    """Return clouds by the diamond-square algorithm on a torus, float32 [N, S, S], 0..1.

    noise: float32 [N, S, S], uniform in 0..1, S a power of two.
    decay: factor by which the noise shrinks each time that the grid gets finer.

    Source: A. Fournier, D. Fussell, L. Carpenter, "Computer rendering of stochastic models", 1982.
    """
    side = noise.shape[1]
    field = np.zeros_like(noise)
    step, scale = side, np.float32(1.0)
    while step >= 2:
        half = step // 2
        corners = field[:, ::step, ::step]
        middles = corners + np.roll(corners, -1, axis=1)
        middles = (middles + np.roll(middles, -1, axis=2)) / 4
        field[:, half::step, half::step] = middles + scale * (2 * noise[:, half::step, half::step] - 1)
        middles = field[:, half::step, half::step]
        across = middles + np.roll(middles, 1, axis=1) + corners + np.roll(corners, -1, axis=2)
        field[:, ::step, half::step] = across / 4 + scale * (2 * noise[:, ::step, half::step] - 1)
        down = middles + np.roll(middles, 1, axis=2) + corners + np.roll(corners, -1, axis=1)
        field[:, half::step, ::step] = down / 4 + scale * (2 * noise[:, half::step, ::step] - 1)
        step, scale = half, scale / np.float32(decay**2)
    field -= field.min(axis=(1, 2), keepdims=True)
    field /= field.max(axis=(1, 2), keepdims=True)
    return field


def snow(pixels: np.ndarray, flakes: tuple[float, ...], draws: Draws) -> np.ndarray:
    """Whiten the image and add blurred flakes in two directions.

    flakes: mean and deviation of the noise, its enlargement, the level below which there is no flake, radius and deviation of
    the blur in pixels, share of the image that is not whitened.
    """
    mean, deviation, zoom, level, radius, sigma, own = flakes
    height, width = pixels.shape[1:3]
    layer = np.float32(mean) + np.float32(deviation) * draws.normal(height, width)[..., None]
    layer = separable(layer, zoom_operator(height, zoom), zoom_operator(width, zoom))
    layer = np.where(layer < np.float32(level), np.float32(0), np.clip(layer, 0, 1))
    layer = smear(layer, -135 + 90 * draws.uniform(1)[:, 0], one_sided(radius, sigma))
    white = np.maximum(pixels, luminance(pixels) * np.float32(1.5) + np.float32(0.5))
    out: np.ndarray = np.float32(own) * pixels + np.float32(1 - own) * white + layer + layer[:, ::-1, ::-1]
    return out


def frost(pixels: np.ndarray, ice: tuple[float, float], draws: Draws) -> np.ndarray:
    """Mix the image with a random part of an ice texture. ice: weight of the image and of the ice."""
    own, weight = ice
    height, width = pixels.shape[1:3]
    textures = frost_textures(2 * height, 2 * width)
    place = draws.uniform(3)
    which = (place[:, 0] * FROST_TEXTURES).astype(int)
    tops, lefts = (place[:, 1] * height).astype(int), (place[:, 2] * width).astype(int)
    out = np.float32(own) * pixels
    for number, (texture, top, left) in enumerate(zip(which, tops, lefts, strict=True)):
        part = textures[texture, top : top + height, left : left + width]
        out[number] += np.float32(weight) * (part if pixels.shape[3] == 3 else part @ GREY[:, None])
    return out


@lru_cache(maxsize=4)
def frost_textures(height: int, width: int) -> np.ndarray:
    """Draw ice: bright ridges between crystals of several sizes, float32 [FROST_TEXTURES, height, width, 3], 0..1."""
    random = np.random.Generator(np.random.Philox(FROST_SEED))
    ice = np.zeros((FROST_TEXTURES, height, width), np.float32)
    for share in (0.12, 0.06, 0.03):
        noise = random.standard_normal(ice.shape, dtype=np.float32)
        ridge = 1 - np.minimum(np.abs(smooth_field(noise, share * min(height, width) / 2)), 1)
        ice += ridge**2 / 3
    bright = np.clip(0.35 + 0.75 * ice, 0, 1)[..., None]
    tint: np.ndarray = bright * np.array([0.92, 0.97, 1.0], np.float32)
    return tint
