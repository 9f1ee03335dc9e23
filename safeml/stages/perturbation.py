"""The stage *perturbation*: accuracy under corruptions of the image, and in the worst of a grid of small changes."""

from __future__ import annotations

import math
from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from safeml.corruptions.rows import CORRUPTIONS, SEVERITIES
from safeml.results import Alarm, Gate
from safeml.settings.errors import suggest
from safeml.stages.base import HALF, NO_AUTHORITY, TARGETS, Declared, Stage, StageTable, at_most

ALL = tuple(CORRUPTIONS)
# An incorrect prediction of at least this confidence is an overconfident error.
CONFIDENT = 0.9
# Level of the conformal sets, in percent.
SET_LEVEL = 95
AT_RUN_TIME = "sets are made at run time by a monitor, not by the model file"


def _known(value: tuple[str, ...]) -> tuple[str, ...]:
    for name in value:
        if name not in CORRUPTIONS:
            raise ValueError(f'names "{name}", which is no corruption{suggest(name, list(CORRUPTIONS))}')
    if len(set(value)) != len(value):
        raise ValueError("repeats a corruption; name each once")
    return value


class PerturbationSettings(StageTable):
    """Settings of the stage.

    images: number of test images.
    corruptions: names; by default all.
    limit: accuracy below which a severity counts as too much for the model, 0..1.
    baseline_error: mean error of another model under the same corruptions, 0..1, by which mCE divides; without it the clean
        error of the measured model.
    rotation_degrees, shift, brightness, blur: ends of the grid: degrees each way, share of the width each way, share of the light
        each way, and deviation of the blur as a share of the side.
    bootstrap: resamples for the intervals of mCE.
    probe_images: training images with which a linear layer on the model's features is fitted, to measure whether the worst
        corruption in the augmentation would help; 0 for no such measurement. No metric depends on it.
    """

    images: int = Field(default=1000, ge=1, le=1_000_000)
    corruptions: Annotated[tuple[str, ...], AfterValidator(_known)] = Field(default=ALL, min_length=1)
    limit: float = Field(default=0.8, gt=0, lt=1)
    baseline_error: float | None = Field(default=None, gt=0, le=1)
    rotation_degrees: float = Field(default=8.0, ge=0, le=45)
    shift: float = Field(default=0.0625, ge=0, le=0.25)
    brightness: float = Field(default=0.25, ge=0, lt=1)
    blur: float = Field(default=0.02, ge=0, le=0.1)
    bootstrap: int = Field(default=200, ge=100, le=100_000)
    probe_images: int = Field(default=1000, ge=0, le=4000)

    @property
    def moves(self) -> bool:
        """Return whether the grid changes anything."""
        return max(self.rotation_degrees, self.shift, self.brightness, self.blur) > 0

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        if not self.moves:
            raise ValueError(
                "the grid changes nothing; set one of rotation_degrees, shift, brightness or blur above 0"
            )
        return self


CONFIDENCE = "corruption_ece_mean speaks for the confidence under corruptions"
# Errors of a regression model in the unit of its target; and what is defined for classes alone.
OF_TARGETS = ("corruption_mae_mean", "corruption_mae_worst", "corruption_mae")
OF_CLASSES = (
    "flip_probability",
    "corruption_ece_mean",
    "corruption_ece",
    "corruption_nll_mean",
    "corruption_nll",
    "corruption_set_coverage_mean",
    "corruption_set_coverage",
    "overconfident_errors",
)
TOGETHER = ("all", TARGETS)
NEEDS_TARGETS = "[[data.targets]]"
OF_SHARE = "corruption_accuracy_mean has the share of these errors within your tolerance"
FEW = "measured on fewer corruptions than all; leave out the setting corruptions in [stages.perturbation]"


def _records(settings: PerturbationSettings) -> tuple[Declared, ...]:
    weak = "" if set(settings.corruptions) == set(ALL) else FEW
    cells = tuple(f"{name}-{severity}" for name in settings.corruptions for severity in SEVERITIES)
    return (
        Declared("clean_accuracy_perturbation_sample", context="clean_accuracy has all images"),
        Declared(
            "corruption_accuracy_mean",
            slices=("all", *(f"severity-{severity}" for severity in SEVERITIES)),
            weak=weak,
        ),
        Declared("corruption_accuracy_worst", weak=weak),
        Declared(
            "corruption_accuracy",
            slices=(*settings.corruptions, *cells),
            context="corruption_accuracy_worst has the weakest corruption",
        ),
        Declared("mce", "down", 0.0, math.inf, context="corruption_accuracy_mean has the same errors"),
        Declared(
            "relative_mce",
            "down",
            -math.inf,
            math.inf,
            context="corruption_accuracy_mean has the same errors",
        ),
        Declared("grid_accuracy_worst"),
        Declared("flip_probability", "down", context="few test sets name the frames of a sign track"),
        Declared("corruption_ece_mean", "down", weak=weak),
        Declared("corruption_ece", "down", slices=cells, context="corruption_ece_mean has their mean"),
        Declared("corruption_nll_mean", "down", 0.0, math.inf, weak=weak, context=CONFIDENCE),
        Declared("corruption_nll", "down", 0.0, math.inf, slices=cells, context=CONFIDENCE),
        Declared("corruption_set_coverage_mean", weak=AT_RUN_TIME, context=AT_RUN_TIME),
        Declared("corruption_set_coverage", slices=cells, weak=AT_RUN_TIME, context=AT_RUN_TIME),
        Declared("overconfident_errors", "down", weak=weak, context=CONFIDENCE),
        *(
            Declared(
                name,
                "down",
                0.0,
                math.inf,
                where,
                weak=weak,
                context=OF_SHARE,
                requires=NEEDS_TARGETS,
                plain=True,
            )
            for name, where in zip(OF_TARGETS, (TOGETHER, TOGETHER, cells), strict=True)
        ),
    )


GATES = (
    Gate(
        id="corruption-accuracy",
        title="Mean accuracy over all corruptions and severities",
        stage="perturbation",
        metric="corruption_accuracy_mean",
        op=">=",
        threshold=0.80,
        rationale=f"A model for the road must classify signs in rain, at night and behind dirt. {NO_AUTHORITY}",
    ),
)

ALARMS = (
    Alarm(
        metric="corruption_accuracy_worst",
        level=HALF,
        sentence="Under its worst corruption the model misclassifies most images.",
    ),
    Alarm(
        metric="grid_accuracy_worst",
        level=HALF,
        sentence="A small change of position, light and focus together changes most predictions.",
    ),
    Alarm(
        metric="corruption_ece_mean",
        direction="down",
        level=0.1,
        sentence="Under corruptions the confidence of the model differs from its accuracy by more than ten points on average.",
    ),
)

PERTURBATION = Stage(
    name="perturbation",
    title="Perturbation",
    summary="accuracy under 33 corruptions at five severities (noise, blur, weather, road, camera), mCE, ECE and set coverage "
    "under each, worst of a grid of small changes",
    settings=PerturbationSettings,
    run="safeml.audits.perturbation.run:run",
    records=_records,
    gates=GATES,
    alarms=lambda settings: ALARMS,
    standard=lambda settings, gated: at_most(settings, images=500),
    quick=lambda settings, gated: at_most(settings, images=64, bootstrap=100, probe_images=256),
    images=lambda settings: settings.images,
    heads=("classification", "regression"),
    perfect="safeml.audits.perturbation.perfect:PERFECT",
)
