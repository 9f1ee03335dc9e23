"""The stage *comparison*: what the model under test lost against a reference model, on the same images."""

from __future__ import annotations

from pydantic import Field

from safeml.results import Alarm, Finite, Gate
from safeml.settings.base import Epsilon
from safeml.settings.model import ReferenceSettings
from safeml.stages.base import CLASSES, NO_AUTHORITY, Declared, Stage, StageTable, at_most

DROP = "accuracy_drop speaks for it"
ATTACKED = "robust_accuracy_drop counts the same images, and robust_accuracy of the adversarial stage has more attacks"


class ComparisonSettings(StageTable):
    """Settings of the stage. Without a reference it is not part of the run.

    largest_loss: the largest share of its frames that a sign track may lose net, for the bound of the accuracy drop. 1 assumes
            nothing; a smaller share is an assumption of yours, which fewer sign tracks can prove a drop with, and which the
            images may refute.
    attacked_images: number of test images attacked on both models; 0 for none.
    steps: of PGD, on each.
    epsilon: of PGD in the L-inf norm, in pixel units of 0..1.
    explained_images: number of test images whose maps (occlusion) are compared; 0 for none.
    resamples: for the intervals of the calibration difference and of the similarity of the maps.
    reference: the model to compare with.
    """

    largest_loss: Finite = Field(default=1.0, gt=0, le=1)
    attacked_images: int = Field(default=300, ge=0, le=100_000)
    steps: int = Field(default=20, ge=1, le=10_000)
    epsilon: Epsilon = Field(default=4 / 255, gt=0, le=1)
    explained_images: int = Field(default=64, ge=0, le=100_000)
    resamples: int = Field(default=1000, ge=100, le=100_000)
    reference: ReferenceSettings | None = None


def _records(settings: ComparisonSettings) -> tuple[Declared, ...]:
    rows = [
        Declared("accuracy_drop", "down", -1.0),
        Declared("negative_flips", "down", slices=("all", CLASSES)),
        Declared(
            "agreement",
            context="a change of an incorrect prediction lowers it too; negative_flips does not count those",
        ),
        Declared("recall_drop", "down", -1.0, slices=(CLASSES,), context=DROP),
        Declared(
            "recall_drop_worst_class",
            "down",
            -1.0,
            weak="the largest of many noisy differences; gate recall_worst_class of the stage performance",
            context=DROP,
        ),
        Declared(
            "smooth_ece_shift", "down", -1.0, context="smooth_ece_excess of the stage calibration is gated"
        ),
    ]
    if settings.explained_images:
        rows.append(
            Declared(
                "map_agreement",
                "up",
                -1.0,
                plain=True,
                context="no standard says how alike maps must be; the drops are gated",
            )
        )
    if settings.attacked_images:
        rows += [
            Declared("robust_accuracy_drop", "down", -1.0),
            Declared("transfer_from_reference", "down", context=ATTACKED),
            Declared("transfer_to_reference", "down", context=ATTACKED),
        ]
    return tuple(rows)


ALARMS = (
    Alarm(
        metric="negative_flips",
        direction="down",
        level=0.05,
        sentence="The model under test misclassifies more than one in twenty images that the reference classifies correctly.",
    ),
)

GATES = (
    Gate(
        id="accuracy-drop",
        title="Accuracy lost against the reference, by sign",
        stage="comparison",
        metric="accuracy_drop",
        op="<=",
        threshold=0.01,
        rationale=f"The margin of non-inferiority: a smaller loss counts as none. {NO_AUTHORITY}",
    ),
    Gate(
        id="negative-flips",
        title="Images that only the reference classifies correctly",
        stage="comparison",
        metric="negative_flips",
        op="<=",
        threshold=0.01,
        rationale="Equal accuracy can hide new mistakes: each negative flip is a sign that the reference reads and this model "
        f"does not. {NO_AUTHORITY}",
    ),
    Gate(
        id="robust-drop",
        title="Robust accuracy lost against the reference, PGD",
        stage="comparison",
        metric="robust_accuracy_drop",
        op="<=",
        threshold=0.02,
        rationale=f"A model that is compressed must not become easier to attack. {NO_AUTHORITY}",
    ),
)

COMPARISON = Stage(
    name="comparison",
    title="Comparison with a reference",
    summary="with [stages.comparison.reference]: accuracy lost by sign, negative flips, agreement, calibration and robust accuracy "
    "on the same images",
    settings=ComparisonSettings,
    run="safeml.audits.comparison.run:run",
    records=_records,
    gates=GATES,
    alarms=lambda settings: ALARMS,
    standard=lambda settings, gated: at_most(settings, attacked_images=150, explained_images=32),
    quick=lambda settings, gated: at_most(
        settings, attacked_images=64, explained_images=16, steps=10, resamples=100
    ),
    needs=("reference", "quantization"),
    only_with="reference",
    perfect="safeml.audits.comparison.perfect:PERFECT",
)
