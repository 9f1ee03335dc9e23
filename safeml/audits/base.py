"""What every audit is given. An audit measures and records; it never sees a threshold."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from safeml.classifiers.base import Classifier, DifferentiableClassifier
from safeml.classifiers.batches import BatchSize
from safeml.config import InputSettings
from safeml.data.dataset import ImageDataset
from safeml.results import ModelOrigin
from safeml.sealed import Arrays, Form

Progress = Callable[[str, int, int], None]


def silent(step: str, done: int, total: int) -> None:
    """A progress callback that shows nothing: `step` in words, `done` of `total`."""


class Work(Protocol):
    """Where a stage's arrays are kept while it is measured, so that an interrupted run goes on from there."""

    def __call__(
        self, item: str, parts: Mapping[str, Any], form: Form, measure: Callable[[], Arrays]
    ) -> Arrays:
        """The arrays of one slice of one item: kept ones, or else those of `measure()`.

        item: a name of small letters, digits, `_`, `.` and `-`. parts: what the arrays depend on beside the stage's
        model, data and seed; JSON-able. form: the arrays that `measure` gives.
        """
        ...


def keep_nothing(item: str, parts: Mapping[str, Any], form: Form, measure: Callable[[], Arrays]) -> Arrays:
    """A `Work` that measures, and keeps nothing."""
    return measure()


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
