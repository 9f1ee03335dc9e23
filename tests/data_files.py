"""Files of images and labels, as the loaders read them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def save(path: Path, pixels: np.ndarray, **options: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)
    return path


def write_npz(path: Path, **changes: object) -> Path:
    """Six sound 8 x 8 images; a change of None leaves an array out."""
    arrays: dict[str, object] = {
        "images": np.random.default_rng(1).integers(0, 256, (6, 8, 8, 3), dtype=np.uint8),
        "labels": np.array([0, 0, 0, 1, 1, 1]),
        "track_id": np.array([0, 0, 1, 0, 0, 1]),
        "width": np.full(6, 40),
        "height": np.full(6, 20),
        "roi": np.tile([10, 5, 30, 15], (6, 1)),
    }
    arrays.update(changes)
    np.savez_compressed(path, **{key: value for key, value in arrays.items() if value is not None})  # type: ignore[arg-type]
    return path


def class_folders(root: Path, names: tuple[str, ...]) -> Path:
    for index, name in enumerate(names):
        save(root / name / "a.png", np.full((4, 4, 3), index, np.uint8))
        save(root / name / "b.jpg", np.full((4, 4, 3), index, np.uint8))
    return root
