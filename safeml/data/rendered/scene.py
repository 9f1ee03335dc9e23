"""One physical sign, filmed by an approaching camera. Legend: F frames, S side of the image in pixels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

from safeml.data.rendered import backgrounds
from safeml.data.rendered.approach import Approach, draw_approach, homographies, project, tilt
from safeml.data.rendered.brush import REACH
from safeml.data.rendered.catalogue import MOUNTS, SIGNS, plate
from safeml.data.rendered.light import SHARES, WEATHERS, expose

MARGIN = 1 / 8
"""Share of the image side rendered beyond each edge, as input of the blur."""


@dataclass(frozen=True)
class Track:
    """The frames of one sign: images uint8 [F, S, S, 3]; boxes float32 [F, 4], x1 y1 x2 y2; size int32 [F]; tilt float64 [F], degrees."""

    images: np.ndarray
    boxes: np.ndarray
    size: np.ndarray
    tilt: np.ndarray
    weather: str
    background: str


def _worn(rng: np.random.Generator, sign: Image.Image, shade: float) -> Image.Image:
    """Age the plate: faded towards grey, unevenly soiled, `shade` times as bright."""
    pixels = np.asarray(sign, dtype=np.float32)
    colours = pixels[..., :3]
    fading = np.float32(rng.beta(1.2, 7))
    pale = colours * (1 - fading) + fading * (0.5 * colours.mean(axis=2, keepdims=True) + 80)
    dirt = Image.fromarray(rng.uniform(0, 1, (5, 5)).astype(np.float32)).resize(
        sign.size, Image.Resampling.BICUBIC
    )
    soiled = pale * (1 - np.float32(rng.beta(1.2, 7)) * np.asarray(dirt)[..., None])
    worn = np.concatenate([np.clip(soiled * np.float32(shade), 0, 255), pixels[..., 3:]], axis=2)
    return Image.fromarray(worn.astype(np.uint8), "RGBA")


def _pyramid(sign: Image.Image) -> list[Image.Image]:
    """Return the plate and its halves, largest first, down to 32 pixels: warping skips at most every second pixel."""
    levels = [sign]
    while levels[-1].width > 32:
        levels.append(levels[-1].reduce(2))
    return levels


def _warp(levels: list[Image.Image], matrix: np.ndarray, pixels: int, extent: float) -> Image.Image:
    """Warp the plate through `matrix`: RGBA, `pixels` square, -extent..extent half sides of the image."""
    radius = abs(np.linalg.det(matrix[:2, :2])) ** 0.5 / matrix[2, 2] * pixels / (2 * extent)
    fine_enough = [level for level in levels if level.width / (2 * REACH) >= radius]
    source = fine_enough[-1] if fine_enough else levels[0]
    unit = source.width / (2 * REACH)
    to_source = np.array([[unit, 0, source.width / 2], [0, unit, source.width / 2], [0, 0, 1]])
    step = 2 * extent / pixels
    from_target = np.array([[step, 0, -extent], [0, step, -extent], [0, 0, 1]])
    inverse = to_source @ np.linalg.inv(matrix) @ from_target
    coefficients = (inverse / inverse[2, 2]).ravel()[:8]
    return source.transform(
        (pixels, pixels), Image.Transform.PERSPECTIVE, tuple(coefficients), Image.Resampling.BILINEAR
    )


def _view(rng: np.random.Generator, frames: int) -> np.ndarray:
    """Draw windows on the background texture, float [F, 4] left top right bottom: drifting and slowly shrinking."""
    side = rng.uniform(40, 70) * np.linspace(1, 0.8, frames)
    room = backgrounds.TEXTURE - side
    left0, left1, top0, top1 = rng.uniform(0, 1, 4)
    left = room * np.linspace(left0, left1, frames)
    top = room * np.linspace(top0, top1, frames)
    return np.stack([left, top, left + side, top + side], axis=1)


def _boxes(approach: Approach, label: int, side: int) -> np.ndarray:
    """Return the smallest upright rectangle around the outline, in pixels of the image: float32 [F, 4]."""
    outline = project(homographies(approach), np.array(SIGNS[label].face.outline))
    pixels = (outline + 1) * side / 2
    boxes: np.ndarray = np.clip(np.concatenate([pixels.min(axis=1), pixels.max(axis=1)], axis=1), 0, side)
    return boxes.astype(np.float32)


def film(rng: np.random.Generator, label: int, frames: int, side: int) -> Track:
    """Draw a scene with a sign of class `label`, and film it in `frames` images of `side` pixels."""
    weather_name = str(rng.choice(list(SHARES), p=list(SHARES.values())))
    background_name = str(rng.choice(list(backgrounds.KINDS)))
    weather = WEATHERS[weather_name]
    approach = draw_approach(rng, frames)
    # If the background is brighter than the sign, the plate is darkened and all is brightened later, to avoid early clipping.
    backlight = float(np.exp(rng.uniform(*np.log(weather.backlight))))
    levels = _pyramid(_worn(rng, plate(label, str(rng.choice(MOUNTS)), 4 * side), min(1.0, 1 / backlight)))
    scenery = backgrounds.texture(background_name, rng, min(1.0, backlight))
    margin = round(MARGIN * side)
    full = side + 2 * margin
    extent = full / side
    scene = np.empty((frames, full, full, 3), np.float32)
    for index, (matrix, window) in enumerate(zip(homographies(approach), _view(rng, frames), strict=True)):
        # Rendering at more than twice the output size adds no detail.
        pixels = round(min(int(approach.size[index]), 2 * side) * extent)
        canvas = scenery.resize((pixels, pixels), Image.Resampling.BILINEAR, tuple(window))
        sign = _warp(levels, matrix, pixels, extent)
        canvas.paste(sign, (0, 0), sign)
        scene[index] = np.asarray(canvas.resize((full, full), Image.Resampling.BILINEAR))
    images = expose(rng, weather, scene * np.float32(max(1.0, backlight)), approach.size, margin)
    return Track(
        images,
        _boxes(approach, label, side),
        approach.size,
        tilt(homographies(approach)),
        weather_name,
        background_name,
    )
