"""Weather and light of the road, dirt and cover. Legend: N images, H W C pixels, float32 0..1."""

from __future__ import annotations

import numpy as np

from safeml.corruptions.draws import Draws
from safeml.corruptions.filters import positions, smear, smooth_field, tone

AIRLIGHT = np.float32(0.75)
RAIN_COLOUR = np.float32(0.85)
SUN = np.array([1.0, 0.95, 0.8], np.float32)
DIRT = np.array([0.33, 0.27, 0.2], np.float32)
LEAF = np.array([0.2, 0.3, 0.15], np.float32)


def rain(pixels: np.ndarray, shower: tuple[float, float, float], draws: Draws) -> np.ndarray:
    """Dim the image and draw bright streaks within 20 degrees of the vertical.

    shower: share of the pixels where a streak starts, its length as a share of the height, share of the light that remains.

    Source: K. Garg, S. K. Nayar, "Vision and rain", International Journal of Computer Vision, 2007: drops are brighter than their background.
    """
    density, length, light = shower
    height, width = pixels.shape[1:3]
    starts = (draws.uniform(height, width) < np.float32(density)).astype(np.float32)[..., None]
    taps = max(2, round(length * height))
    streaks = smear(starts, 70 + 40 * draws.uniform(1)[:, 0], np.full(taps, 1 / taps)) * taps
    opacity = np.float32(0.7) * np.minimum(streaks, 1)
    dimmed = pixels * np.float32(light)
    return np.asarray(dimmed + opacity * np.maximum(RAIN_COLOUR - dimmed, 0))


def mist(pixels: np.ndarray, density: float, draws: Draws) -> np.ndarray:
    """Mix the image with grey airlight. density: optical depth between sign and camera; exp(-density) of the sign remains.

    Source: H. Koschmieder, "Theorie der horizontalen Sichtweite", 1924.
    """
    through = np.float32(np.exp(-density))
    return pixels * through + AIRLIGHT * (1 - through)


def low_sun(pixels: np.ndarray, glare: tuple[float, float], draws: Draws) -> np.ndarray:
    """Add the bloom of a sun at a random place in the upper half and a veil over the whole image.

    glare: strength of the bloom, strength of the veil. The bloom has a deviation of a third of the side.
    """
    bloom, veil = (np.float32(part) for part in glare)
    height, width = pixels.shape[1:3]
    ys, xs = positions(height, width)
    place = draws.uniform(2)
    down = ys - ((place[:, :1, None] - 1) * height / 2)
    right = xs - ((place[:, 1:, None] - 0.5) * width)
    light = np.exp(-(down**2 + right**2) / (2 * (min(height, width) / 3) ** 2))[..., None]
    return np.asarray(pixels + (bloom * light + veil) * tone(SUN, pixels))


def night(pixels: np.ndarray, exposure: tuple[float, float], draws: Draws) -> np.ndarray:
    """Darken the image and add the noise of a sensor with few photons.

    exposure: share of the light, and mean photon count of a white pixel at that light. Photon noise has a variance of one count
    per count, read noise a deviation of two counts.
    """
    light, photons = exposure
    dark = pixels * np.float32(light)
    counts = pixels * np.float32(photons)
    noise = np.sqrt(counts + np.float32(4)) * draws.normal(*pixels.shape[1:])
    return np.asarray(dark + noise * np.float32(light / photons))


def dirt(pixels: np.ndarray, share: float, draws: Draws) -> np.ndarray:
    """Cover blots with mud. share: of the pixels, 0..1; blots of a higher share contain those of a lower one."""
    height, width = pixels.shape[1:3]
    field = smooth_field(draws.normal(height, width), min(height, width) / 12)
    level = np.quantile(field, 1 - share, axis=(1, 2), keepdims=True).astype(np.float32)
    mud = tone(DIRT, pixels) + np.float32(0.03) * draws.normal(height, width, 1)
    return np.where((field >= level)[..., None], mud, pixels)


def sticker(pixels: np.ndarray, area: float, draws: Draws) -> np.ndarray:
    """Cover a square of one random colour near the middle. area: share of the image, 0..1; the middle of the square stays."""
    height, width, channels = pixels.shape[1:]
    place = (draws.uniform(2) - 0.5) * 0.4
    colour = draws.uniform(channels)[:, None, None]
    ys, xs = positions(height, width)
    half = np.float32(np.sqrt(area) / 2)
    inside = (np.abs(ys / height - place[:, :1, None]) <= half) & (
        np.abs(xs / width - place[:, 1:, None]) <= half
    )
    return np.where(inside[..., None], colour, pixels)


def occlusion(pixels: np.ndarray, share: float, draws: Draws) -> np.ndarray:
    """Cover the image from a random direction with dark leaves up to a straight edge. share: of the width between both ends, 0..1."""
    height, width = pixels.shape[1:3]
    angle = 2 * np.pi * draws.uniform(1)[:, :, None]
    ys, xs = positions(height, width)
    along = np.cos(angle) * xs + np.sin(angle) * ys
    reach = (np.abs(np.cos(angle)) * (width - 1) + np.abs(np.sin(angle)) * (height - 1)) / 2
    leaves = np.float32(0.06) * draws.normal(height, width, 1) + tone(LEAF, pixels)
    return np.where((along < reach * np.float32(2 * share - 1))[..., None], leaves, pixels)
