"""A stage with alarms, what an owner accepts of it, and the verdict on both."""

from __future__ import annotations

from safeml.gates import decide
from safeml.results import (
    Accepted,
    Gate,
    StageResult,
    Ungated,
    Verdict,
)
from safeml.stages.alarms import with_alarms
from safeml.stages.physical import PATCH, PHYSICAL, WORST, PhysicalSettings
from tests.sample_run import TODAY, gate, metric, stage

CLEAN = stage("performance", metrics=[metric("clean_accuracy")])


GATE = gate("clean", "clean_accuracy")


def physical(worst: float | None = 0.0, patch: float | None = 0.984, **fields: object) -> StageResult:
    """A result of the stage physical, with the alarms of its row."""
    metrics = [
        metric(WORST, worst, 0.0, title="Accuracy under the worst threat to the sign"),
        metric("physical_accuracy.shadow", 0.2, 0.1, title="Accuracy under threat: shadow"),
        metric(PATCH, patch, 0.0, title="Success of the universal patch", direction="down"),
    ]
    result = StageResult(stage="physical", title="Physical threats", metrics=metrics, **fields)  # type: ignore[arg-type]
    return with_alarms(result, PHYSICAL.alarms(PhysicalSettings()))


def accept(name: str = "", owner: str = "A. Owner", stage: str = "physical") -> Accepted:
    return Accepted(stage=stage, metric=name, reason="Prints are out of scope", owner=owner)


def verdict(found: StageResult, *accepted: Accepted, more: tuple[Gate, ...] = ()) -> Verdict:
    return decide([CLEAN, found], [GATE, *more], TODAY, accepted=accepted)


def entry(decided: Verdict, name: str) -> Ungated:
    [one] = [one for one in decided.ungated if one.metric is not None and one.metric.name == name]
    return one
