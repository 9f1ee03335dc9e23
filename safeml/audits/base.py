"""What every audit is given. An audit measures and records; it never sees a threshold."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from safeml.classifiers.base import Classifier
from safeml.config import InputSettings
from safeml.data.dataset import ImageDataset
from safeml.results import ModelOrigin

Progress = Callable[[str, int, int], None]


def silent(step: str, done: int, total: int) -> None:
    """A progress callback that shows nothing: `step` in words, `done` of `total`."""


@dataclass(frozen=True)
class AuditInputs:
    """The model under test and the data around it.

    test: the images that the verdict is spoken on.
    train, valid: what the model was trained and chosen on, where known (for leakage between splits only).
    contract: the settings that the classifier is fed by. origin: how its file was opened; None for a model made in memory.
    manifest: `training.json` of `safeml train`, decoded, where there is one.
    """

    classifier: Classifier
    test: ImageDataset
    train: ImageDataset | None = None
    valid: ImageDataset | None = None
    seed: int = 7
    progress: Progress = silent
    contract: InputSettings = field(default_factory=InputSettings)
    origin: ModelOrigin | None = None
    manifest: dict[str, Any] | None = None
