"""A model that predicts by a threshold on the brightness, and images of one grey level each."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from safeml.audits.base import AuditInputs
from safeml.data.dataset import ImageDataset
from safeml.results import StageResult
from safeml.stages.perturbation import PerturbationSettings
from tests.fakes import Answers

TWO = ("contrast", "mist")


@dataclass(frozen=True, eq=False)
class Threshold(Answers):
    """Predicts class 1 where the mean pixel is above `level`, else class 0."""

    level: float = 100.0

    def predict_logits(self, images: np.ndarray) -> np.ndarray:
        bright = images.astype(float).mean(axis=(1, 2, 3)) > self.level
        return np.eye(2, dtype=np.float32)[bright.astype(int)] * 4


MODEL = Threshold(np.eye(2))


def flats(*levels: int, channels: int = 3) -> ImageDataset:
    """Images of one level each; class 1 is above 100. Each is a track of its own."""
    images = np.stack([np.full((16, 16, channels), level, np.uint8) for level in levels])
    labels = (np.array(levels) > 100).astype(np.int64)
    return ImageDataset("flats", images, labels, ("dark", "bright"), tracks=np.arange(len(levels)))


def settings(**changes: object) -> PerturbationSettings:
    return PerturbationSettings(**{"corruptions": TWO, "bootstrap": 100, **changes})


def value(result: StageResult, name: str, where: str = "all") -> float | None:
    [metric] = [m for m in result.metrics if (m.name, m.slice) == (name, where)]
    return metric.value


def shifted(count: int = 60, fitted: int = 40) -> tuple[AuditInputs, ImageDataset]:
    """A threshold model with logits of 4 and 0, and validation images of as many sign tracks, half of them near the threshold."""
    rng = np.random.default_rng(3)
    data = flats(*rng.integers(20, 240, count))
    valid = flats(*rng.integers(0, 256, 2 * fitted))
    valid = replace(valid, name="valid", tracks=1000 + np.arange(len(valid)))
    valid.images[:, 0, 0] = np.stack(
        [np.arange(len(valid)), np.full(len(valid), 7), np.zeros(len(valid))], axis=1
    )
    return AuditInputs(MODEL, data, valid=valid, seed=5), data
