"""Models that remember their training images by a known amount, in numpy alone. Legend: N images, K classes, S sign tracks."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from safeml.classifiers.base import InputSpec
from safeml.classifiers.batches import BatchSize
from safeml.data.dataset import ImageDataset

K = 4


def images_of_signs(
    name: str,
    signs: int,
    frames: int,
    seed: int,
    *,
    tracks: bool = True,
    first: int = 0,
    size: int = 16,
    channels: int = 3,
) -> ImageDataset:
    """Noise images of `signs` sign tracks, K classes in turn. first: number of the first track."""
    rng = np.random.default_rng(seed)
    numbers = np.repeat(np.arange(signs), frames)
    return ImageDataset(
        name,
        rng.integers(0, 256, (signs * frames, size, size, channels), dtype=np.uint8),
        numbers % K,
        tuple(f"class {k}" for k in range(K)),
        tracks=numbers + first if tracks else None,
        frames_per_sign=None if tracks else frames,
    )


@dataclass(eq=False)
class Remembering:
    """Knows each image by its pixels. The log odds of a member's true class are higher by `leak`.

    spread: of the part of the log odds that all frames of a sign share; the frames differ by a third of it.
    by_class: float [K], added to the log odds of each class, on both sides.
    """

    members: ImageDataset
    others: tuple[ImageDataset, ...]
    leak: float = 0.0
    spread: float = 1.0
    seed: int = 0
    by_class: tuple[float, ...] = (0.0,) * K
    name: str = "remembering"
    fingerprint: str = "e" * 64
    parameters: int = 1
    notes: tuple[str, ...] = ()
    classes: int = K
    spec: InputSpec = field(default_factory=lambda: InputSpec(height=16, width=16))
    batch: BatchSize = field(default_factory=lambda: BatchSize(64))

    def __post_init__(self) -> None:
        self.table: dict[bytes, np.ndarray] = {}
        for place, data in enumerate((self.members, *self.others)):
            rng = np.random.default_rng([self.seed, place])
            units = np.arange(len(data)) if data.tracks is None else data.tracks - data.tracks.min()
            if data.tracks is None and data.frames_per_sign is not None:
                units = np.arange(len(data)) // int(data.frames_per_sign)
            shared = rng.normal(0, self.spread, int(units.max()) + 1)
            own = rng.normal(0, self.spread / 3, len(data))
            for row in range(len(data)):
                logits = rng.normal(0, 0.1, K)
                gain = self.leak if place == 0 else 0.0
                label = int(data.labels[row])
                logits[label] += 2 + shared[units[row]] + own[row] + gain + self.by_class[label]
                self.table[data.images[row].tobytes()] = logits

    def predict_logits(self, images: np.ndarray) -> np.ndarray:
        return np.array([self.table[image.tobytes()] for image in images], np.float32)

    def features(self, images: np.ndarray) -> np.ndarray:
        return images.reshape(len(images), -1).astype(np.float32)
