"""PGD with one budget on the model and on its reference, and each one's adversarial examples on the other. Legend: N images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from safeml.attacks.base import Budget
from safeml.audits.adversarial.measure import measure
from safeml.audits.base import AuditInputs, Reference
from safeml.audits.measured import CleanSample
from safeml.audits.slices import Slices, numbers
from safeml.classifiers.base import Classifier, differentiable
from safeml.classifiers.batches import BatchSize, until_it_fits
from safeml.data.dataset import ImageDataset
from safeml.metrics.classification import right_answers
from safeml.sealed import Arrays
from safeml.stages.comparison import ComparisonSettings
from safeml.threats import Threat
from safeml.work import Cost

BATCH = 64
SLICE = 256


@dataclass(frozen=True, eq=False)
class Attacked:
    """The result of PGD on one of the two models.

    right: bool [N], classified correctly when clean.
    robust: bool [N], classified correctly when clean and under attack.
    fools_other: bool [N], the other model misclassifies the attacked image.
    other_right: bool [N], the other model classifies the clean image correctly.
    """

    right: np.ndarray
    robust: np.ndarray
    fools_other: np.ndarray
    other_right: np.ndarray


FORM = dict.fromkeys(("right", "robust", "fools_other", "other_right"), ("bool", ()))


def attack_both(
    inputs: AuditInputs, reference: Reference, settings: ComparisonSettings, sample: ImageDataset
) -> tuple[Attacked, Attacked]:
    """Attack the model under test and its reference; the same images, budget and random starts."""
    model, other = inputs.classifier, reference.classifier
    return (
        _attacked(inputs, settings, sample, "attacked-model", model, other),
        _attacked(inputs, settings, sample, "attacked-reference", other, model),
    )


def threat_of(settings: ComparisonSettings) -> Threat:
    """Return the threat of the attack."""
    return Threat(norm="linf", epsilon=settings.epsilon)


def _attacked(
    inputs: AuditInputs,
    settings: ComparisonSettings,
    sample: ImageDataset,
    item: str,
    attacked: Classifier,
    other: Classifier,
) -> Attacked:
    threat, attacking = threat_of(settings), BatchSize(BATCH)
    slices = Slices(inputs.work, SLICE, {"attacks": attacking})
    pixels = sample.images.astype(np.float32) / np.float32(255)
    ids = numbers(sample)

    def compute(rows: slice) -> Arrays:
        from safeml.attacks.registry import ATTACKS

        images, labels = pixels[rows], sample.labels[rows]
        logits = attacked.predict_logits(images)
        clean = CleanSample(images, labels, logits, right_answers(logits, labels))
        outcome = until_it_fits(
            attacking,
            lambda batch: ATTACKS["pgd"](
                differentiable(attacked),
                images.copy(),
                labels.copy(),
                threat,
                Budget(settings.steps, 1, inputs.seed, batch),
                ids[rows],
            ),
        )
        measured = measure(attacked, clean, outcome, threat)
        return {
            "right": clean.right,
            "robust": measured.robust,
            "fools_other": ~right_answers(other.predict_logits(measured.attacked), labels),
            "other_right": right_answers(other.predict_logits(images), labels),
        }

    parts = {"threat": threat.model_dump(mode="json"), "steps": settings.steps, "batch": attacking.first}
    columns = {"images": pixels, "labels": sample.labels, "ids": ids}
    cost = Cost(settings.steps, 1, True, threat.norm)
    return Attacked(
        **slices.measure(
            item,
            columns,
            parts,
            FORM,
            compute,
            lambda done: inputs.progress(item.replace("-", " "), done, len(sample)),
            cost,
        )
    )
