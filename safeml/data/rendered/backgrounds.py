"""Random textures behind a sign, by kind. Units: pixels of the texture, RGB 0..255."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image

TEXTURE = 96
"""Side of a texture in pixels."""

Random = np.random.Generator


def _noise(rng: Random, cells: tuple[int, ...], stretch: int = 1) -> np.ndarray:
    """Add smooth noises with these numbers of cells per side, the coarsest strongest: float32 [T, T], about -1..1."""
    total = np.zeros((TEXTURE, TEXTURE), np.float32)
    for octave, count in enumerate(cells):
        grid = rng.uniform(-1, 1, (max(2, count // stretch), count)).astype(np.float32)
        smooth = Image.fromarray(grid).resize((TEXTURE, TEXTURE), Image.Resampling.BICUBIC)
        total += np.asarray(smooth) * 0.75**octave
    return total / sum(0.75**octave for octave in range(len(cells)))


def _between(low: tuple[int, int, int], high: tuple[int, int, int], blend: np.ndarray) -> np.ndarray:
    """Interpolate from `low` to `high` as blend [T, T] runs from -1 to 1: float32 [T, T, 3]."""
    share = np.clip(blend[..., None] * 0.5 + 0.5, 0, 1)
    return np.array(low, np.float32) * (1 - share) + np.array(high, np.float32) * share


def _sky(rng: Random) -> np.ndarray:
    fall = np.linspace(-1, 1, TEXTURE, dtype=np.float32)[:, None]
    blue = _between((96, 140, 200), (205, 220, 236), fall + 0 * fall.T)
    clouds = np.clip(_noise(rng, (3, 7, 13)) * 1.6 + rng.uniform(-0.5, 0.9), 0, 1)[..., None]
    return blue * (1 - clouds) + np.float32(228) * clouds


def _foliage(rng: Random) -> np.ndarray:
    leaves = _between((18, 26, 12), (168, 176, 96), _noise(rng, (4, 12, 30, 60)) * 2.8 - 0.3)
    autumn = np.array([1.0, 1.0, 1.0], np.float32) + rng.uniform(0, 1) * np.array(
        [0.35, -0.15, -0.35], np.float32
    )
    holes = (_noise(rng, (8, 24, 48)) > rng.uniform(0.25, 0.8))[..., None]
    return np.where(holes, np.array([225, 232, 240], np.float32), leaves * autumn)


def _trees(rng: Random) -> np.ndarray:
    trunks = _noise(rng, (12, 30), stretch=6) * 1.8 + _noise(rng, (20, 48)) * 0.6
    return _between((40, 32, 26), (200, 198, 194), trunks * 1.3 + rng.uniform(-0.6, 0.6))


def _brick(rng: Random) -> np.ndarray:
    y, x = np.mgrid[:TEXTURE, :TEXTURE]
    height, width = int(rng.integers(5, 9)), int(rng.integers(10, 18))
    row = y // height
    column = (x + (row % 2) * width // 2) // width
    tone = rng.uniform(-1, 1, (TEXTURE, TEXTURE))[row, column].astype(np.float32)
    wall = _between((104, 50, 38), (172, 104, 82), tone + 0.4 * _noise(rng, (20, 60)))
    joint = (y % height == 0) | ((x + (row % 2) * width // 2) % width == 0)
    return np.where(joint[..., None], np.array([158, 150, 140], np.float32), wall)


def _facade(rng: Random) -> np.ndarray:
    wall = np.float32(rng.uniform(60, 235) + rng.uniform(-18, 18, 3))
    picture = wall + 14 * _noise(rng, (4, 20))[..., None]
    for _ in range(int(rng.integers(3, 8))):
        top, left = rng.integers(0, TEXTURE - 10, 2)
        height, width = rng.integers(8, 40, 2)
        picture[top : top + height, left : left + width] = rng.uniform(20, 200) + rng.uniform(-12, 12, 3)
    return picture


def _grey(rng: Random) -> np.ndarray:
    y, x = np.mgrid[-1 : 1 : TEXTURE * 1j, -1 : 1 : TEXTURE * 1j].astype(np.float32)
    angle = rng.uniform(0, 2 * np.pi)
    slope = np.cos(angle) * x + np.sin(angle) * y
    return _between((70, 70, 74), (190, 190, 188), slope * rng.uniform(0.2, 1) + 0.25 * _noise(rng, (6, 40)))


KINDS: dict[str, Callable[[Random], np.ndarray]] = {
    "sky": _sky,
    "foliage": _foliage,
    "trees": _trees,
    "brick": _brick,
    "facade": _facade,
    "grey": _grey,
}


def texture(kind: str, rng: Random, brightness: float = 1.0) -> Image.Image:
    """Draw a new texture of a kind, scaled by `brightness` (0..1): RGB, TEXTURE pixels square."""
    return Image.fromarray(np.clip(KINDS[kind](rng) * brightness, 0, 255).astype(np.uint8))
