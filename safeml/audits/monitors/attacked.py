"""Attacked test images: by an adversary who attacks the model alone, and by one who knows the monitor too.

Legend: N images, H W C pixels, K classes, F features.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from safeml.attacks.base import AttackOutcome, Budget
from safeml.audits.adversarial.measure import measure as judged
from safeml.audits.base import AuditInputs
from safeml.audits.measured import CleanSample
from safeml.audits.monitors.fitted import Fitted
from safeml.audits.monitors.outputs import Judged, Outputs
from safeml.audits.slices import Slices, numbers
from safeml.classifiers.base import differentiable, is_differentiable
from safeml.classifiers.batches import BatchSize, until_it_fits
from safeml.data.dataset import ImageDataset
from safeml.errors import SafemlError
from safeml.metrics.classification import right_answers
from safeml.sealed import Arrays, Form
from safeml.stages.monitors import ATTACKED, KNOWING, MonitorsSettings, attacked_names
from safeml.threats import Threat
from safeml.work import Cost

SLICE = 256
BATCH = 64
# (images [N, H, W, C], labels [N], ids [N], batch) -> what the attack gives back.
Attacking = Callable[[np.ndarray, np.ndarray, np.ndarray, int], AttackOutcome]


def attacked_sets(
    inputs: AuditInputs, settings: MonitorsSettings, data: ImageDataset, fitted: Fitted, width: int
) -> tuple[dict[str, Judged], dict[str, str], Slices]:
    """Return the attacked sets, why others are missing (a clause each), and the slices that were stored.

    data: the clean test images. width: F; 0 for no features.
    """
    wanted = attacked_names(settings)
    batch = BatchSize(BATCH)
    slices = Slices(inputs.work, SLICE, {"attacks": batch})
    if not wanted:
        return {}, {}, slices
    if not is_differentiable(inputs.classifier):
        reason = "the model gives no gradient; for an exported file, set model.gradients"
        return {}, dict.fromkeys(wanted, reason), slices
    campaign = _Campaign(
        inputs, settings, data.sample(settings.attacked_images, inputs.seed), width, slices, batch
    )
    sets, missing = {ATTACKED: campaign.blind()}, {}
    if KNOWING in wanted:
        reason = unknowable(inputs, fitted, width)
        if reason:
            missing[KNOWING] = reason
        else:
            sets[KNOWING] = campaign.knowing(fitted, sets[ATTACKED])
    return sets, missing, slices


def unknowable(inputs: AuditInputs, fitted: Fitted, width: int) -> str:
    """Return why the score of the deployed monitor cannot be attacked, as a clause; "" where it can."""
    from safeml.attacks.knowing import feature_width
    from safeml.attacks.monitor_scores import needs_features

    if fitted.threshold.value is None:
        return fitted.reason or "no monitor has a threshold"
    if not needs_features(fitted.deployed):
        return ""
    image = inputs.test.images[:1].astype(np.float32) / np.float32(255)
    try:
        given = feature_width(differentiable(inputs.classifier), image)
    except SafemlError:
        return "the model gives no gradient of its features"
    if given != width:
        return f"the model that gives the gradients has {given:,} features, and the file has {width:,}"
    return ""


@dataclass(frozen=True, eq=False)
class _Campaign:
    """Attacks on one sample, stored slice by slice."""

    inputs: AuditInputs
    settings: MonitorsSettings
    sample: ImageDataset
    width: int
    slices: Slices
    batch: BatchSize

    @property
    def threat(self) -> Threat:
        return Threat(norm="linf", epsilon=self.settings.epsilon)

    def blind(self) -> Judged:
        """Attack with PGD, which does not know the monitor."""
        from safeml.attacks.registry import ATTACKS

        steps = self.settings.steps
        model = differentiable(self.inputs.classifier)

        def attack(images: np.ndarray, labels: np.ndarray, ids: np.ndarray, batch: int) -> AttackOutcome:
            budget = Budget(steps, 1, self.inputs.seed, batch)
            return ATTACKS["pgd"](model, images, labels, self.threat, budget, ids)

        return self._judged(ATTACKED, "monitors: attacked images", attack, {"steps": steps}, steps, 1)

    def knowing(self, fitted: Fitted, blind: Judged) -> Judged:
        """Attack model and monitor; where that fails, the adversary takes what the blind attack gives."""
        from safeml.attacks.knowing import KnownMonitor, knowing, monitored

        threshold = fitted.threshold.value
        assert threshold is not None
        monitor = KnownMonitor(
            fitted.deployed,
            fitted.arrays,
            threshold,
            fitted.unit,
            lambda logits, features: fitted.scores(fitted.deployed, Outputs(logits, features)),
        )
        view = monitored(differentiable(self.inputs.classifier), monitor)
        steps, restarts = self.settings.knowing_steps, self.settings.knowing_restarts

        def attack(images: np.ndarray, labels: np.ndarray, ids: np.ndarray, batch: int) -> AttackOutcome:
            budget = Budget(steps, restarts, self.inputs.seed, batch)
            return knowing(view, images, labels, self.threat, budget, ids)

        parts: dict[str, float | str] = {
            "steps": steps,
            "restarts": restarts,
            "score": fitted.deployed,
            "threshold": threshold,
        }
        step = "monitors: images attacked by an adversary who knows the monitor"
        own = self._judged(KNOWING, step, attack, parts, steps, restarts)
        trusted = fitted.trusted(own.outputs)
        assert trusted is not None
        best = own.outputs.where(~own.hits & trusted, blind.outputs)
        return Judged(best, own.labels, own.clustering)

    def _judged(
        self,
        name: str,
        step: str,
        attack: Attacking,
        parts: dict[str, float | str],
        steps: int,
        attempts: int,
    ) -> Judged:
        """Attack slice by slice, clip what the attack returns to the threat, and ask the model for its outputs."""
        sample, classifier, threat = self.sample, self.inputs.classifier, self.threat
        ids = numbers(sample)

        def compute(rows: slice) -> Arrays:
            images, labels = sample.images[rows].astype(np.float32) / np.float32(255), sample.labels[rows]
            logits = classifier.predict_logits(images)
            clean = CleanSample(images, labels, logits, right_answers(logits, labels))
            outcome = until_it_fits(
                self.batch, lambda batch: attack(images.copy(), labels.copy(), ids[rows], batch)
            )
            changed = judged(classifier, clean, outcome, threat).attacked
            arrays = {"logits": np.asarray(classifier.predict_logits(changed), np.float32)}
            if self.width:
                features = np.asarray(classifier.features(changed), np.float32)
                arrays["features"] = features.reshape(len(changed), -1)
            return arrays

        form: Form = {"logits": ("float32", (sample.classes,))}
        if self.width:
            form = {**form, "features": ("float32", (self.width,))}
        arrays = self.slices.measure(
            name,
            {"images": sample.images, "labels": sample.labels, "ids": ids},
            {"threat": threat.model_dump(mode="json"), **parts, "batch": self.batch.first},
            form,
            compute,
            lambda done: self.inputs.progress(step, done, len(sample)),
            Cost(steps * attempts, attempts, True, threat.norm),
        )
        return Judged(Outputs(arrays["logits"], arrays.get("features")), sample.labels, sample.clustering)
