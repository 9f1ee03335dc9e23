"""Scenes whose sign is in a known box, for the tests of the explainability stage."""

from __future__ import annotations

import numpy as np

from safeml.data.dataset import ImageDataset

SIDE, COUNT = 16, 40
BOX = (4, 4, 12, 12)


def scenes(count: int = COUNT, side: int = SIDE, seed: int = 0, **columns: object) -> ImageDataset:
    """Images whose sign and whose surroundings are both bright in class 1 and dark in class 0, with noise."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count, dtype=np.int64) % 2
    images = np.where(labels[:, None, None], 180, 75) + rng.integers(-40, 41, (count, side, side))
    boxes = np.tile(np.array(BOX, np.float32), (count, 1))
    made: dict[str, object] = {"boxes": boxes, "frames_per_sign": 1.0, **columns}
    return ImageDataset("scenes", images.astype(np.uint8)[..., None], labels, ("dark", "bright"), **made)  # type: ignore[arg-type]
