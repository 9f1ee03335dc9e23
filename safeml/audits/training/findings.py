"""Findings on the identity of model and data, the selected epoch, and the validation set.

Legend: K classes, E epochs.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

from safeml.audits.base import AuditInputs
from safeml.audits.training.inflation import points
from safeml.audits.training.manifest import DataUsed, Manifest
from safeml.data.dataset import ImageDataset
from safeml.results import Finding
from safeml.wording import counted, number

ROUNDED = 4
FEW_SIGNS = 30  # with fewer, one sign track changes accuracy by more than three points
NAMED = 3
LISTED = 5


class Identified(Protocol):
    """What a record of a training says of the model and its data."""

    @property
    def fingerprint(self) -> str: ...
    @property
    def train(self) -> DataUsed: ...
    @property
    def valid(self) -> DataUsed: ...


def identity_findings(inputs: AuditInputs, manifest: Identified) -> list[Finding]:
    """Check that the manifest belongs to this model and these data."""
    findings = []
    if manifest.fingerprint != inputs.classifier.fingerprint:
        findings.append(
            Finding(
                code="another-model",
                severity="serious",
                message="The manifest belongs to another model: its fingerprint differs from that of the model under test.",
                remedy="Audit the checkpoint that the manifest names, or train again.",
                evidence={"manifest": manifest.fingerprint, "model": inputs.classifier.fingerprint},
            )
        )
    for role, used in (("trained", manifest.train), ("chosen", manifest.valid)):
        if used.fingerprint == inputs.test.fingerprint:
            findings.append(
                Finding(
                    code=f"{role}-on-test",
                    severity="serious",
                    message=f"The model was {role} on the test set itself, so the verdict is not on unseen images.",
                    remedy="Test on images used neither in training nor for the selection of a checkpoint.",
                    evidence={"fingerprint": used.fingerprint},
                )
            )
    for role, used, given in (
        ("train", manifest.train, inputs.train),
        ("valid", manifest.valid, inputs.valid),
    ):
        if given is not None and given.fingerprint != used.fingerprint:
            findings.append(
                Finding(
                    code=f"another-{role}-set",
                    severity="warning",
                    message=f"The configured {role} data differ from the {role} data in the manifest, "
                    "so leakage is checked against other images.",
                    remedy=f"Set [data.{role}] to the data recorded in the manifest.",
                    evidence={"manifest": used.fingerprint, "configuration": given.fingerprint},
                )
            )
    return findings


def choice_findings(manifest: Manifest) -> list[Finding]:
    """Check that the selected epoch is the best one, and report the optimism of the selection."""
    findings = []
    chosen, E = manifest.chosen, len(manifest.epochs)
    if manifest.best.better_than(chosen, manifest.monitor) or manifest.chosen_value != chosen.monitored(
        manifest.monitor
    ):
        findings.append(
            Finding(
                code="not-the-best-epoch",
                severity="serious",
                message=f"Epoch {chosen.epoch} is recorded as the best, but by {manifest.monitor} the best is epoch "
                f"{manifest.best.epoch}, or the recorded value differs from that of the epoch.",
                remedy="Train again; the manifest contradicts itself.",
                evidence={
                    "recorded": manifest.chosen_value,
                    "chosen": chosen.epoch,
                    "best": manifest.best.epoch,
                },
            )
        )
    if not chosen.file:
        findings.append(
            Finding(
                code="chosen-not-saved",
                severity="warning",
                message=f"Epoch {chosen.epoch} is the model, but the manifest records no checkpoint for it.",
                remedy="Train again, so that the checkpoint of the selected epoch is saved.",
                evidence={"chosen": chosen.epoch, "epochs": E},
            )
        )
    if E > 1:
        findings.append(
            Finding(
                code="choice-flatters",
                severity="info",
                message=f"The checkpoint is the best of {counted(E, 'epoch')} on the validation images, "
                "so its validation accuracy is optimistic.",
                remedy="Use the clean accuracy on the test set instead.",
                evidence={
                    "epochs": E,
                    "accuracy_chosen": chosen.val_accuracy,
                    "accuracy_median": float(np.median([epoch.val_accuracy for epoch in manifest.epochs])),
                },
            )
        )
    return findings + _equal(manifest) + _tied(manifest) + _within_one_sign(manifest)


def _equal(manifest: Manifest) -> list[Finding]:
    """Report epochs with exactly equal values: their order decides."""
    chosen = manifest.chosen
    value = chosen.monitored(manifest.monitor)
    equal = [e.epoch for e in manifest.epochs if e.monitored(manifest.monitor) == value]
    if len(equal) == 1:
        return []
    first = "the earlier one" if len(equal) == 2 else "the earliest one"
    which = first if chosen.epoch == equal[0] else f"epoch {chosen.epoch}"
    return [
        Finding(
            code="epochs-equal",
            severity="info",
            message=f"The values of {manifest.monitor} of epochs {_listed(equal)} are equal; {which} was selected.",
            evidence={"chosen": chosen.epoch, "equal": len(equal) - 1},
        )
    ]


def _listed(epochs: list[int]) -> str:
    more = f" and {number(len(epochs) - LISTED)} more" if len(epochs) > LISTED else ""
    return ", ".join(map(str, epochs[:LISTED])) + more


def _tied(manifest: Manifest) -> list[Finding]:
    """Report epochs with equal values in their file names but different values at full precision."""
    chosen = manifest.chosen
    value = chosen.monitored(manifest.monitor)
    ties = [
        e.epoch
        for e in manifest.epochs
        if e.monitored(manifest.monitor) != value
        and round(e.monitored(manifest.monitor), ROUNDED) == round(value, ROUNDED)
    ]
    if not ties:
        return []
    return [
        Finding(
            code="rounded-names-tie",
            severity="info",
            message=f"Epochs {_listed([chosen.epoch, *ties])} have the same {manifest.monitor} in {ROUNDED} decimals; "
            "the selection is by full precision, not by file name.",
            evidence={"chosen": chosen.epoch, "tied": len(ties)},
        )
    ]


def one_sign(manifest: Manifest) -> float | None:
    """Return the mean share of one sign track in validation accuracy; None where tracks are not counted."""
    return None if manifest.valid.signs is None else 1 / manifest.valid.signs


def _within_one_sign(manifest: Manifest) -> list[Finding]:
    """Report epochs that differ by less than one sign track; `_equal` reports those with equal values."""
    worth, chosen = one_sign(manifest), manifest.chosen
    if worth is None or manifest.monitor != "val_accuracy":
        return []
    near = [e.epoch for e in manifest.epochs if 0 < abs(e.val_accuracy - chosen.val_accuracy) < worth]
    if not near:
        return []
    which = f"epoch {near[0]}" if len(near) == 1 else f"{number(len(near))} other epochs"
    return [
        Finding(
            code="choice-within-one-sign",
            severity="info",
            message=f"Epoch {chosen.epoch} differs from {which} by less than one sign track ({points(worth)}), "
            "so the difference is not significant.",
            remedy="Validate on more signs, and do not interpret the differences between these epochs.",
            evidence={
                "validation_signs": manifest.valid.signs,
                "epochs_within_one_sign": len(near),
                "first": near[0],
            },
        )
    ]


def validation_findings(inputs: AuditInputs, manifest: Manifest) -> list[Finding]:
    """Check that validation has enough sign tracks to select an epoch."""
    findings = []
    signs = manifest.valid.signs
    if signs is not None and signs < FEW_SIGNS:
        findings.append(
            Finding(
                code="few-validation-signs",
                severity="warning",
                message=f"The validation images show {counted(signs, 'sign track')}, "
                f"so each track changes accuracy by {points(1 / signs)}.",
                remedy="Hold out more signs; more images of the same signs do not help.",
                evidence={"signs": signs, "images": manifest.valid.images},
            )
        )
    valid = known_valid(inputs, manifest)
    per_class = None if valid is None else _signs_by_class(valid)
    if valid is not None and per_class is not None and per_class.min() <= 1:
        scarce = np.flatnonzero(per_class <= 1)
        names = ", ".join(f'"{valid.class_names[k][:60]}"' for k in scarce[:NAMED])
        more = f" and {number(len(scarce) - NAMED)} more" if len(scarce) > NAMED else ""
        findings.append(
            Finding(
                code="classes-with-one-validation-sign",
                severity="warning",
                message=f"{counted(len(scarce), 'class has', 'classes have')} at most one sign track in validation "
                f"({names}{more}): they hardly influenced the selection of the epoch.",
                remedy="Hold out at least two signs of each class.",
                evidence={
                    "classes": len(scarce),
                    "without_any": int((per_class == 0).sum()),
                    "of": len(per_class),
                },
            )
        )
    return findings


def known_valid(inputs: AuditInputs, manifest: Manifest) -> ImageDataset | None:
    """Return the configured validation images if they are those of the manifest, else None."""
    if inputs.valid is not None and inputs.valid.fingerprint == manifest.valid.fingerprint:
        return inputs.valid
    return None


def _signs_by_class(valid: ImageDataset) -> np.ndarray | None:
    """Count the sign tracks of each class, int64 [K]; None where tracks are not known."""
    if valid.tracks is not None:
        each = np.unique(np.stack([valid.labels, valid.tracks]), axis=1)
        return np.bincount(each[0], minlength=valid.classes)
    if valid.frames_per_sign == 1:
        return np.bincount(valid.labels, minlength=valid.classes)
    return None
