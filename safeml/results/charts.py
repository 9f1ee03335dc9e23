"""Tables and charts as numbers, from which the report draws."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from safeml.results.base import Finite, Proportion, Record, Scalar, both_or_neither


class Column(Record):
    key: str
    label: str
    kind: Literal["text", "number", "percent", "id"] = "text"


class Table(Record):
    """Rows of scalars; a cell that was not measured is None."""

    id: str
    title: str
    columns: list[Column]
    rows: list[list[Scalar]]
    caption: str = ""
    fold: bool = False


class Series(Record):
    """One line of a curve. `low` and `high`, where given, are a band of the same length."""

    name: str
    x: list[Finite]
    y: list[Finite]
    low: list[Finite] | None = None
    high: list[Finite] | None = None
    role: Literal["main", "context", "bound"] = "context"

    @model_validator(mode="after")
    def _same_length(self) -> Series:
        given = [values for values in (self.y, self.low, self.high) if values is not None]
        if any(len(values) != len(self.x) for values in given) or (self.low is None) != (self.high is None):
            raise ValueError(f"series {self.name}: x, y and the ends of the band differ in length")
        return self


class Curve(Record):
    """Lines over a common axis.

    read_at: metric names with the x at which each lies on the main line, so that the limit of a gate can be drawn there.
    """

    id: str
    title: str
    x_label: str
    y_label: str
    series: list[Series]
    percent: bool = False
    x_ticks: list[tuple[Finite, str]] = []
    read_at: list[tuple[str, Finite]] = []
    caption: str = ""
    reading: list[str] = []


class Bars(Record):
    """Counts or values by category, in category order; `compare` is a second series drawn as an outline."""

    id: str
    title: str
    labels: list[str]
    values: list[Finite]
    compare: list[Finite] | None = None
    value_label: str = ""
    compare_label: str = ""
    caption: str = ""
    reading: list[str] = []

    @model_validator(mode="after")
    def _same_length(self) -> Bars:
        if any(len(values) != len(self.labels) for values in (self.values, self.compare or self.values)):
            raise ValueError(f"bars {self.id}: labels and values differ in number")
        return self


class Dot(Record):
    label: str
    value: Finite | None
    low: Finite | None = None
    high: Finite | None = None
    n: int = 0
    compare: Finite | None = None


class DotPlot(Record):
    """A proportion with its interval for each of many groups, weakest first."""

    id: str
    title: str
    dots: list[Dot]
    overall: Finite | None = None
    caption: str = ""
    reading: list[str] = []


class Matrix(Record):
    """Counts by row and column class (row = true, column = predicted); a percent of the row is drawn beside them."""

    id: str
    title: str
    row_labels: list[str]
    column_labels: list[str]
    values: list[list[int]]
    caption: str = ""
    reading: list[str] = []

    @model_validator(mode="after")
    def _same_shape(self) -> Matrix:
        if len(self.values) != len(self.row_labels) or any(
            len(row) != len(self.column_labels) for row in self.values
        ):
            raise ValueError(f"matrix {self.id}: labels and values differ in number")
        return self


class ReliabilityBin(Record):
    """The images whose confidence is from `start` to `end`.

    start, end: edges of the bin, 0..1. n: images in the bin.
    confidence, accuracy: their mean confidence and their accuracy, 0..1; None in an empty bin.
    low, high: consistency band, the accuracy that a perfectly calibrated model shows by chance with these counts.
    """

    start: Proportion
    end: Proportion
    confidence: Proportion | None = None
    accuracy: Proportion | None = None
    low: Proportion | None = None
    high: Proportion | None = None
    n: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _measured_together(self) -> ReliabilityBin:
        both_or_neither(self.confidence, self.accuracy, "reliability bin: confidence and accuracy")
        both_or_neither(self.low, self.high, "reliability bin")
        if self.end < self.start:
            raise ValueError("reliability bin: it ends before it starts")
        if (self.n > 0) != (self.accuracy is not None):
            raise ValueError("reliability bin: an accuracy is given exactly where the bin has images")
        return self


class Reliability(Record):
    """A reliability diagram: accuracy against confidence in bins, with the consistency band.

    compare: (confidence, accuracy) of a second model or state, such as before temperature scaling, drawn as rings.
    level: of the consistency band, 0..1.
    """

    id: str
    title: str
    bins: list[ReliabilityBin]
    compare: list[tuple[Proportion, Proportion]] = []
    compare_label: str = ""
    level: Proportion = 0.95
    caption: str = ""
    reading: list[str] = []
