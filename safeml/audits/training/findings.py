"""Whether the manifest speaks of this model, whether the chosen epoch is the best one, and how far validation carries.

Legend: K classes, E epochs.
"""

from __future__ import annotations

import numpy as np

from safeml.audits.base import AuditInputs
from safeml.audits.training.inflation import points
from safeml.audits.training.manifest import Manifest
from safeml.data.dataset import ImageDataset
from safeml.results import Finding
from safeml.wording import counted, number

ROUNDED = 4
FEW_SIGNS = 30  # with fewer, one sign is worth more than three points
NAMED = 3
LISTED = 5


def identity_findings(inputs: AuditInputs, made: Manifest) -> list[Finding]:
    """Whether the manifest speaks of this model and of these data."""
    findings = []
    if made.fingerprint != inputs.classifier.fingerprint:
        findings.append(
            Finding(
                code="another-model",
                severity="serious",
                message="The manifest belongs to another model: its fingerprint differs from that of the model under test.",
                remedy="Audit the checkpoint that the manifest names, or train again.",
                evidence={"manifest": made.fingerprint, "model": inputs.classifier.fingerprint},
            )
        )
    for role, used in (("trained", made.train), ("chosen", made.valid)):
        if used.fingerprint == inputs.test.fingerprint:
            findings.append(
                Finding(
                    code=f"{role}-on-test",
                    severity="serious",
                    message=f"The model was {role} on the very test set that the verdict is spoken on.",
                    remedy="Test on images that neither training nor the choice of a checkpoint has seen.",
                    evidence={"fingerprint": used.fingerprint},
                )
            )
    for role, used, given in (("train", made.train, inputs.train), ("valid", made.valid, inputs.valid)):
        if given is not None and given.fingerprint != used.fingerprint:
            findings.append(
                Finding(
                    code=f"another-{role}-set",
                    severity="warning",
                    message=f"The {role} data of the configuration are not those of the manifest, so leakage is checked against other images.",
                    remedy=f"Name in [data.{role}] the data that the model was made with.",
                    evidence={"manifest": used.fingerprint, "configuration": given.fingerprint},
                )
            )
    return findings


def choice_findings(made: Manifest) -> list[Finding]:
    """Whether the chosen epoch is the best one, and how much the choice flatters it."""
    findings = []
    chosen, E = made.chosen, len(made.epochs)
    if made.best.better_than(chosen, made.monitor) or made.chosen_value != chosen.monitored(made.monitor):
        findings.append(
            Finding(
                code="not-the-best-epoch",
                severity="serious",
                message=f"Epoch {chosen.epoch} is recorded as the best, but by {made.monitor} of the epochs it is epoch {made.best.epoch}, or the recorded value is another one.",
                remedy="Train again; the manifest contradicts itself.",
                evidence={"recorded": made.chosen_value, "chosen": chosen.epoch, "best": made.best.epoch},
            )
        )
    if not chosen.file:
        findings.append(
            Finding(
                code="chosen-not-saved",
                severity="warning",
                message=f"Epoch {chosen.epoch} is the model, but by the manifest it left no checkpoint.",
                remedy="Train again, so that the weights of the chosen epoch are those that were written.",
                evidence={"chosen": chosen.epoch, "epochs": E},
            )
        )
    if E > 1:
        findings.append(
            Finding(
                code="choice-flatters",
                severity="info",
                message=f"The checkpoint is the best of {counted(E, 'epoch')} on the validation images, so its validation accuracy is optimistic.",
                remedy="Read the clean accuracy on the test set instead.",
                evidence={
                    "epochs": E,
                    "accuracy_chosen": chosen.val_accuracy,
                    "accuracy_median": float(np.median([epoch.val_accuracy for epoch in made.epochs])),
                },
            )
        )
    return findings + _equal(made) + _tied(made) + _within_one_sign(made)


def _equal(made: Manifest) -> list[Finding]:
    """Epochs that no precision tells apart: then it is their order that decides."""
    chosen = made.chosen
    value = chosen.monitored(made.monitor)
    equal = [e.epoch for e in made.epochs if e.monitored(made.monitor) == value]
    if len(equal) == 1:
        return []
    first = "the earlier one" if len(equal) == 2 else "the earliest one"
    which = first if chosen.epoch == equal[0] else f"epoch {chosen.epoch}"
    return [
        Finding(
            code="epochs-equal",
            severity="info",
            message=f"The values of {made.monitor} of epochs {_listed(equal)} are equal; {which} was chosen.",
            evidence={"chosen": chosen.epoch, "equal": len(equal) - 1},
        )
    ]


def _listed(epochs: list[int]) -> str:
    more = f" and {number(len(epochs) - LISTED)} more" if len(epochs) > LISTED else ""
    return ", ".join(map(str, epochs[:LISTED])) + more


def _tied(made: Manifest) -> list[Finding]:
    """Epochs whose file names carry the same value though their full precision differs."""
    chosen = made.chosen
    value = chosen.monitored(made.monitor)
    ties = [
        e.epoch
        for e in made.epochs
        if e.monitored(made.monitor) != value
        and round(e.monitored(made.monitor), ROUNDED) == round(value, ROUNDED)
    ]
    if not ties:
        return []
    return [
        Finding(
            code="rounded-names-tie",
            severity="info",
            message=f"Epochs {_listed([chosen.epoch, *ties])} have the same {made.monitor} in {ROUNDED} decimals; the choice is by full precision, not by file name.",
            evidence={"chosen": chosen.epoch, "tied": len(ties)},
        )
    ]


def one_sign(made: Manifest) -> float | None:
    """What one sign is worth in validation accuracy, on average over the signs; None where they are not counted."""
    return None if made.valid.signs is None else 1 / made.valid.signs


def _within_one_sign(made: Manifest) -> list[Finding]:
    """Epochs that differ by less than a sign; those that do not differ at all are told of by `_equal`."""
    worth, chosen = one_sign(made), made.chosen
    if worth is None or made.monitor != "val_accuracy":
        return []
    near = [e.epoch for e in made.epochs if 0 < abs(e.val_accuracy - chosen.val_accuracy) < worth]
    if not near:
        return []
    which = f"epoch {near[0]}" if len(near) == 1 else f"{number(len(near))} other epochs"
    return [
        Finding(
            code="choice-within-one-sign",
            severity="info",
            message=f"Between epoch {chosen.epoch} and {which} lies less than one sign ({points(worth)}), so validation can hardly tell them apart.",
            remedy="Choose on more signs, and take no difference between these epochs for real.",
            evidence={
                "validation_signs": made.valid.signs,
                "epochs_within_one_sign": len(near),
                "first": near[0],
            },
        )
    ]


def validation_findings(inputs: AuditInputs, made: Manifest) -> list[Finding]:
    """Whether the validation images show enough different signs to choose an epoch by them."""
    findings = []
    signs = made.valid.signs
    if signs is not None and signs < FEW_SIGNS:
        findings.append(
            Finding(
                code="few-validation-signs",
                severity="warning",
                message=f"The validation images show {counted(signs, 'sign')}, so one sign is worth {points(1 / signs)} of accuracy.",
                remedy="Hold out more signs; more images of the same signs do not help.",
                evidence={"signs": signs, "images": made.valid.images},
            )
        )
    valid = known_valid(inputs, made)
    per_class = None if valid is None else _signs_by_class(valid)
    if valid is not None and per_class is not None and per_class.min() <= 1:
        scarce = np.flatnonzero(per_class <= 1)
        names = ", ".join(f'"{valid.class_names[k][:60]}"' for k in scarce[:NAMED])
        more = f" and {number(len(scarce) - NAMED)} more" if len(scarce) > NAMED else ""
        findings.append(
            Finding(
                code="classes-with-one-validation-sign",
                severity="warning",
                message=f"{counted(len(scarce), 'class has', 'classes have')} at most one sign in validation ({names}{more}): the epoch was chosen without knowing much of them.",
                remedy="Hold out at least two signs of each class.",
                evidence={
                    "classes": len(scarce),
                    "without_any": int((per_class == 0).sum()),
                    "of": len(per_class),
                },
            )
        )
    return findings


def known_valid(inputs: AuditInputs, made: Manifest) -> ImageDataset | None:
    """The validation images themselves, where they are given and are those of the manifest."""
    if inputs.valid is not None and inputs.valid.fingerprint == made.valid.fingerprint:
        return inputs.valid
    return None


def _signs_by_class(valid: ImageDataset) -> np.ndarray | None:
    """int64 [K], different signs of each class; None where tracks are not known."""
    if valid.tracks is not None:
        each = np.unique(np.stack([valid.labels, valid.tracks]), axis=1)
        return np.bincount(each[0], minlength=valid.classes)
    if valid.frames_per_sign == 1:
        return np.bincount(valid.labels, minlength=valid.classes)
    return None
