"""The records that everything is derived from: plain, versioned, serialisable.

Audits write these, gates decide from them, reports draw them. No record knows a threshold but `Gate`,
and none holds an array. A number that could not be measured is `value=None` with a status and a reason:
it is never replaced by a number.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import date
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

SCHEMA_VERSION = 1

Scalar = bool | int | float | str | None


def _finite(value: float) -> float:
    if not math.isfinite(value):
        raise ValueError("is not finite; an unmeasured number is None with a status")
    return value


Finite = Annotated[float, AfterValidator(_finite)]
Proportion = Annotated[float, Field(ge=0, le=1)]

Direction = Literal["up", "down"]
Unit = Literal["proportion", "count", "ratio", "cost"]

MOST_PANELS = 120


def _both_or_neither(first: float | None, second: float | None, where: str) -> None:
    if (first is None) != (second is None):
        raise ValueError(f"{where}: an interval or a pair has both ends or neither")


def _not_the_index(name: str) -> str:
    if name == "index":
        raise ValueError("is the name of the verdict's page")
    return name


# A stage's name becomes a file name and a link.
StageName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,39}$"), AfterValidator(_not_the_index)]


# What the numbers of a stage belong to: MODEL is the model file of the settings, as it was trained.
MODEL = "model"
# The losses of the model against the run that `--baseline` names, on the same images.
BASELINE = "baseline"
# The metric LOSS + name is how much of the metric `name` was lost.
LOSS = "loss."
SubjectName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,39}$")]


class Record(BaseModel):
    """A frozen record; an unknown field is an error, so that a typing mistake is never evidence."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


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
    """

    metric: str
    slices: list[str] = ["all"]
    direction: Direction = "up"
    level: Finite
    sentence: str
    unless: str = ""

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


class Panel(Record):
    """One picture: `png` is base64 of a PNG that safeml encoded itself, never the user's bytes."""

    label: str
    png: str = Field(pattern=r"^iVBORw0KGgo[A-Za-z0-9+/]+={0,2}$", max_length=2_000_000)
    width: int = Field(ge=1, le=1024)
    height: int = Field(ge=1, le=1024)
    kind: Literal["image", "change"] = "image"


class GalleryItem(Record):
    panels: list[Panel]
    true_name: str
    true_confidence: Finite | None = None
    predicted_name: str = ""
    predicted_confidence: Finite | None = None
    index: int | None = None
    note: str = ""


class Gallery(Record):
    id: str
    title: str
    items: list[GalleryItem]
    caption: str = ""


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
        _both_or_neither(self.low, self.high, "grid cell")
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


class StripRow(Record):
    """One row of pictures; None: no picture for this column."""

    label: str = ""
    panels: list[Panel | None]


class Strip(Record):
    """One image under many conditions: a picture by row and column; `Panel.label` is printed under the picture.

    At most MOST_PANELS pictures, so that a page stays small. A single row wraps to the width of the page.
    """

    id: str
    title: str
    columns: list[str]
    rows: list[StripRow]
    caption: str = ""

    @model_validator(mode="after")
    def _same_shape(self) -> Strip:
        if any(len(row.panels) != len(self.columns) for row in self.rows):
            raise ValueError(f"strip {self.id}: columns and pictures differ in number")
        pictures = sum(panel is not None for row in self.rows for panel in row.panels)
        if pictures > MOST_PANELS:
            raise ValueError(f"strip {self.id}: {pictures} pictures; at most {MOST_PANELS} fit on a page")
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
        _both_or_neither(self.confidence, self.accuracy, "reliability bin: confidence and accuracy")
        _both_or_neither(self.low, self.high, "reliability bin")
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


Figure = Annotated[
    Table | Curve | Bars | DotPlot | Matrix | Grid | Reliability | Gallery | Strip, Field(union_mode="smart")
]


class Fact(Record):
    """One of the (at most five) facts at the head of a stage page."""

    label: str
    value: str
    detail: str = ""


class Card(Record):
    """A stage's card on the index: one number in words and the figure to draw small."""

    headline: str
    text: str
    figure_id: str = ""


class Provenance(Record):
    """What a stage's numbers belong to."""

    model: str
    data: str
    settings: dict[str, Any]
    seed: int
    key: str = ""


class StageResult(Record):
    """What one stage measured. `status` is about the stage itself, never about a limit.

    subject: what was measured, such as "model", "int8", "device" or "baseline".
    alarms: declared by the stage's row; raised or not is decided from `metrics`.
    """

    stage: StageName
    subject: SubjectName = MODEL
    title: str
    status: Literal["ok", "error", "skipped"] = "ok"
    reason: str = ""
    tested: str = ""
    on_what: str = ""
    facts: list[Fact] = []
    metrics: list[Metric] = []
    alarms: list[Alarm] = []
    findings: list[Finding] = []
    figures: list[Figure] = []
    meaning: list[str] = []
    worst_cases: Gallery | None = None
    ledger: Table | None = None
    limits: list[str] = []
    not_tested: list[Fact] = []
    reproduce: list[str] = []
    card: Card | None = None
    provenance: Provenance | None = None

    @model_validator(mode="after")
    def _reason_given(self) -> StageResult:
        if self.status != "ok" and not self.reason:
            raise ValueError(f"stage {self.stage}: a stage that is {self.status} states its reason")
        return self


def _as_text(value: Any) -> Any:
    """TOML knows dates without quotes: `until = 2027-01-31` is what it says."""
    return value.isoformat() if type(value) is date else value


def _not_blank(text: str) -> str:
    if not text.strip():
        raise ValueError("is blank; expected a name or a reason")
    return text


class Waiver(Record):
    """An accepted failed or open gate.

    owner: who accepts it.
    reason: why.
    until: the last day, as YYYY-MM-DD (UTC).
    """

    model_config = ConfigDict(strict=True)

    owner: Annotated[str, Field(min_length=1), AfterValidator(_not_blank)]
    reason: Annotated[str, Field(min_length=1), AfterValidator(_not_blank)]
    until: Annotated[str, Field(pattern=r"^\d{4}-\d{2}-\d{2}$"), BeforeValidator(_as_text)]


class Accepted(Record):
    """A measurement that its owner accepts without a gate.

    stage, metric, slice: what is accepted; without a metric, all that the stage measures and no gate reads.
    reason: why no gate reads it.
    owner: who accepts it; while it is empty, the verdict is not proven.
    """

    model_config = ConfigDict(strict=True)

    stage: StageName
    metric: str = ""
    slice: str = "all"
    reason: Annotated[str, Field(min_length=1), AfterValidator(_not_blank)]
    owner: Annotated[str, AfterValidator(str.strip)] = ""


class Gate(Record):
    """One requirement: the pessimistic end of the metric's interval against a limit.

    id: small letters, digits, dots, hyphens and underscores; unique.
    title: in the report; by default that of the metric.
    subject: whose metric is read, as in `StageResult`.
    stage, metric, slice: what is read.
    op: the model passes where the whole interval is on this side of the threshold; == only for complete counts.
    threshold: in the unit of the metric.
    min_n: with fewer images, the gate is not proven.
    rationale: why this limit; the report states it.
    owner: who set it.
    """

    model_config = ConfigDict(strict=True)  # a limit of "0.9" is no number

    id: str = Field(pattern=r"^[a-z0-9][a-z0-9_.-]*$", max_length=80)
    title: str = ""
    subject: SubjectName = MODEL
    stage: str
    metric: str
    slice: str = "all"
    op: Literal[">=", "<=", "=="]
    threshold: Finite
    min_n: int = Field(default=1, ge=1)
    rationale: str = ""
    owner: str = ""
    waiver: Waiver | None = None


GateStatus = Literal["pass", "fail", "not_proven", "error", "skipped", "waived"]


class GateResult(Record):
    """A gate's decision. `message` is one sentence; `needs_signs`: more sign tracks that would decide an open gate with even odds, or None."""

    gate: Gate
    status: GateStatus
    message: str
    metric: Metric | None = None
    margin: Finite | None = None
    needs_signs: int | None = None
    decided_without_waiver: GateStatus | None = None


UngatedState = Literal["alarm", "unsigned", "accepted", "noted"]


class Ungated(Record):
    """What was measured and no gate reads.

    state:
        alarm     beyond its alarm level, or a serious finding; no owner accepts it, so the verdict is no pass
        unsigned  an accepted entry without an owner; the verdict is no pass
        accepted  by the owner of `accepted`
        noted     neither; it is named beside the verdict
    title: of the metric, or of the stage.
    value: in words, with its unit.
    message: one or two sentences.
    """

    stage: StageName
    subject: SubjectName = MODEL
    state: UngatedState
    title: str
    value: str = ""
    message: str
    metric: Metric | None = None
    accepted: Accepted | None = None


class Loosened(Record):
    """A gate of an earlier run that is dropped, has a lower limit or is waived since.

    kind: "lowered" is a limit that more models pass, or a smaller `min_n`.
    old, new: the gate before and now; new is None for a dropped gate.
    message: one sentence.
    """

    kind: Literal["dropped", "lowered", "waived"]
    old: Gate
    new: Gate | None = None
    message: str


class Verdict(Record):
    """The whole decision; gates are sorted worst first.

    ungated: what was measured and no gate reads, worst first.
    rules: version of the rules of the decision: 1 without alarms, with missing evidence graver than a failure.
    """

    status: Literal["passed", "failed", "not_proven", "incomplete"]
    exit_code: int
    sentence: str
    detail: str = ""
    gates: list[GateResult]
    ungated: list[Ungated] = []
    rules: int = 1


class ModelScan(Record):
    """Result of the static scan of a model file. Inconclusive is never treated as accepted.

    format: in words, as found by content. facts: what was counted in it. sha256, bytes: of the file (of a folder: of the
    sorted list of its files' hashes, and their sum). chosen: why this file of its folder. reason: one sentence where the file is not accepted.
    """

    status: Literal["accepted", "refused", "inconclusive"]
    path: str
    chosen: str = ""
    format: str
    sha256: str
    bytes: int
    facts: dict[str, int | str] = {}
    reason: str = ""
    scanner: int


class ModelOrigin(Record):
    """How a model file was opened: scanned, and loaded first in a process with limits.

    network: how the first load was kept from the network. confined: whether it was
    kept from all files but its own. safeml_trained: a manifest of
    `safeml train` names this file.
    """

    scan: ModelScan
    network: str
    confined: bool = False
    memory_limit: int
    seconds_limit: int
    safeml_trained: bool = False


class GradientsIdentity(Record):
    """The model that gives the gradients of a file without gradients, and how the two were compared.

    images: test images on which both predicted.
    agreement: share of them with the same predicted class, 0..1.
    difference: root mean square of the difference of the logits, as a share of their size.
    largest: largest difference of a logit.
    """

    name: str
    fingerprint: str
    images: int
    agreement: Proportion
    difference: Finite
    largest: Finite


class ModelIdentity(Record):
    """The model under test. gradients: of a file without gradients; None where it has its own, or none."""

    name: str
    fingerprint: str
    input: dict[str, Any]
    parameters: int
    notes: list[str] = []
    gradients: GradientsIdentity | None = None


class DataIdentity(Record):
    """The data of a role. notes: what is read differently from Keras, or left out, one sentence each."""

    role: Literal["test", "train", "valid"]
    name: str
    fingerprint: str
    images: int
    classes: int
    signs: Finite | None = None
    clustering: str = "unknown"
    notes: list[str] = []


def test_data_of(data: Sequence[DataIdentity]) -> DataIdentity | None:
    """Return the data in the role "test"."""
    return next((entry for entry in data if entry.role == "test"), None)


class Run(Record):
    """Everything about one run that a second run of the same thing repeats to the byte.

    Times, durations and the machine live in `RunTimes`, in a separate file.

    accept_quick: the user accepts that the quick profile decides.
    accepted: measurements that an owner accepts without a gate.
    loosened: gates of an earlier run of the folder, or of a baseline, that are looser now.
    """

    schema_version: Literal[1] = 1
    safeml_version: str
    title: str = "Safety report"
    responsible: str = ""
    profile: str = "full"
    accept_quick: bool = False
    model: ModelIdentity
    data: list[DataIdentity]
    stages: list[StageResult]
    gates: list[Gate]
    accepted: list[Accepted] = []
    loosened: list[Loosened] = []
    verdict: Verdict
    versions: dict[str, str]
    configuration: dict[str, Any]
    command: list[str] = []

    @model_validator(mode="after")
    def _each_once(self) -> Run:
        stages = [(stage.subject, stage.stage) for stage in self.stages]
        for what, names in (("a stage", stages), ("data", [entry.role for entry in self.data])):
            if len(set(names)) != len(names):
                raise ValueError(f"{what} of one name is recorded twice")
        return self

    @property
    def test_data(self) -> DataIdentity | None:
        """The data that the verdict is computed on; None for a run of training alone."""
        return test_data_of(self.data)


class Recomputed(Record):
    """An entry of the run folder that was there and could not be used. reason: a clause, such as "is damaged"."""

    entry: str
    reason: str


class Resume(Record):
    """What a run took over from earlier runs of its folder.

    stages: read back whole. slices: of other stages, read back. recomputed: entries that were measured again.
    interrupted: an earlier run of the folder did not finish; began: when it started (ISO, UTC), where that is known.
    """

    stages: list[str] = []
    slices: int = 0
    recomputed: list[Recomputed] = []
    interrupted: bool = False
    began: str = ""


class RunTimes(Record):
    """When and where a run happened (`run.json`); never part of the evidence.

    seconds: of each stage when it was measured, also where this run read it back.
    """

    started: str
    finished: str
    seconds: dict[str, Finite] = {}
    hardware: dict[str, str] = {}
    model_file_sha256: str = ""
    code_commit: str = ""
    notes: list[str] = []
    resume: Resume = Resume()
