"""Corrupt a batch of images. Legend: N images, H W C pixels."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib import import_module
from typing import Any

import numpy as np

from safeml.corruptions.draws import Draws
from safeml.corruptions.rows import CORRUPTIONS, LEAST_SIDE, SEVERITIES, Corruption
from safeml.errors import ConfigError
from safeml.settings.errors import suggest

CHUNK = 1 << 19  # values that are computed at a time, so that memory does not grow with the images


def corrupt(
    images: np.ndarray, name: str, severity: int, seed: int = 0, ids: np.ndarray | None = None
) -> np.ndarray:
    """Return the images under one corruption.

    images: uint8 [N, H, W, 1 or 3], 0..255, each side at least LEAST_SIDE.
    name: a key of CORRUPTIONS.
    severity: 1 to 5; 0 returns the images unchanged.
    seed, ids: random numbers of image i come from (seed, name, ids[i]) alone; int64 [N], by default 0..N-1.

    Returns uint8 of the same shape, rounded to the nearest level. A batch, its order and its size change nothing.
    Raises ConfigError for an unknown name, another severity, images of another kind or size, and a corruption of colours on
    grey images.
    """
    row = corruption(name)
    _check(images, row, severity)
    if ids is None:
        ids = np.arange(len(images))
    if len(ids) != len(images):
        raise ConfigError(
            f"corruptions: there are {len(ids)} ids for {len(images)} images; give one for each."
        )
    if severity == 0:
        return images.copy()
    strength = row.strength(severity, min(images.shape[1:3]))
    function = _function(row.function)
    out = np.empty_like(images)
    size = max(1, CHUNK // int(np.prod(images.shape[1:])))
    for start in range(0, len(images), size):
        part = slice(start, start + size)
        pixels = images[part].astype(np.float32) / np.float32(255)
        changed = function(pixels, strength, Draws(seed, name, ids[part]))
        np.clip(changed, 0, 1, out=changed)
        np.multiply(changed, np.float32(255), out=changed)
        out[part] = np.rint(changed, out=changed)
    return out


def corruption(name: str) -> Corruption:
    """Return the row of this name. Raises ConfigError with the nearest known name."""
    if name not in CORRUPTIONS:
        raise ConfigError(f'there is no corruption called "{name}"{suggest(name, list(CORRUPTIONS))}.')
    return CORRUPTIONS[name]


@cache
def _function(path: str) -> Callable[[np.ndarray, Any, Draws], np.ndarray]:
    module, _, name = path.partition(":")
    function: Callable[[np.ndarray, Any, Draws], np.ndarray] = getattr(import_module(module), name)
    return function


def _check(images: np.ndarray, row: Corruption, severity: int) -> None:
    if isinstance(severity, bool) or severity not in (0, *SEVERITIES):
        raise ConfigError(f"{row.name}: severity is {severity}; expected a whole number from 0 to 5.")
    if images.dtype != np.uint8:
        raise ConfigError(
            f"{row.name}: images are {images.dtype}; expected uint8, 0..255. Multiply pixels of 0..1 by 255, and round."
        )
    if images.ndim != 4 or images.shape[3] not in (1, 3):
        raise ConfigError(
            f"{row.name}: images have the shape {list(images.shape)}; expected [N, H, W, 1 or 3]."
        )
    if min(images.shape[1:3]) < LEAST_SIDE:
        raise ConfigError(
            f"{row.name}: images have {images.shape[1]} x {images.shape[2]} pixels; expected sides of at least {LEAST_SIDE}. "
            "Use images of their original size."
        )
    if row.colour and images.shape[3] == 1:
        raise ConfigError(f"{row.name}: it changes colours, and the images are grey; leave it out.")
