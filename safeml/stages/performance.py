"""The stage *performance*: accuracy on clean images, its weakest groups, the cost of mistakes."""

from __future__ import annotations

from pydantic import Field

from safeml.data.signs import FAMILY_OF
from safeml.results import Alarm, Gate
from safeml.stages.base import (
    CLASSES,
    FAMILIES,
    GROUPS,
    HALF,
    NO_AUTHORITY,
    Declared,
    Stage,
    StageTable,
    at_most,
)

# The fewest sign tracks whose lower end reaches the default limit of 0.90 if all are classified correctly: 0.025^(1/36) = 0.903.
LEAST_FAMILY_SIGNS = 36


class PerformanceSettings(StageTable):
    """Settings of the stage.

    bootstrap: resamples for the intervals of macro recall and macro F1.
    """

    bootstrap: int = Field(default=1000, ge=100, le=100_000)


RECORDS = (
    Declared("clean_accuracy", paired=True),
    Declared("accuracy_by_sign", context="the same images as clean_accuracy"),
    Declared("clean_error", "down", context="1 minus clean_accuracy"),
    Declared("hazard_weighted_error", "down"),
    Declared("macro_recall", context="recall_worst_class has the weakest of its classes"),
    Declared("macro_f1", context="recall_worst_class has the weakest of its classes"),
    Declared("recall_worst_class", weakest_of=CLASSES),
    Declared("recall_worst_family", weakest_of=FAMILIES, least_signs=LEAST_FAMILY_SIGNS),
    Declared(
        "accuracy_worst_group", weakest_of=GROUPS, least_signs=LEAST_FAMILY_SIGNS, requires="[data] groups"
    ),
    Declared(
        "accuracy",
        slices=(GROUPS,),
        context="accuracy_worst_group has the weakest group",
        requires="[data] groups",
    ),
    Declared("recall", slices=(CLASSES, FAMILIES), context="recall_worst_class has the weakest class"),
)

ALARMS = (
    Alarm(
        metric="recall_worst_class",
        level=HALF,
        sentence="The model does not recognise most images of its weakest class.",
    ),
    Alarm(
        metric="accuracy_worst_group",
        level=HALF,
        sentence="The model misclassifies most images of its weakest group.",
    ),
)

GATES = (
    Gate(
        id="clean-accuracy",
        title="Accuracy on clean images",
        stage="performance",
        metric="clean_accuracy",
        op=">=",
        threshold=0.95,
        rationale=f"Below the published accuracy of small networks on GTSRB (0.97 to 0.98). {NO_AUTHORITY}",
    ),
    Gate(
        id="worst-family-recall",
        title="Recall of the weakest sign family",
        stage="performance",
        metric="recall_worst_family",
        op=">=",
        threshold=0.90,
        rationale=(
            "An average hides a sign family that the model does not recognise. Families of fewer than "
            f"{LEAST_FAMILY_SIGNS} sign tracks cannot prove this limit; the report names them as untested. {NO_AUTHORITY}"
        ),
    ),
    Gate(
        id="hazard-weighted-error",
        title="Hazard-weighted error",
        stage="performance",
        metric="hazard_weighted_error",
        op="<=",
        threshold=0.02,
        rationale=f"Confusing Stop with Priority road costs more than confusing two speed limits. {NO_AUTHORITY}",
    ),
)


def _unsuited(metric: str, class_names: tuple[str, ...], costs: bool) -> str:
    """Without costs the hazard-weighted error is the error rate, which another gate reads."""
    known = costs or all(name in FAMILY_OF for name in class_names)
    if metric != "hazard_weighted_error" or known:
        return ""
    return "No costs are known for these classes, so every mistake costs 1; set [hazard] costs, then add the gate."


PERFORMANCE = Stage(
    name="performance",
    title="Performance",
    summary="accuracy; precision, recall, F1 by class and family; confusion; hazard-weighted cost",
    settings=PerformanceSettings,
    run="safeml.audits.performance.run:run",
    records=lambda settings: RECORDS,
    gates=GATES,
    alarms=lambda settings: ALARMS,
    quick=lambda settings, gated: at_most(settings, bootstrap=200),
    perfect="safeml.audits.performance.perfect:PERFECT",
    unsuited=_unsuited,
)
