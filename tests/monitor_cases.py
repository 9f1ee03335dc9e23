"""A model whose mistakes are known before the monitor stage runs, its signs, and short settings. Legend: N images, K classes."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from safeml.audits.base import AuditInputs
from safeml.classifiers.base import InputSpec
from safeml.classifiers.batches import BatchSize
from safeml.data.dataset import ImageDataset
from safeml.errors import StageError
from safeml.stages.monitors import MonitorsSettings

K, SIZE = 4, 16


QUICK = MonitorsSettings(
    images=4000,
    shifted_images=60,
    corruptions=("gaussian_noise", "contrast"),
    severity=5,
    attacked_images=0,
    fitting_images=400,
    streams=1,
    resamples=100,
    false_alarm_rate=0.2,
    distance="kolmogorov_smirnov",
)


LEVELS = np.array([40, 90, 140, 190])


GATE = {"id": "available", "stage": "monitors", "metric": "availability", "op": ">=", "threshold": 0.1}


@dataclass(eq=False)
class Levels:
    """Classifies a grey image by the nearest of four levels of its mean; the features are its means by quarter and its contrast.

    sharp: factor of the logits. wide: whether it gives features.
    """

    sharp: float = 0.2
    wide: bool = True
    name: str = "levels"
    classes: int = K
    spec: InputSpec = field(default_factory=lambda: InputSpec(height=SIZE, width=SIZE, channels="grey"))
    parameters: int = 4
    fingerprint: str = "a" * 64
    notes: tuple[str, ...] = ()
    batch: BatchSize = field(default_factory=lambda: BatchSize(64))

    def predict_logits(self, images: np.ndarray) -> np.ndarray:
        mean = images.reshape(len(images), -1).mean(axis=1)
        return (-self.sharp * np.abs(mean[:, None] - LEVELS)).astype(np.float32)

    def features(self, images: np.ndarray) -> np.ndarray:
        if not self.wide:
            raise StageError("levels: gives no features.")
        parts = (
            images.reshape(len(images), 2, SIZE // 2, 2, SIZE // 2).mean(axis=(2, 4)).reshape(len(images), -1)
        )
        return np.concatenate([parts, images.reshape(len(images), -1).std(axis=1)[:, None]], axis=1).astype(
            np.float32
        )


def signs(
    count: int, frames: int, seed: int, spread: float = 20.0, first: int = 0, **columns: object
) -> ImageDataset:
    """Grey images whose level varies by sign; the larger the spread, the more are nearer to another level."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(count) % K, frames)
    level = LEVELS[labels] + np.repeat(rng.normal(0, spread, count), frames)
    images = level[:, None, None, None] + rng.normal(0, 6, (count * frames, SIZE, SIZE, 1))
    tracks = first + np.repeat(np.arange(count), frames)
    pixels = np.clip(np.rint(images), 0, 255).astype(np.uint8)
    given = {"tracks": tracks, **columns}
    return ImageDataset(
        "signs", pixels, labels.astype(np.int64), tuple(f"class {k}" for k in range(K)), **given
    )


def inputs(model: Levels | None = None, **changes: object) -> AuditInputs:
    given = {
        "train": signs(40, 10, 1, first=5000),
        "valid": signs(60, 8, 2, first=3000),
        **changes,
    }
    return AuditInputs(model or Levels(), given.pop("test", signs(200, 4, 3)), **given)
