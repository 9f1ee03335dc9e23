"""The inputs of every audit. An audit measures and records; it never sees a threshold."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any

from pydantic import BaseModel

from safeml.classifiers.base import Classifier, DifferentiableClassifier
from safeml.classifiers.batches import BatchSize
from safeml.data.dataset import ImageDataset
from safeml.data.targets import Targets
from safeml.results import Artefact, ModelOrigin, Provenance
from safeml.settings.model import InputSettings, SurrogateSettings
from safeml.work import Progress, Work, keep_nothing, silent

# (name, content) -> the record of the artefact, which the stage lists in its result.
HandOver = Callable[[str, bytes], Artefact]


@dataclass(frozen=True)
class Reference:
    """The model that the model under test is compared with.

    bytes: size of its file; 0 where it is not known.
    """

    classifier: Classifier
    bytes: int = 0


@dataclass(frozen=True)
class AuditInputs:
    """The model under test and the data around it.

    test: the images of the verdict.
    train, valid: training and validation images, where known (only for leakage between splits).
    contract: the input contract of the classifier.
    origin: how its file was opened; None for a model created in memory.
    manifest: `training.json` of `safeml train`, decoded, where it exists.
    surrogate: another model of the same task for transfer attacks, where configured.
    reference: the model that the model under test is compared with, where configured.
    quantization: `quantization.json` of `safeml quantize`, decoded, where it lies beside the model.
    ood: images that are not of the classes of the model, where configured; their labels mean nothing.
    export: `export.json` of `safeml export`, decoded, where it lies beside the model.
    work: stores results slice by slice.
    hand_over: stores a file that belongs to the evidence; outside of a run it is recorded and not stored.
    predicting: batch size of prediction.
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
    reference: Reference | None = None
    quantization: dict[str, Any] | None = None
    export: dict[str, Any] | None = None
    ood: ImageDataset | None = None
    work: Work = keep_nothing
    hand_over: HandOver = Artefact.of
    predicting: BatchSize = field(default_factory=lambda: BatchSize(1))

    @property
    def targets(self) -> Targets | None:
        """Return the targets of the test images; None for a classifier."""
        return self.test.targets

    def provenance(self, settings: BaseModel, data: str = "") -> Provenance:
        """Return what the numbers of a stage belong to; `safeml.pipeline` gives it to a result that has none.

        data: fingerprint of the measured images; by default that of the test images.
        The folder of another model is left out, because it would disclose a path of the machine.
        """
        values = settings.model_dump(mode="json")
        for name, value in settings:
            if isinstance(value, SurrogateSettings):
                values[name]["path"] = PurePath(value.path).name
        return Provenance(
            model=self.classifier.fingerprint,
            data=data or self.test.fingerprint,
            settings=values,
            seed=self.seed,
        )
