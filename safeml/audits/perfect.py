"""How a plan runs a stage without a model: the stage's own code on arrays that a model of known answers would give.

A stage asks for its arrays slice by slice (`safeml.work.Work`). Each stage says beside its code which arrays a model would
give that classifies chosen images incorrectly and all others correctly. Legend: N images, M images of a slice, K classes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NoReturn

import numpy as np

from safeml.audits.base import AuditInputs
from safeml.classifiers.base import InputSpec
from safeml.classifiers.batches import BatchSize
from safeml.data.dataset import ImageDataset
from safeml.errors import StageError
from safeml.results import StageResult
from safeml.settings.model import Head
from safeml.work import FORWARD, Cost

Maker = Callable[[tuple[int, ...]], np.ndarray]


@dataclass(frozen=True, eq=False)
class Simulated:
    """A model of known answers on N images.

    answers: int64 [N], predicted class of each clean image.
    broken: bool [N], whether it is incorrectly classified under attack.
    classes: K.
    """

    answers: np.ndarray
    broken: np.ndarray
    classes: int

    def logits(self, rows: np.ndarray) -> np.ndarray:
        """Return float32 [M, K]: 10 for the predicted class, 0 for the others."""
        logits: np.ndarray = np.eye(self.classes, dtype=np.float32)[self.answers[rows]] * 10
        return logits


@dataclass(frozen=True, eq=False)
class Request:
    """One slice that a stage asks for.

    item, parts: see `Work`.
    rows: int [M], the images of the slice.
    """

    item: str
    parts: Mapping[str, Any]
    rows: np.ndarray


@dataclass(frozen=True)
class Call:
    """What a stage computes in one slice.

    images: in it.
    cost: for each of them.
    kept: the run folder holds it already.
    """

    item: str
    images: int
    cost: Cost = FORWARD
    kept: bool = False


def _runs(inputs: AuditInputs, settings: Any, untrained: bool) -> tuple[Literal["runs", "idle"], str]:
    return "runs", ""


@dataclass(frozen=True, eq=False)
class Perfect:
    """What a plan needs to run a stage without a model.

    arrays: the arrays of a slice by name; None where the stage asks the model for nothing.
    simulate: (images, bool [N] incorrectly classified, metric that is read) -> the model; None where a gate's limit cannot be
        searched for by simulation.
    run: in place of the stage's own function where only its metrics are wanted.
    calls: what is computed, where running the stage on `arrays` cannot tell. (inputs, settings, whether there is a gradient).
    gates: whether the metrics of a perfect model are known; otherwise its gates depend on the model.
    before_training: its metrics do not need the manifest of the training, which a plan of an untrained recipe lacks.
    pixels: it needs the pixels of the test images, not only their labels and tracks.
    prepare: what it does with its inputs before any answer of the model, once for all runs; its group columns are those of gates.
    state: whether it computes anything, with a note for the reader. (inputs, settings, whether the model is still untrained).
    """

    arrays: Callable[[Simulated, Request], Mapping[str, Maker]] | None = None
    simulate: Callable[[ImageDataset, np.ndarray, str], Simulated] | None = None
    run: Callable[[AuditInputs, Any], StageResult] | None = None
    calls: Callable[[AuditInputs, Any, bool], list[Call]] | None = None
    gates: bool = True
    pixels: bool = False
    prepare: Callable[[AuditInputs], AuditInputs] = lambda inputs: inputs
    before_training: bool = False
    state: Callable[[AuditInputs, Any, bool], tuple[Literal["runs", "idle"], str]] = _runs


@dataclass(eq=False)
class NoModel:
    """Takes the place of a model and is never asked. See `Classifier` for the fields.

    logits: `no_answer` for a model of a kind that gives gradients, None for any other.
    """

    name: str
    classes: int
    logits: Callable[[Any], Any] | None = None
    head: Head = "classification"
    spec: InputSpec = field(default_factory=lambda: InputSpec(height=1, width=1))
    parameters: int = 0
    fingerprint: str = ""
    notes: tuple[str, ...] = ()
    batch: BatchSize = field(default_factory=lambda: BatchSize(1))

    def predict_logits(self, images: np.ndarray) -> np.ndarray:
        """Raise StageError."""
        no_answer(images)

    def features(self, images: np.ndarray) -> np.ndarray:
        """Raise StageError."""
        no_answer(images)


def no_answer(images: Any) -> NoReturn:
    """Raise StageError."""
    raise StageError("a plan has no model to ask; its stages take arrays of known answers only.")
