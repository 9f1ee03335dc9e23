"""The stage *regression error*: errors of a regression model on clean images, and the share of them within the tolerance."""

from __future__ import annotations

import math

from pydantic import Field

from safeml.results import Alarm, Gate
from safeml.stages.base import GROUPS, HALF, NO_AUTHORITY, TARGETS, Declared, Stage, StageTable, at_most

# The images whose target lies in one part of its range.
PARTS = "part:"
NEEDS_TOLERANCE = "tolerance in [[data.targets]]"
# The fewest sign tracks whose lower end reaches 0.90 if all predictions are correct: 0.025^(1/36) = 0.903.
LEAST_SIGNS = 36
QUANTILES = (50, 90, 95, 99)
OF_SHARE = "within_tolerance reads the same errors against a limit that you declared"
SIGNED = "signed, and a limit on one side does not see the other; gate bias_magnitude"
NO_BOUND = "the largest error of a sample, which bounds no other image; gate error_p99"


class RegressionSettings(StageTable):
    """Settings of the stage.

    bootstrap: resamples for the intervals of RMSE, MAE, bias and R2.
    parts: equal parts of the range of a target, whose weakest is reported.
    """

    bootstrap: int = Field(default=1000, ge=100, le=100_000)
    parts: int = Field(default=6, ge=2, le=50)


def _error(name: str, weak: str = "", low: float = 0.0, context: str = OF_SHARE) -> Declared:
    """Declare an error in the unit of the target; lower is better. With several targets, each has its slice."""
    return Declared(name, "down", low, math.inf, ("all", TARGETS), weak=weak, context=context, plain=True)


RECORDS = (
    Declared("within_tolerance", requires=NEEDS_TOLERANCE),
    Declared(
        "within_tolerance_by_sign", context="the same images as within_tolerance", requires=NEEDS_TOLERANCE
    ),
    Declared(
        "within_tolerance_worst_part", weakest_of=PARTS, least_signs=LEAST_SIGNS, requires=NEEDS_TOLERANCE
    ),
    Declared(
        "within_tolerance_worst_group",
        weakest_of=GROUPS,
        least_signs=LEAST_SIGNS,
        requires=f"[data] groups and {NEEDS_TOLERANCE}",
    ),
    Declared(
        "within_tolerance_of",
        slices=(PARTS, GROUPS),
        context="within_tolerance_worst_part has the weakest part",
        requires=NEEDS_TOLERANCE,
    ),
    _error("rmse"),
    _error("mae"),
    _error("bias", SIGNED, -math.inf, "bias_magnitude has its size"),
    _error("bias_magnitude"),
    *(_error(f"error_p{share}") for share in QUANTILES),
    _error("error_max", NO_BOUND),
    Declared("r2", "up", -math.inf, 1.0, ("all", TARGETS), plain=True, context="rmse in units of the spread"),
)

ALARMS = (
    Alarm(
        metric="within_tolerance_worst_part",
        level=HALF,
        sentence="In one part of the range most predictions miss the target by more than the tolerance.",
    ),
    Alarm(
        metric="within_tolerance_worst_group",
        level=HALF,
        sentence="Most predictions of the weakest group miss the target by more than the tolerance.",
    ),
    Alarm(
        metric="r2",
        slices=[TARGETS],
        level=0.0,
        sentence="The model predicts a target worse than its mean, which needs no image.",
    ),
)

GATES = (
    Gate(
        id="within-tolerance",
        title="Predictions within the tolerance, on clean images",
        stage="regression",
        metric="within_tolerance",
        op=">=",
        threshold=0.95,
        rationale=f"The tolerance is yours; the share that may miss it is a starting point. {NO_AUTHORITY}",
    ),
    Gate(
        id="within-tolerance-worst-part",
        title="Predictions within the tolerance, weakest part of the range",
        stage="regression",
        metric="within_tolerance_worst_part",
        op=">=",
        threshold=0.80,
        rationale="An average over frequent targets hides a model that fails at rare ones, such as a sharp turn. Parts of fewer than "
        f"{LEAST_SIGNS} sign tracks are named as untested. {NO_AUTHORITY}",
    ),
)

REGRESSION = Stage(
    name="regression",
    title="Regression error",
    summary="for regression models: RMSE, MAE, bias, R2, quantiles of the absolute error, the share within the tolerance and its weakest "
    "part of the range",
    settings=RegressionSettings,
    run="safeml.audits.regression.run:run",
    records=lambda settings: RECORDS,
    gates=GATES,
    alarms=lambda settings: ALARMS,
    quick=lambda settings, gated: at_most(settings, bootstrap=200),
    only_with="targets",
    heads=("regression",),
    perfect="safeml.audits.regression.perfect:PERFECT",
)
