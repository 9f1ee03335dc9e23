"""The stages on a perfect model, computed by their own code. Legend: N images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, cast

import numpy as np

from safeml.audits.base import AuditInputs, Reference
from safeml.audits.judged import judged_data
from safeml.audits.perfect import Call, NoModel, Perfect, Simulated, no_answer
from safeml.audits.slices import numbers
from safeml.classifiers.base import DifferentiableClassifier
from safeml.config.audit import Config
from safeml.data.dataset import ImageDataset
from safeml.errors import SafemlError, first_line
from safeml.pipeline import applying, other_head
from safeml.planning.perfect import PerfectWork
from safeml.planning.wrong import Signs, signs_of
from safeml.results import StageResult
from safeml.stages import STAGES, settings_of
from safeml.stages.adversarial import ADVERSARIAL
from safeml.stages.base import Stage, load
from safeml.stages.comparison import COMPARISON


@dataclass(frozen=True, eq=False)
class PlanData:
    """The inputs of a plan: settings, data, and facts about the model that need no loading.

    name: of the model.
    gradient: whether its format supports gradients.
    manifest: of its training, if it exists.
    records: of its quantization and export, by their names in `AuditInputs`.
    ood: images from outside the classes, if they are configured.
    untrained: its recipe is trained first, so the manifest does not exist yet.
    """

    config: Config
    test: ImageDataset
    train: ImageDataset | None
    valid: ImageDataset | None
    name: str
    gradient: bool = True
    manifest: dict[str, Any] | None = None
    records: Mapping[str, Any] = field(default_factory=dict)
    untrained: bool = False
    ood: ImageDataset | None = None
    _samples: dict[int, ImageDataset] = field(default_factory=dict)

    def images_of(self, stage: Stage[Any]) -> ImageDataset | None:
        """Return the test images that a stage measures, without their pixels; None where it measures none."""
        size = stage.images(settings_of(self.config.stages, stage))
        if size == 0:
            return None
        if size is None:
            return self.blank
        if size not in self._samples:
            self._samples[size] = self.blank.sample(size, self.config.run.seed)
        return self._samples[size]

    @property
    def no_model(self) -> NoModel:
        """Return the placeholder of the classifier."""
        answer = no_answer if self.gradient else None
        return NoModel(self.name, len(self.test.outputs), answer, head=self.config.head)

    @property
    def no_surrogate(self) -> DifferentiableClassifier | None:
        """Return the placeholder of the surrogate, if one is configured."""
        if settings_of(self.config.stages, ADVERSARIAL).surrogate is None:
            return None
        return cast("DifferentiableClassifier", NoModel("surrogate", self.test.classes, no_answer))

    @property
    def no_reference(self) -> Reference | None:
        """Return the placeholder of the reference, if one is configured."""
        if settings_of(self.config.stages, COMPARISON).reference is None:
            return None
        return Reference(NoModel("reference", self.test.classes, no_answer))

    @cached_property
    def blank(self) -> ImageDataset:
        """Return the test images without pixels, which a perfect model does not need."""
        test = judged_data(self.test)
        return replace(test, images=np.zeros((len(test), 1, 1, 1), np.uint8), boxes=None)

    def inputs(self, pixels: bool = False) -> AuditInputs:
        """Return the inputs of a stage without a model; pixels: include the pixels of the images."""
        return AuditInputs(
            self.no_model,
            self.test if pixels else self.blank,
            self.train if pixels else None,
            self.valid if pixels else None,
            seed=self.config.run.seed,
            manifest=self.manifest,
            surrogate=self.no_surrogate,
            reference=self.no_reference,
            ood=self.ood,
            **self.records,
        )


def perfect_of(stage: Stage[Any]) -> Perfect | None:
    """Return how a stage runs without a model; None if it cannot."""
    if not stage.perfect:
        return None
    perfect: Perfect = load(stage.perfect)
    return perfect


@dataclass(eq=False)
class BestCase:
    """Stages on models with known predictions, each run once.

    calls: the computations of each stage, by stage name.
    """

    data: PlanData
    calls: dict[str, list[Call]] = field(default_factory=dict)
    _results: dict[tuple[str, bytes, bytes], StageResult] = field(default_factory=dict)
    _inputs: dict[str, AuditInputs] = field(default_factory=dict)

    def stages(self) -> list[StageResult]:
        """Run every stage on a perfect model, except stages whose metrics depend on the model."""
        results = []
        for stage in applying(STAGES, self.data.config, self.data.inputs()):
            if not settings_of(self.data.config.stages, stage).enabled:
                reason = f"[stages.{stage.name}] enabled = false in the configuration"
                results.append(
                    StageResult(stage=stage.name, title=stage.title, status="skipped", reason=reason)
                )
                continue
            if self.data.config.head not in stage.heads:
                results.append(other_head(stage, self.data.config.head))
                continue
            perfect = perfect_of(stage)
            waits = self.data.untrained and "manifest" in stage.needs
            if perfect is not None and perfect.gates and (perfect.before_training or not waits):
                results.append(self._or_error(stage))
        return results

    def can_simulate(self, stage: Stage[Any]) -> bool:
        """Return whether the stage can run on a model that misclassifies given images."""
        perfect = perfect_of(stage)
        return perfect is not None and perfect.simulate is not None

    def is_model_free(self, name: str) -> bool:
        """Whether the stage asks the model for nothing, so that its metrics are known already."""
        perfect = next((perfect_of(stage) for stage in STAGES if stage.name == name), None)
        return perfect is not None and perfect.arrays is None

    def run(self, stage: Stage[Any], wrong: np.ndarray | None = None, metric: str = "") -> StageResult:
        """Run the stage on a model that classifies the images in `wrong` (bool [N] of its images) incorrectly.

        metric: the metric of interest.
        """
        perfect = perfect_of(stage)
        assert perfect is not None
        settings = settings_of(self.data.config.stages, stage)
        measure = perfect.run or load(stage.run)
        inputs = self._prepared(stage, perfect)
        images = self.data.images_of(stage)
        if perfect.simulate is None or images is None:
            return cast("StageResult", measure(inputs, settings))
        model = perfect.simulate(images, none_of(images) if wrong is None else wrong, metric)
        key = (stage.name, model.answers.tobytes(), model.broken.tobytes())
        if key not in self._results:
            work = PerfectWork(model, perfect.arrays, numbers(images))
            self._results[key] = measure(replace(inputs, work=work), settings)
            self.calls.setdefault(stage.name, work.calls)
        return self._results[key]

    def signs(self, stage: Stage[Any], group: str) -> Signs:
        """Return the sign tracks that a stage measures on; group: `class:NAME`, `family:NAME`, `group:COLUMN=VALUE`, `condition:COLUMN=VALUE`, or ""
        for all.
        """
        images, perfect = self.data.images_of(stage), perfect_of(stage)
        assert images is not None
        assert perfect is not None
        prepared = self._prepared(stage, perfect).test
        columns = prepared.groups if len(prepared) == len(images) else images.groups
        kind, _, name = group.partition(":")
        if kind == "class":
            return signs_of(images, images.labels == images.class_names.index(name))
        if kind in ("group", "condition"):
            kind, _, name = name.partition("=")
        return signs_of(images, columns[kind] == name if kind in columns else ~none_of(images))

    def _prepared(self, stage: Stage[Any], perfect: Perfect) -> AuditInputs:
        """Return the inputs of a stage, prepared once for all of its runs."""
        if stage.name not in self._inputs:
            self._inputs[stage.name] = perfect.prepare(self.data.inputs(perfect.pixels))
        return self._inputs[stage.name]

    def _or_error(self, stage: Stage[Any]) -> StageResult:
        """Return the stage, or its error, as the pipeline records it."""
        try:
            return self.run(stage)
        except SafemlError as error:
            return StageResult(
                stage=stage.name, title=stage.title, status="error", reason=first_line(error, 300)
            )


def correct_model(images: ImageDataset) -> Simulated:
    """Return the model that classifies every image correctly."""
    return Simulated(images.labels, none_of(images), images.classes)


def none_of(dataset: ImageDataset) -> np.ndarray:
    """Return bool [N], all False."""
    return np.zeros(len(dataset), dtype=bool)
