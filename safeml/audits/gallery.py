"""Image panels of a report. Legend: H W C pixels."""

from __future__ import annotations

import base64
import io
from typing import Literal

import numpy as np
from PIL import Image

from safeml.errors import StageError
from safeml.results import Panel


def panel(label: str, image: np.ndarray, kind: Literal["image", "change"] = "image") -> Panel:
    """Encode an image as PNG, from the pixels alone.

    image: uint8 [H, W, 1 or 3], 0..255, grey or RGB. Equal pixels give equal bytes: no date and no other metadata.
    Raises StageError for any other array.
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] not in (1, 3):
        raise StageError(
            f"panel {label}: the image is {image.dtype} {list(image.shape)}; expected uint8 [H, W, 1 or 3]."
        )
    buffer = io.BytesIO()
    pixels = image[:, :, 0] if image.shape[2] == 1 else image
    Image.fromarray(np.ascontiguousarray(pixels)).save(buffer, format="PNG", optimize=True)
    height, width = image.shape[:2]
    png = base64.b64encode(buffer.getvalue()).decode("ascii")
    return Panel(label=label, png=png, width=width, height=height, kind=kind)


def to_uint8(pixels: np.ndarray) -> np.ndarray:
    """Convert float pixels 0..1 of any shape to uint8 0..255, rounded to the nearest grey level and clipped."""
    return np.clip(np.rint(pixels * 255.0), 0, 255).astype(np.uint8)


def change_panel(label: str, clean: np.ndarray, attacked: np.ndarray, epsilon: float) -> Panel:
    """Draw the perturbation attacked - clean: grey 128 is no change, black and white are -epsilon and +epsilon.

    clean, attacked: float [H, W, 1 or 3], 0..1. epsilon: the change that fills the range, > 0, in pixel units of 0..1.
    """
    if not epsilon > 0:
        raise StageError(f"panel {label}: epsilon is {epsilon}; expected a positive number.")
    if clean.shape != attacked.shape:
        raise StageError(
            f"panel {label}: the images are {list(clean.shape)} and {list(attacked.shape)}; expected one shape."
        )
    change = attacked.astype(np.float64) - clean.astype(np.float64)
    return panel(label, to_uint8((128.0 + change * (127.0 / epsilon)) / 255.0), kind="change")


# Colours of a map from no energy to the largest, RGB 0..1: dark to light, so that the order survives in grey print.
HEAT = np.array(
    [[0.0, 0.0, 0.02], [0.33, 0.06, 0.43], [0.73, 0.21, 0.33], [0.98, 0.55, 0.04], [0.99, 1.0, 0.64]]
)
IMAGE_SHARE = 0.35


def map_panel(label: str, image: np.ndarray, energy: np.ndarray) -> Panel:
    """Draw an attribution map in colours over the image in grey: the image shows through, and the largest energy is light.

    image: uint8 [H, W, 1 or 3], 0..255.
    energy: float [H, W], at least 0, divided by its largest value; all 0, or not finite, draws the grey image alone.
    """
    if energy.shape != image.shape[:2]:
        raise StageError(
            f"panel {label}: the map is {list(energy.shape)}; expected {list(image.shape[:2])}, as the image."
        )
    grey = image.astype(np.float64).mean(axis=2, keepdims=True) / 255
    largest = float(energy.max()) if np.isfinite(energy).all() else 0.0
    if not largest > 0:
        return panel(label, to_uint8(np.repeat(grey, 3, axis=2)))
    place = np.clip(energy.astype(np.float64) / largest, 0, 1) * (len(HEAT) - 1)
    first = np.minimum(place.astype(np.int64), len(HEAT) - 2)
    part = (place - first)[..., None]
    colours = HEAT[first] * (1 - part) + HEAT[first + 1] * part
    return panel(label, to_uint8((1 - IMAGE_SHARE) * colours + IMAGE_SHARE * grey))
