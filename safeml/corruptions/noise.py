"""Noise of the sensor, as published by Hendrycks and Dietterich, 2019. Legend: N images, H W C pixels, float32 0..1."""

from __future__ import annotations

import numpy as np

from safeml.corruptions.draws import Draws


def gaussian_noise(pixels: np.ndarray, scale: float, draws: Draws) -> np.ndarray:
    """Add normal noise. scale: its standard deviation."""
    return pixels + np.float32(scale) * draws.normal(*pixels.shape[1:])


def shot_noise(pixels: np.ndarray, photons: float, draws: Draws) -> np.ndarray:
    """Count light particles. photons: mean count of a white pixel."""
    return draws.poisson(pixels * np.float32(photons)) / np.float32(photons)


def impulse_noise(pixels: np.ndarray, amount: float, draws: Draws) -> np.ndarray:
    """Replace values by white or black with equal probability. amount: share of the values."""
    chance = draws.uniform(*pixels.shape[1:])
    half = np.float32(amount / 2)
    out = np.where(chance < half, np.float32(1), pixels)
    return np.where((chance >= half) & (chance < np.float32(amount)), np.float32(0), out)


def speckle_noise(pixels: np.ndarray, scale: float, draws: Draws) -> np.ndarray:
    """Add normal noise in proportion to the light. scale: its standard deviation at white."""
    return pixels + pixels * (np.float32(scale) * draws.normal(*pixels.shape[1:]))
