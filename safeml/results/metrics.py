"""What a stage measures: metrics, findings, and the alarms that a metric can raise."""

from __future__ import annotations

from typing import Literal

from pydantic import model_validator

from safeml.results.base import Direction, Finite, Record, Scalar, Unit


class Metric(Record):
    """One measured number with its interval.

    `name` is a dotted id (`clean_accuracy`, `robust_accuracy.linf_4`), stable between runs.
    `value`, `low` and `high` are in `unit`; proportions are 0..1. `low`/`high` are None where no interval could be
    given honestly: then no gate passes on the value.
    `n` counts images (or whatever was counted), `signs` independent units behind them.
    `level` is the confidence of the interval; with `sides` = 1, of each end alone.
    `clustering` says how frames of one sign were accounted for; `census` is a complete count that has no sampling error.
    """

    name: str
    title: str
    value: Finite | None
    status: Literal["ok", "undefined", "error"] = "ok"
    reason: str = ""
    low: Finite | None = None
    high: Finite | None = None
    level: float = 0.95
    sides: Literal[1, 2] = 2
    method: str = ""
    n: int = 0
    signs: Finite | None = None
    design_effect: Finite | None = None
    clustering: Literal["tracks", "declared", "independent", "census", "unknown"] = "unknown"
    direction: Direction = "up"
    unit: Unit = "proportion"
    slice: str = "all"

    @classmethod
    def undefined(
        cls,
        name: str,
        title: str,
        reason: str,
        *,
        direction: Direction = "up",
        unit: Unit = "proportion",
        slice: str = "all",
        level: float = 0.95,
        n: int = 0,
    ) -> Metric:
        """Return a metric without a value; reason: a clause that says why."""
        return cls(
            name=name,
            title=title,
            value=None,
            status="undefined",
            reason=reason,
            level=level,
            n=n,
            direction=direction,
            unit=unit,
            slice=slice,
        )

    @classmethod
    def count(
        cls,
        name: str,
        title: str,
        value: float,
        n: int,
        *,
        direction: Direction = "down",
        unit: Unit = "count",
        slice: str = "all",
        method: str = "complete count",
    ) -> Metric:
        """Return a complete count over `n` items: a census, so both ends of its interval are the value."""
        return cls(
            name=name,
            title=title,
            value=value,
            low=value,
            high=value,
            method=method,
            n=n,
            clustering="census",
            direction=direction,
            unit=unit,
            slice=slice,
        )

    @model_validator(mode="after")
    def _value_matches_status(self) -> Metric:
        if (self.status == "ok") != (self.value is not None):
            raise ValueError(f"metric {self.name}: a value is given exactly when the status is ok")
        if self.status != "ok" and not self.reason:
            raise ValueError(f"metric {self.name}: a metric without a value states its reason")
        if (self.low is None) != (self.high is None):
            raise ValueError(f"metric {self.name}: an interval has both ends or none")
        return self


class Finding(Record):
    """A problem or note with its evidence and a remedy."""

    code: str
    severity: Literal["info", "warning", "serious"]
    message: str
    remedy: str = ""
    evidence: dict[str, Scalar] = {}


class Alarm(Record):
    """A level of a metric beyond which its value may not stay without a gate or an owner.

    metric: name, as in `Metric`.
    slices: exact names, or with a colon at the end a prefix of names from the data.
    direction: which way is better.
    level: the alarm is raised where the value is worse than this level.
    sentence: what such a value means, for the reader of the verdict.
    unless: another metric of the stage; where it was measured, its alarm speaks for this one. "" for none.
    accepted_with: another metric of the stage, which is undefined where this alarm is raised; an entry in [[accepted]] for it
        accepts the alarm, too. "" for none.
    control: the metric says whether the measurement works, not how good the model is: it is named only where it raises the alarm.
    """

    metric: str
    slices: list[str] = ["all"]
    direction: Direction = "up"
    level: Finite
    sentence: str
    unless: str = ""
    accepted_with: str = ""
    control: bool = False

    def reads(self, metric: Metric) -> bool:
        """Return whether the alarm is about this metric."""
        return metric.name == self.metric and any(
            metric.slice.startswith(name) if name.endswith(":") else metric.slice == name
            for name in self.slices
        )

    def is_raised_by(self, metric: Metric) -> bool:
        """Return whether the value of this metric is worse than the level, or a count that is not complete.

        A metric without a value raises no alarm.
        """
        if not self.reads(metric) or metric.value is None:
            return False
        if metric.unit == "count" and metric.low is None:  # what was not counted could be beyond the level
            return True
        return metric.value < self.level if self.direction == "up" else metric.value > self.level
