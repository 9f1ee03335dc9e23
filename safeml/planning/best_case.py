"""What the stages record of a perfect model, by their own code. Legend: N images, K classes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, cast

import numpy as np

from safeml.audits import adversarial, balance, performance, training
from safeml.audits.base import AuditInputs
from safeml.audits.leakage import Split, leakage_metrics
from safeml.audits.slices import numbers
from safeml.classifiers.base import DifferentiableClassifier
from safeml.config import Config
from safeml.data.dataset import ImageDataset
from safeml.errors import SafemlError, first_line
from safeml.metrics.duplicates import pixel_digests
from safeml.metrics.hazard import cost_matrix
from safeml.planning.perfect import Call, NoModel, PerfectWork, no_answer
from safeml.planning.wrong import Signs, signs_of
from safeml.results import StageResult

# A perfect model has no spread over resamples, and what else is asked for here is not resampled.
RESAMPLES = 2


@dataclass(frozen=True, eq=False)
class Known:
    """What a plan is made from: settings and data, and of the model no more than its file says without being opened.

    name: of the model. gradient: whether it is of a kind that gives one. manifest: of its training, where there is one.
    untrained: whether its recipe is trained first, so that the manifest is still to come.
    """

    config: Config
    test: ImageDataset
    train: ImageDataset | None
    valid: ImageDataset | None
    name: str
    gradient: bool = True
    manifest: dict[str, Any] | None = None
    untrained: bool = False

    @cached_property
    def sample(self) -> ImageDataset:
        """The images that are attacked."""
        return self.blank.sample(self.config.stages.adversarial.images, self.config.run.seed)

    def sample_of(self, stage: str) -> ImageDataset:
        """The test images, or those of them that a stage attacks."""
        if stage == "physical":
            return self.blank.sample(self.config.stages.physical.images, self.config.run.seed)
        return self.sample if stage == "adversarial" else self.test

    @property
    def nobody(self) -> NoModel:
        """In place of the classifier."""
        return NoModel(self.name, self.test.classes, no_answer if self.gradient else None)

    @property
    def nobodys_copy(self) -> DifferentiableClassifier | None:
        """In place of the surrogate, where the settings name one."""
        if self.config.stages.adversarial.surrogate is None:
            return None
        return cast("DifferentiableClassifier", NoModel("surrogate", self.test.classes, no_answer))

    @cached_property
    def blank(self) -> ImageDataset:
        """The test images without their pixels, which no perfect model looks at."""
        return replace(self.test, images=np.zeros((len(self.test), 1, 1, 1), np.uint8), boxes=None)

    @cached_property
    def costs(self) -> np.ndarray:
        """float64 [K, K]: what a mistake costs, computed once for many runs."""
        return cost_matrix(self.test.class_names, None)


@dataclass(eq=False)
class BestCase:
    """Runs stages on a model that is right but for some signs, and keeps what it has run. calls: of each stage, in order."""

    known: Known
    calls: dict[str, list[Call]] = field(default_factory=dict)
    _kept: dict[tuple[str, bytes, bytes], StageResult] = field(default_factory=dict)

    def stages(self) -> list[StageResult]:
        """Every stage on a model that is always right; a stage that cannot be known before is left out."""
        known = self.known
        found = {
            "model": lambda: StageResult(stage="model", title="Model file"),
            "training": self._training,
            "performance": lambda: self.performance(_none(known.test)),
            "balance": self._balance,
            "adversarial": lambda: self.adversarial(_none(known.sample), attacked=True),
        }  # fmt: skip
        results = []
        for name in type(known.config.stages).model_fields:
            if not getattr(known.config.stages, name).enabled:
                reason = f"[stages.{name}] enabled = false in the configuration"
                results.append(StageResult(stage=name, title=name, status="skipped", reason=reason))
            elif name in found and not (name == "training" and known.untrained):
                results.append(_run(name, found[name]))
        return results

    def performance(self, wrong: np.ndarray) -> StageResult:
        """The stage on a model that gives the costliest wrong answer for the images in `wrong` (bool [N])."""
        known, labels = self.known, self.known.test.labels
        settings = known.config.stages.performance.model_copy(update={"bootstrap": RESAMPLES})
        costliest = (known.costs - 2 * np.eye(known.test.classes)).argmax(axis=1)
        work = PerfectWork(
            np.where(wrong, costliest[labels], labels), wrong, known.test.classes, numbers(known.test)
        )
        return self._once("performance", work, lambda inputs: performance.run(inputs, settings, known.costs))

    def adversarial(self, wrong: np.ndarray, attacked: bool) -> StageResult:
        """The stage on a model that has the images in `wrong` (bool [N] of the sample) wrong; attacked: only then."""
        known = self.known
        labels = known.sample.labels
        answers = labels if attacked else np.where(wrong, (labels + 1) % known.test.classes, labels)
        work = PerfectWork(answers, wrong, known.test.classes, numbers(known.sample))
        settings = known.config.stages.adversarial
        return self._once("adversarial", work, lambda inputs: adversarial.run(inputs, settings))

    def signs(self, stage: str, group: str) -> Signs:
        """The signs that a stage measures on; group: `class:NAME` or `family:NAME`, or "" for all."""
        data = self.known.sample if stage == "adversarial" else self.known.blank
        kind, _, name = group.partition(":")
        if kind == "class":
            return signs_of(data, data.labels == data.class_names.index(name))
        return signs_of(data, data.groups["family"] == name if kind == "family" else ~_none(data))

    def _balance(self) -> StageResult:
        """The counts of the stage, without its tables: these do not depend on a model at all."""
        known = self.known
        roles = (("test", known.test), ("train", known.train), ("valid", known.valid))
        splits = [Split(role, data, pixel_digests(data.images)) for role, data in roles if data is not None]
        metrics = [
            *leakage_metrics(splits),
            *(m for split in splits for m in balance.split_metrics(split)),
        ]
        return StageResult(stage="balance", title="Class balance", metrics=metrics)

    def _training(self) -> StageResult:
        return training.run(self._inputs(), self.known.config.stages.training)

    def _inputs(self) -> AuditInputs:
        """Images without pixels, and nobody to ask."""
        known = self.known
        return AuditInputs(
            known.nobody,
            known.blank,
            seed=known.config.run.seed,
            manifest=known.manifest,
            surrogate=known.nobodys_copy,
        )

    def _once(self, stage: str, work: PerfectWork, run: Callable[[AuditInputs], StageResult]) -> StageResult:
        """The stage on the model that `work` stands for, run once for each."""
        key = (stage, work.answers.tobytes(), work.broken.tobytes())
        if key not in self._kept:
            self._kept[key] = run(replace(self._inputs(), work=work))
            self.calls.setdefault(stage, work.calls)
        return self._kept[key]


def _none(dataset: ImageDataset) -> np.ndarray:
    return np.zeros(len(dataset), dtype=bool)


def _run(name: str, measure: Callable[[], StageResult]) -> StageResult:
    """The stage, or its error, as the pipeline records it."""
    try:
        return measure()
    except SafemlError as error:
        return StageResult(stage=name, title=name, status="error", reason=first_line(error, 300))
