"""The records of a comparison and of a history: plain data, from which terminal, page and JSON are derived."""

from __future__ import annotations

from typing import Literal

from safeml.results import Finite, GateStatus, Metric, Record

Side = Literal["lower", "higher", "no difference shown", "no interval"]
Kind = Literal["dropped", "lowered", "waived", "added", "tightened", "waiver removed"]
LOOSENED: tuple[Kind, ...] = ("dropped", "lowered", "waived")


class RunSummary(Record):
    """One of the runs.

    folder: where it was read; "" for a run in memory.
    form: of the model, as `safeml.comparison.forms` reads it; numbers of two forms are never in one line.
    started: ISO time (UTC); "" where it was not recorded.
    """

    folder: str = ""
    model: str
    model_fingerprint: str
    data: str
    data_fingerprint: str
    profile: str
    status: str
    exit_code: int
    sentence: str
    safeml_version: str
    started: str = ""
    form: str = ""


class PairedDifference(Record):
    """An accuracy of both runs on the same images.

    title: of the accuracy.
    first, second: its values on the shared images, 0..1.
    lost, won: images classified correctly only in the first run, and only in the second.
    difference: value of the first run minus the second, with its 95 % interval; positive is a loss.
    side: of the second run: lower or higher where the whole interval is on one side of 0.
    """

    stage: str
    subject: str
    name: str
    title: str
    first: Finite
    second: Finite
    lost: int
    won: int
    difference: Metric
    side: Side


class Unpaired(Record):
    """A metric without a test: reason says why it was not compared image by image."""

    stage: str
    subject: str
    first: Metric | None
    second: Metric | None
    reason: str


class GateChange(Record):
    """A gate whose status differs, by its id; None where a run does not have it."""

    id: str
    title: str
    first: GateStatus | None
    second: GateStatus | None


class LimitChange(Record):
    """A requirement that differs. kind: what happened to it in the second run; first, second: in words."""

    kind: Kind
    requirement: str
    first: str
    second: str


class SettingChange(Record):
    """A setting that differs, by its dotted key; JSON, or "" where it is not set."""

    key: str
    first: str
    second: str


class Comparison(Record):
    """The second run against the first.

    sentence: the result in one sentence.
    notes: what limits its meaning.
    """

    schema_version: Literal[1] = 1
    first: RunSummary
    second: RunSummary
    sentence: str
    notes: list[str]
    paired: list[PairedDifference]
    unpaired: list[Unpaired]
    gates: list[GateChange]
    limits: list[LimitChange]
    settings: list[SettingChange]

    def __repr__(self) -> str:
        return f"<Comparison {self.first.model} -> {self.second.model}: {self.sentence}>"

    __str__ = __repr__

    @property
    def loosened(self) -> list[LimitChange]:
        """The limits that were dropped, lowered or waived."""
        return [change for change in self.limits if change.kind in LOOSENED]


class TrendPoint(Record):
    """A gated metric in one run.

    run: its place in `History.runs`.
    metric: as the gate read it; None where it was not measured.
    limit, op: of the gate.
    """

    run: int
    metric: Metric | None
    limit: Finite
    op: str
    status: GateStatus


class Trend(Record):
    """A requirement over the runs that have it."""

    title: str
    stage: str
    subject: str
    name: str
    slice: str
    points: list[TrendPoint]


class DeviceValue(Record):
    """A number that a device recorded."""

    name: str
    unit: str = ""
    value: Finite


class DeviceRecord(Record):
    """What `safeml-edge selftest`, `bench` or `run` recorded on a device.

    path: where it was read. at: ISO time (UTC) by the clock of the device.
    model: fingerprint of the audited INT8 model of the release; precision: of what ran.
    board, power_mode, backend, batch, source: "unknown" where they are not recorded.
    passed: of a self-test; None for a measurement without a limit.
    """

    path: str
    kind: str
    at: str
    device_id: str
    board: str
    power_mode: str
    product: str
    release: int
    model: str
    precision: str
    backend: str
    batch: str
    source: str
    passed: bool | None
    overridden: bool
    values: list[DeviceValue]


class DeviceTrend(Record):
    """A number of one device under the same conditions, over the places in `History.devices`."""

    name: str
    unit: str
    conditions: str
    places: list[int]


class DeviceComparison(Record):
    """Two records of devices. not_comparable: the conditions that differ, one clause each."""

    schema_version: Literal[1] = 1
    first: DeviceRecord
    second: DeviceRecord
    sentence: str
    not_comparable: list[str]
    notes: list[str]


class Unreadable(Record):
    """A results file that could not be read. reason: one sentence."""

    path: str
    reason: str


class History(Record):
    """Runs in the order in which they started.

    limits: changes from each run to the next of the same form: the place of the later run, and the change.
    devices: records of devices in the order of their time.
    device_trends: their numbers, a line for each set of conditions.
    """

    schema_version: Literal[1] = 1
    folder: str
    runs: list[RunSummary]
    trends: list[Trend]
    limits: list[tuple[int, LimitChange]]
    devices: list[DeviceRecord]
    device_trends: list[DeviceTrend]
    unreadable: list[Unreadable]
    notes: list[str]
