"""Random changes of a training image that leave its label true. A mirrored sign is another sign: there is no flip."""

from __future__ import annotations

import keras
from keras import layers

from safeml.config import AugmentSettings


def augmentation(settings: AugmentSettings, seed: int) -> keras.Sequential:
    """Keras layers for float32 images [N, H, W, C] in 0..1; pixels from outside repeat the edge."""
    geometry = {"fill_mode": "nearest", "interpolation": "bilinear"}
    turn = settings.rotation_degrees / 360
    return keras.Sequential(
        [
            layers.RandomTranslation(settings.shift, settings.shift, seed=seed, **geometry),
            layers.RandomRotation(turn, seed=seed + 1, **geometry),
            layers.RandomZoom(settings.zoom, seed=seed + 2, **geometry),
            layers.RandomGaussianBlur(0.5, 5, sigma=settings.blur_sigma, value_range=(0, 1), seed=seed + 5)
            if settings.blur_sigma
            else layers.Identity(),
            layers.RandomContrast(settings.contrast, value_range=(0, 1), seed=seed + 3),
            layers.RandomBrightness(settings.brightness, value_range=(0, 1), seed=seed + 4),
        ],
        name="augmentation",
    )
