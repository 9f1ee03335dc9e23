"""What a random split of images would have made of the same recipe: no better model, a worse ruler.

Frames of one sign are near copies. Where a split puts some of them on each side, validation measures how well signs are
recognised that were seen in training (track leakage).
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
    """A difference of proportions in words: `0.98 points`."""
    return f"{100 * difference:.2f} points".replace("-", MINUS)


def best_accuracy(made: Manifest) -> float:
    """The highest of the epochs, as the random split reports it, whatever the epoch was chosen by."""
    return max(epoch.val_accuracy for epoch in made.epochs)


def inflation_fact(made: Manifest, random: Inflation) -> Fact:
    return Fact(
        label="On a random split",
        value=percent(random.val_accuracy),
        detail=f"against {percent(best_accuracy(made))}: {_compared(made, random)}",
    )


def inflation_table(inputs: AuditInputs, made: Manifest, random: Inflation) -> Table:
    return Table(
        id="random-split",
        title="The same recipe on a random split",
        columns=[
            Column(key="split", label="Split"),
            Column(key="images", label="Images", kind="number"),
            Column(key="shared", label="of known signs", kind="number"),
            Column(key="accuracy", label="Best accuracy", kind="percent"),
            Column(key="epochs", label="Epochs", kind="number"),
        ],
        rows=[
            [
                "as trained",
                made.valid.images,
                _shared_images(inputs, made),
                best_accuracy(made),
                len(made.epochs),
            ],
            [
                "at random",
                random.images,
                random.images_of_shared_signs,
                random.val_accuracy,
                random.epochs,
            ],
        ],
        caption="Validation images, those of a sign that is in training, too, and the best accuracy on them. At random: the same "
        f"images, pooled and split anew image by image, and the same recipe, trained a second time: {_compared(made, random)}. "
        "That is no better model but a worse ruler.",
    )


def inflation_meaning(made: Manifest, random: Inflation) -> list[str]:
    share = random.images_of_shared_signs / random.images
    measured = (
        f"On a random split, {number(random.images_of_shared_signs)} of {counted(random.images, 'validation image')} "
        f"({percent(share)}) show a sign that is in training, too; the best validation accuracy is then "
        f"{percent(random.val_accuracy)} instead of {percent(best_accuracy(made))}."
    )
    published = (
        "Published GTSRB notebooks that split at random report 0.996 and 1.00: such figures compare with the random split "
        "here, and with no model that is measured on signs it has never seen."
    )
    return [measured, published]


def inflation_findings(made: Manifest) -> list[Finding]:
    random = made.inflation
    findings = []
    if made.settings.get("data.split") == "image":
        findings.append(
            Finding(
                code="split-by-image",
                severity="serious",
                message=f"The recipe splits at random, image by image, so validation shows signs that training has seen; the choice of epoch {made.chosen.epoch} rests on leaking data.",
                remedy='Set split = "track" in [data], or name validation data of other signs, and train again.',
                evidence={"validation_images": made.valid.images},
            )
        )
    if random is not None and random.val_accuracy - best_accuracy(made) > LARGE:
        findings.append(
            Finding(
                code="random-split-flatters",
                severity="info",
                message=f"A random split of the same images would have shown {percent(random.val_accuracy)} instead of {percent(best_accuracy(made))}, for the same recipe.",
                remedy="Compare this model with others only where the split keeps all images of a sign together.",
                evidence={
                    "difference_in_points": round(100 * (random.val_accuracy - best_accuracy(made)), 4),
                    "images_of_signs_in_training": random.images_of_shared_signs,
                    "images": random.images,
                },
            )
        )
    if random is not None and random.images != made.valid.images:
        findings.append(
            Finding(
                code="random-split-of-another-size",
                severity="warning",
                message=f"The random split was validated on {counted(random.images, 'image')} and this model on {number(made.valid.images)}; the comparison asks for the same number.",
                remedy="Train again with inflation = true.",
            )
        )
    return findings


def inflation_untested(made: Manifest) -> Fact | None:
    """What is said where the manifest has no second training."""
    if made.inflation is not None:
        return None
    if made.settings.get("data.split") == "image":
        return Fact(
            label="Split by sign", value="not measured", detail="this recipe splits at random, image by image"
        )
    return Fact(
        label="Random split",
        value="not measured",
        detail="inflation = true in the recipe shows by how much it would flatter",
    )


def _compared(made: Manifest, random: Inflation) -> str:
    difference = random.val_accuracy - best_accuracy(made)
    return f"{points(abs(difference))} {'higher' if difference >= 0 else 'lower'} at random"


def _shared_images(inputs: AuditInputs, made: Manifest) -> int | None:
    """Validation images of this model's own split that show a sign of its training; None where tracks are not known."""
    train, valid = inputs.train, inputs.valid
    if train is None or valid is None or train.tracks is None or valid.tracks is None:
        return None
    if (train.fingerprint, valid.fingerprint) != (made.train.fingerprint, made.valid.fingerprint):
        return None
    return int(np.isin(valid.tracks, train.tracks).sum())
