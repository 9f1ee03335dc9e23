"""The inflation of validation accuracy by a random split of images, measured with the same recipe.

Frames of one sign are near duplicates. A split that separates them lets validation measure the recognition of signs
that were seen in training (track leakage).
"""

from __future__ import annotations

import numpy as np

from safeml.audits.base import AuditInputs
from safeml.audits.training.manifest import Inflation, Manifest
from safeml.results import Column, Fact, Finding, Table
from safeml.wording import MINUS, counted, number, percent

# Published accuracies on traffic signs differ by tenths of a point: half a point changes their order.
LARGE = 0.005


def points(difference: float) -> str:
    """Format a difference of proportions: `0.98 points`."""
    return f"{100 * difference:.2f} points".replace("-", MINUS)


def best_accuracy(manifest: Manifest) -> float:
    """Return the highest validation accuracy of all epochs, as the random split reports it."""
    return max(epoch.val_accuracy for epoch in manifest.epochs)


def inflation_fact(manifest: Manifest, random: Inflation) -> Fact:
    return Fact(
        label="On a random split",
        value=percent(random.val_accuracy),
        detail=f"against {percent(best_accuracy(manifest))}: {_compared(manifest, random)}",
    )


def inflation_table(inputs: AuditInputs, manifest: Manifest, random: Inflation) -> Table:
    return Table(
        id="random-split",
        title="The same recipe on a random split",
        columns=[
            Column(key="split", label="Split"),
            Column(key="images", label="Images", kind="number"),
            Column(key="shared", label="Images of signs in training", kind="number"),
            Column(key="accuracy", label="Best accuracy", kind="percent"),
            Column(key="epochs", label="Epochs", kind="number"),
        ],
        rows=[
            [
                "as trained",
                manifest.valid.images,
                _shared_images(inputs, manifest),
                best_accuracy(manifest),
                len(manifest.epochs),
            ],
            [
                "at random",
                random.images,
                random.images_of_shared_signs,
                random.val_accuracy,
                random.epochs,
            ],
        ],
        caption="Validation images, how many show a sign that is also in training, and the best accuracy on them. "
        "At random: the same images, pooled and split again image by image, and the same recipe, trained a second time: "
        f"{_compared(manifest, random)}. The model is not better; the measurement is biased.",
    )


def inflation_meaning(manifest: Manifest, random: Inflation) -> list[str]:
    share = random.images_of_shared_signs / random.images
    measured = (
        f"On a random split, {number(random.images_of_shared_signs)} of {counted(random.images, 'validation image')} "
        f"({percent(share)}) show a sign that is also in training; the best validation accuracy is then "
        f"{percent(random.val_accuracy)} instead of {percent(best_accuracy(manifest))}."
    )
    published = (
        "Published GTSRB notebooks that split at random report 0.996 and 1.00. Compare such figures with the random split "
        "here, not with a model that is measured on unseen signs."
    )
    return [measured, published]


def inflation_findings(manifest: Manifest) -> list[Finding]:
    random = manifest.inflation
    findings = []
    if manifest.settings.get("data.split") == "image":
        findings.append(
            Finding(
                code="split-by-image",
                severity="serious",
                message="The recipe splits at random, image by image, so validation shows signs that are also in training; "
                f"epoch {manifest.chosen.epoch} was selected on leaking data.",
                remedy='Set split = "track" in [data], or configure validation data of other signs, and train again.',
                evidence={"validation_images": manifest.valid.images},
            )
        )
    if random is not None and random.val_accuracy - best_accuracy(manifest) > LARGE:
        findings.append(
            Finding(
                code="random-split-flatters",
                severity="info",
                message=f"A random split of the same images would have given {percent(random.val_accuracy)} instead of "
                f"{percent(best_accuracy(manifest))} for the same recipe.",
                remedy="Compare this model with others only where the split keeps all images of a sign together.",
                evidence={
                    "difference_in_points": round(100 * (random.val_accuracy - best_accuracy(manifest)), 4),
                    "images_of_signs_in_training": random.images_of_shared_signs,
                    "images": random.images,
                },
            )
        )
    if random is not None and random.images != manifest.valid.images:
        findings.append(
            Finding(
                code="random-split-of-another-size",
                severity="warning",
                message=f"The random split was validated on {counted(random.images, 'image')} and this model on "
                f"{number(manifest.valid.images)}; a fair comparison needs equal numbers.",
                remedy="Train again with inflation = true.",
            )
        )
    return findings


def inflation_untested(manifest: Manifest) -> Fact | None:
    """Return the fact that no second training was measured, or None if it was."""
    if manifest.inflation is not None:
        return None
    if manifest.settings.get("data.split") == "image":
        return Fact(
            label="Split by sign", value="not measured", detail="this recipe splits at random, image by image"
        )
    return Fact(
        label="Random split",
        value="not measured",
        detail="inflation = true in the recipe measures the inflation of the accuracy",
    )


def _compared(manifest: Manifest, random: Inflation) -> str:
    difference = random.val_accuracy - best_accuracy(manifest)
    return f"{points(abs(difference))} {'higher' if difference >= 0 else 'lower'} at random"


def _shared_images(inputs: AuditInputs, manifest: Manifest) -> int | None:
    """Count validation images of the model's split that show a sign from training; None where tracks are not known."""
    train, valid = inputs.train, inputs.valid
    if train is None or valid is None or train.tracks is None or valid.tracks is None:
        return None
    if (train.fingerprint, valid.fingerprint) != (manifest.train.fingerprint, manifest.valid.fingerprint):
        return None
    return int(np.isin(valid.tracks, train.tracks).sum())
