"""What every audit is given. An audit measures and records; it never sees a threshold."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from safeml.classifiers.base import Classifier, DifferentiableClassifier
from safeml.classifiers.batches import BatchSize
from safeml.data.dataset import ImageDataset
from safeml.results import ModelOrigin
from safeml.settings.model import InputSettings
from safeml.work import Progress, Work, keep_nothing, silent


@dataclass(frozen=True)
class AuditInputs:
    """The model under test and the data around it.

    test: the images that the verdict is spoken on.
    train, valid: what the model was trained and chosen on, where known (for leakage between splits only).
    contract: the settings that the classifier is fed by. origin: how its file was opened; None for a model made in memory.
    manifest: `training.json` of `safeml train`, decoded, where there is one.
    surrogate: another model of the same task, on which transfer attacks are made, where the settings name one.
    work: keeps what is measured, slice by slice. predicting: how many images the classifier answers at a time.
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
    surrogate: DifferentiableClassifier | None = None
    work: Work = keep_nothing
    predicting: BatchSize = field(default_factory=lambda: BatchSize(1))
