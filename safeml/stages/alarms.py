"""The alarms of a stage's row, written into its result: declared levels, and a finding for each that is raised."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from safeml.not_gated import ALARM_FINDING
from safeml.results import Accepted, Alarm, Finding, Metric, StageResult
from safeml.stages.base import Stage, StageTable
from safeml.wording import limit_quantity, quantity

REMEDY = "Improve the model for this case. Unless a gate reads the metric, set a limit in [[gates]], or name in [[accepted]] who accepts it and why."
NO_LIMIT = "No limit is set by default, because no standard sets one and few models would pass. The report states the value."


def with_alarms(result: StageResult, alarms: Sequence[Alarm]) -> StageResult:
    """Return a stage's result with its alarms, and with a serious finding for each metric that raises one."""
    if result.status != "ok" or not alarms:
        return result
    measured = {metric.name for metric in result.metrics if metric.value is not None}
    findings = [
        _finding(alarm, metric)
        for alarm in alarms
        for metric in result.metrics
        if alarm.is_raised_by(metric) and alarm.unless not in measured
    ]
    return result.model_copy(update={"alarms": list(alarms), "findings": [*findings, *result.findings]})


def _finding(alarm: Alarm, metric: Metric) -> Finding:
    value, level = quantity(metric.value, metric.unit), limit_quantity(alarm.level, metric.unit)
    title = metric.title or metric.name
    side = "below" if alarm.direction == "up" else "above"
    passed = metric.value is not None and (
        metric.value < alarm.level if alarm.direction == "up" else metric.value > alarm.level
    )
    compared = f"{side} the alarm level of {level}" if passed else "which is not a complete count"
    return Finding(
        code=ALARM_FINDING,
        severity="serious",
        message=f"{title}: {value}, {compared}. {alarm.sentence}",
        remedy=REMEDY,
        evidence={"metric": metric.name, "slice": metric.slice, "level": alarm.level},
    )


def default_accepted(row: Stage[Any], settings: StageTable) -> list[Accepted]:
    """Return an entry without an owner for each metric with an alarm of a stage without default gates.

    A metric whose alarm only replaces that of another one needs none. The alarms of a stage with gates, and those that few
    models or data raise, wait until they are raised.
    """
    if row.gates or not row.alarms_expected:
        return []
    return [
        Accepted(stage=row.name, metric=alarm.metric, slice=name, reason=NO_LIMIT)
        for alarm in row.alarms(settings)
        if not alarm.unless
        for name in alarm.slices
        if not name.endswith(":")
    ]
