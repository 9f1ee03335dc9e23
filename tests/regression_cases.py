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
from tests.fakes import Answers, numbered_images

DEGREES = TargetSettings(name="tilt", unit="degrees", range=(-20.0, 20.0), tolerance=2.0)
FEW = RegressionSettings(bootstrap=100)


@dataclass(frozen=True, eq=False)
class Values(Answers):
    """A regression model with any predictions: float [N, T] by the number of the image (`tests.fakes.numbered_images`)."""

    name: str = "values"
    spec: InputSpec = field(default_factory=lambda: InputSpec(height=16, width=16, outputs="values"))
    parameters: int = 1
    fingerprint: str = "e" * 64
    batch: BatchSize = field(default_factory=lambda: BatchSize(64))


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
