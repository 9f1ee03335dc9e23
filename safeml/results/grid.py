"""A grid of proportions by row and column."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from safeml.results.base import Proportion, Record, both_or_neither


class GridCell(Record):
    """One cell of a grid.

    value: 0..1; None: not measured.
    low, high: ends of its confidence interval, 0..1; both or neither.
    n: images behind the value.
    """

    value: Proportion | None
    low: Proportion | None = None
    high: Proportion | None = None
    n: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _whole_interval(self) -> GridCell:
        both_or_neither(self.low, self.high, "grid cell")
        if self.value is None and self.low is not None:
            raise ValueError("grid cell: a cell without a value has no interval")
        return self


class GridRow(Record):
    label: str
    cells: list[GridCell]


class GridGroup(Record):
    """Rows under one heading; an empty heading draws none."""

    heading: str = ""
    rows: list[GridRow]


class GridMark(Record):
    """A place that a gate reads: one cell, or with `row` empty the whole column."""

    column: str
    row: str = ""


class GridRead(Record):
    """The place of a metric in a grid, so that the report can mark what a gate reads.

    metric, slice: as in `Metric`.
    row, column: labels; an empty one is every row or column. With both empty, the metric sums up the whole grid.
    """

    metric: str
    slice: str = "all"
    row: str = ""
    column: str = ""


class Grid(Record):
    """A proportion by row and column, for example accuracy by corruption and severity.

    columns: labels, each once. groups: rows in drawing order; each row has one cell a column.
    worse: which end of 0..1 is drawn dark. marks: cells or columns that a gate reads.
    reads: places of the metrics that a gate may read; the report turns those that a gate reads into marks.
    value_label, row_label, column_label: what the numbers, the rows and the columns are.
    fold: the report folds the figure, unless a gate reads it.
    """

    id: str
    title: str
    columns: list[str]
    groups: list[GridGroup]
    value_label: str = "accuracy"
    row_label: str = ""
    column_label: str = ""
    worse: Literal["low", "high"] = "low"
    marks: list[GridMark] = []
    reads: list[GridRead] = []
    caption: str = ""
    reading: list[str] = []
    fold: bool = False

    @property
    def rows(self) -> list[GridRow]:
        """The rows of all groups in drawing order."""
        return [row for group in self.groups for row in group.rows]

    @model_validator(mode="after")
    def _same_shape(self) -> Grid:
        if any(len(row.cells) != len(self.columns) for row in self.rows):
            raise ValueError(f"grid {self.id}: columns and cells differ in number")
        labels = [row.label for row in self.rows]
        if len(set(self.columns)) != len(self.columns) or len(set(labels)) != len(labels):
            raise ValueError(f"grid {self.id}: a row or column label occurs twice")
        for mark in self.marks:
            if mark.column not in self.columns or (mark.row and mark.row not in labels):
                raise ValueError(f"grid {self.id}: a mark names a row or column that the grid does not have")
        for read in self.reads:
            if read.column not in ("", *self.columns) or read.row not in ("", *labels):
                raise ValueError(
                    f"grid {self.id}: {read.metric} is at a row or column that the grid does not have"
                )
        return self
