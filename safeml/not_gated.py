"""What was measured and no gate reads: it is named beside the verdict, and beyond an alarm level it prevents a pass. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from safeml.results import MODEL, Accepted, Alarm, Gate, Metric, StageResult, Ungated, UngatedState
from safeml.wording import NOT_MEASURED, quantity

ORDER: tuple[UngatedState, ...] = ("alarm", "unsigned", "accepted", "noted")
# The code of the findings that are made from alarms.
ALARM_FINDING = "alarm"
UNSIGNED = "its entry in [[accepted]] names no owner"


def not_gated(
    stages: Sequence[StageResult], gates: Sequence[Gate], accepted: Sequence[Accepted]
) -> list[Ungated]:
    """Return what the stages measured and no gate reads, worst first, and the accepted entries without an owner.

    A metric is listed if its stage declares an alarm for it. A stage without gates and alarms is listed as a whole, and the
    serious findings of a stage without gates are listed, each.
    """
    entries: list[Ungated] = []
    used: list[Accepted] = []
    for stage in stages:
        if stage.status != "ok":
            continue
        own = [gate for gate in gates if (gate.subject, gate.stage) == (stage.subject, stage.stage)]
        for entry in [*_metrics(stage, own, accepted), *_stage(stage, own, accepted)]:
            entries.append(entry)
            used += [entry.accepted] if entry.accepted is not None else []
    entries += [_without_alarm(entry, stages) for entry in accepted if not entry.owner and entry not in used]
    return sorted(entries, key=_worst_first)


def _metrics(stage: StageResult, gates: list[Gate], accepted: Sequence[Accepted]) -> list[Ungated]:
    """Return the metrics for which the stage declares an alarm and which no gate reads."""
    read = {(gate.metric, gate.slice) for gate in gates}
    measured = {metric.name for metric in stage.metrics if metric.value is not None}
    entries = []
    for metric in stage.metrics:
        alarms = [alarm for alarm in stage.alarms if alarm.reads(metric) and alarm.unless not in measured]
        if alarms and (metric.name, metric.slice) not in read and not _control_held(alarms[0], metric):
            entry = _accepting(stage, metric, accepted, alarms[0].accepted_with)
            entries.append(_metric(stage, metric, alarms[0], entry))
    return entries


def _control_held(alarm: Alarm, metric: Metric) -> bool:
    """Return whether the metric shows that the measurement works: that is no property of the model."""
    return alarm.control and metric.value is not None and not alarm.is_raised_by(metric)


def _metric(stage: StageResult, metric: Metric, alarm: Alarm, accepted: Accepted | None) -> Ungated:
    raised = alarm.is_raised_by(metric)
    title, value = _title(metric), _value(metric)
    meaning = f" {alarm.sentence}" if raised else ""
    return Ungated(
        stage=stage.stage,
        subject=stage.subject,
        state=_state(raised, accepted),
        title=title,
        value=value,
        message=f"{title}: {value}; {_reader(accepted)}.{meaning}",
        metric=metric,
        accepted=accepted,
    )


def _stage(stage: StageResult, gates: list[Gate], accepted: Sequence[Accepted]) -> list[Ungated]:
    """Return a stage without gates: its serious findings, or its headline if it declares no alarm.

    The evidence of a finding may name the metric that it leaves undefined; an entry that accepts that metric accepts the finding.
    """
    if gates:
        return []
    made = []
    for finding in stage.findings:
        if finding.severity != "serious" or finding.code == ALARM_FINDING:
            continue
        entry = _accepting(stage, None, accepted, str(finding.evidence.get("metric", "")))
        made.append(
            Ungated(
                stage=stage.stage,
                subject=stage.subject,
                state=_state(True, entry),
                title=stage.title,
                value=finding.code.replace("_", " ").replace("-", " "),
                finding=finding.message.partition(". ")[0].removesuffix("."),
                message=f"{stage.title}: {_reader(entry)}. {finding.message}",
                accepted=entry,
            )
        )
    if made or stage.alarms or not stage.metrics:
        return made
    entry = _accepting(stage, None, accepted)
    headline = stage.card.headline if stage.card else ""
    message = f"{stage.title}{f': {headline}' if headline else ''}; {_reader(entry)}."
    return [
        Ungated(
            stage=stage.stage,
            subject=stage.subject,
            state=_state(False, entry),
            title=stage.title,
            value=headline,
            message=message,
            accepted=entry,
        )
    ]


def _accepting(
    stage: StageResult, metric: Metric | None, accepted: Sequence[Accepted], other: str = ""
) -> Accepted | None:
    """Return the entry that accepts this metric, else the one that accepts the metric `other`, else the one of its stage."""
    if stage.subject != MODEL:
        return None
    own = [entry for entry in accepted if entry.stage == stage.stage]
    exact = [entry for entry in own if metric and (entry.metric, entry.slice) == (metric.name, metric.slice)]
    related = [entry for entry in own if other and (entry.metric, entry.slice) == (other, "all")]
    return next(iter([*exact, *related, *(entry for entry in own if not entry.metric)]), None)


def _state(raised: bool, accepted: Accepted | None) -> UngatedState:
    if accepted is None:
        return "alarm" if raised else "noted"
    return "accepted" if accepted.owner else "unsigned"


def _reader(accepted: Accepted | None) -> str:
    if accepted is None:
        return "no gate reads it"
    if not accepted.owner:
        return f"no gate reads it, and {UNSIGNED}"
    return f"accepted without a gate by {accepted.owner}: {accepted.reason.rstrip('.')}"


def _without_alarm(entry: Accepted, stages: Sequence[StageResult]) -> Ungated:
    """Return an entry without an owner whose metric has no alarm, or was not measured: it is not signed either."""
    metric = next(
        (
            metric
            for stage in stages
            if (stage.stage, stage.subject) == (entry.stage, MODEL)
            for metric in stage.metrics
            if (metric.name, metric.slice) == (entry.metric, entry.slice)
        ),
        None,
    )
    if metric is None:
        title, value = (entry.metric or f"the stage {entry.stage}").replace("_", " "), NOT_MEASURED
    else:
        title, value = _title(metric), _value(metric)
    return Ungated(
        stage=entry.stage,
        state="unsigned",
        title=title,
        value=value,
        message=f"{title[:1].upper()}{title[1:]}: {value}; {UNSIGNED}.",
        metric=metric,
        accepted=entry,
    )


def _title(metric: Metric) -> str:
    title = metric.title or metric.name
    return title if metric.slice == "all" else f"{title} ({metric.slice})"


def _value(metric: Metric) -> str:
    if metric.value is None and metric.reason:
        return f"{NOT_MEASURED} ({metric.reason.rstrip('.')})"
    return quantity(metric.value, metric.unit)


def _worst_first(entry: Ungated) -> tuple[int, float, str, str, str]:
    """Sort by state, then by the distance of a proportion from its worst value; other units follow."""
    metric = entry.metric
    badness = 2.0
    if metric is not None and metric.value is not None and metric.unit == "proportion":
        badness = metric.value if metric.direction == "up" else 1 - metric.value
    return ORDER.index(entry.state), badness, entry.stage, entry.subject, entry.title
