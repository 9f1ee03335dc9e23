"""The stage *fairness*: whether the accuracy is the same in the dark, in blurred and in small images, and in the user's groups."""

from __future__ import annotations

from safeml.results import Alarm, Gate
from safeml.stages.base import COLUMNS, CONDITIONS, GROUPS, HALF, NO_AUTHORITY, Declared, Stage, StageTable
from safeml.stages.performance import LEAST_FAMILY_SIGNS

# The columns whose largest accuracy gap the default gate reads.
GATED_CONDITIONS = ("brightness", "blur", "size")
# Smaller groups are named as untested, as small sign families are.
LEAST_GROUP_SIGNS = LEAST_FAMILY_SIGNS
ALARM_GAP = 0.1
NEEDS_GROUPS = "[data] groups"
ANY_GROUP = (CONDITIONS, GROUPS)
OWN_GATE = "the gaps of the conditions and of your groups have metrics over all of their columns"
PARITY = "classes need not be equally frequent in all groups; accuracy_gap_groups has the difference of the accuracy"


class FairnessSettings(StageTable):
    """Settings of the stage; it has none."""


RECORDS = (
    Declared(
        "accuracy_gap_conditions",
        "down",
        weakest_of=tuple(f"{CONDITIONS}{column}=" for column in GATED_CONDITIONS),
        least_signs=LEAST_GROUP_SIGNS,
    ),
    Declared("group_accuracy_worst", weakest_of=ANY_GROUP, least_signs=LEAST_GROUP_SIGNS),
    Declared(
        "accuracy_gap_groups",
        "down",
        weakest_of=GROUPS,
        least_signs=LEAST_GROUP_SIGNS,
        requires=NEEDS_GROUPS,
    ),
    Declared(
        "accuracy_gap",
        "down",
        slices=(COLUMNS,),
        weakest_of=ANY_GROUP,
        least_signs=LEAST_GROUP_SIGNS,
        context=OWN_GATE,
    ),
    Declared(
        "accuracy_ratio",
        slices=(COLUMNS,),
        weakest_of=ANY_GROUP,
        least_signs=LEAST_GROUP_SIGNS,
        context="accuracy_gap has the difference of the same two groups",
    ),
    Declared("group_accuracy", slices=ANY_GROUP, context="group_accuracy_worst has the weakest group"),
    Declared(
        "demographic_parity_difference", "down", slices=(COLUMNS,), context=PARITY, requires=NEEDS_GROUPS
    ),
    Declared("equalized_odds_difference", "down", slices=(COLUMNS,), context=PARITY, requires=NEEDS_GROUPS),
)

ALARMS = (
    Alarm(
        metric="group_accuracy_worst",
        level=HALF,
        sentence="The model misclassifies most images of its weakest group.",
    ),
    Alarm(
        metric="accuracy_gap_groups",
        direction="down",
        level=ALARM_GAP,
        sentence="The accuracies of two of your groups differ by more than ten points.",
    ),
)

GATES = (
    Gate(
        id="accuracy-gap-conditions",
        # Without a title the verdict has that of the metric, which names the conditions that were measured.
        stage="fairness",
        metric="accuracy_gap_conditions",
        op="<=",
        threshold=0.05,
        rationale=(
            "A sign must be recognised in the dark, out of focus and far away as it is in good conditions. "
            f"Groups of fewer than {LEAST_GROUP_SIGNS} sign tracks are left out, and the report names them as untested. {NO_AUTHORITY}"
        ),
    ),
)

FAIRNESS = Stage(
    name="fairness",
    title="Fairness",
    summary="accuracy gap and ratio by brightness, contrast, blur, size, aspect, family and your groups; demographic parity, equalised "
    "odds; the slices that fail most",
    settings=FairnessSettings,
    run="safeml.audits.fairness.run:run",
    records=lambda settings: RECORDS,
    gates=GATES,
    alarms=lambda settings: ALARMS,
    perfect="safeml.audits.fairness.perfect:PERFECT",
)
