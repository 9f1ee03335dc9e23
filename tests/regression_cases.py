"""A regression model of any predictions, and numbered images with targets."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from safeml.classifiers.base import InputSpec
from safeml.classifiers.batches import BatchSize
from safeml.data.dataset import ImageDataset
from safeml.data.targets import Targets
from safeml.results import Gate
from safeml.settings.targets import TargetSettings
from safeml.stages.regression import RegressionSettings
from tests.fakes import numbered_images

DEGREES = TargetSettings(name="tilt", unit="degrees", range=(-20.0, 20.0), tolerance=2.0)
FEW = RegressionSettings(bootstrap=100)


@dataclass(frozen=True, eq=False)
class Values:
    """A regression model with any predictions: float [N, T] by the number of the image (`tests.fakes.numbered_images`)."""

    table: np.ndarray
    name: str = "values"
    spec: InputSpec = field(default_factory=lambda: InputSpec(height=16, width=16, outputs="values"))
    parameters: int = 1
    fingerprint: str = "e" * 64
    notes: tuple[str, ...] = ()
    batch: BatchSize = field(default_factory=lambda: BatchSize(64))

    @property
    def classes(self) -> int:
        return self.table.shape[1]

    def predict_logits(self, images: np.ndarray) -> np.ndarray:
        place = images[:, 0, 0, 0].astype(np.int64) * 256 + images[:, 0, 1, 0]
        return self.table[place].astype(np.float32)

    def features(self, images: np.ndarray) -> np.ndarray:
        return images.reshape(len(images), -1).astype(np.float32)


def images_of(values: np.ndarray, *targets: TargetSettings, frames: int = 4) -> Any:
    """Return numbered images of these targets (float [N, T]), `frames` of each sign track."""
    count = len(values)
    tracks = np.arange(count, dtype=np.int64) // frames
    return ImageDataset(
        "numbered",
        numbered_images(count),
        np.zeros(count, np.int64),
        ("image",),
        tracks=tracks,
        targets=Targets(np.asarray(values, float).reshape(count, -1), targets or (DEGREES,)),
    )


def spread(count: int = 400) -> np.ndarray:
    return np.linspace(-19, 19, count)


def gate(name: str, op: str, threshold: float) -> Gate:
    return Gate(id="g", title="g", stage="regression", metric=name, op=op, threshold=threshold, rationale="r")
