"""What devices recorded, as parts of the page of a history and as a page for two records."""

from __future__ import annotations

from safeml.comparison.records import DeviceComparison, DeviceRecord, DeviceTrend, History
from safeml.report.figures import figure_view
from safeml.report.overview import Part, part, table
from safeml.report.text import cell, short_hash, when
from safeml.results import Curve, Series
from safeml.wording import number

UNSIGNED = (
    "Records are files that a device wrote; they are not signed. A number is of that device under that load."
)


def device_parts(history: History) -> list[Part]:
    """Return the sections about devices; none where there are no records."""
    if not history.devices:
        return []
    rows = [
        [cell(str(place), sub=when(record.at)), *_cells(record)]
        for place, record in enumerate(history.devices, 1)
    ]
    overview = part("Devices", UNSIGNED, [table(["Record", "Device", "Release", "Result", "Numbers"], rows)])  # fmt: skip
    return [
        overview,
        *(
            part(f"{trend.name}: {trend.conditions}", "One device under the same recorded conditions.", [], figure=_curve(trend, history))
            for trend in history.device_trends
        ),
    ]  # fmt: skip


def result_of(record: DeviceRecord) -> str:
    """Return the outcome in words: only a self-test has one."""
    if record.passed is None:
        return "measured"
    word = "self-test passed" if record.passed else "self-test FAILED"
    return f"{word}, overridden" if record.overridden else word


def values_of(record: DeviceRecord) -> str:
    """Return the numbers of a record in one line."""
    return ", ".join(f"{value.name} {number(value.value)}{f' {value.unit}' if value.unit else ''}" for value in record.values)  # fmt: skip


def comparison_parts(comparison: DeviceComparison) -> list[Part]:
    """Return the sections of the page of two records; a ratio only where the conditions are the same."""
    first, second = comparison.first, comparison.second
    records = [[cell(name, sub=when(record.at)), *_cells(record)] for name, record in (("first", first), ("second", second))]  # fmt: skip
    before, after = ({value.name: value for value in record.values} for record in (first, second))
    rows = []
    for name in dict.fromkeys([*before, *after]):
        one, other = before.get(name), after.get(name)
        ratio = ""
        if one is not None and other is not None and one.value and not comparison.not_comparable:
            ratio = number(round(other.value / one.value, 3))
        unit = (one or other).unit if (one or other) is not None else ""  # type: ignore[union-attr]
        rows.append([f"{name} {unit}".strip(), *(number(each.value) if each else "not recorded" for each in (one, other)), ratio or "–"])  # fmt: skip
    return [
        part("Records", UNSIGNED, [table(["Record", "Device", "Release", "Result", "Numbers"], records)]),
        part("Numbers", comparison.sentence, [table(["Number", "First", "Second", "Second / first"], rows, (1, 2, 3))]),
    ]  # fmt: skip


def _cells(record: DeviceRecord) -> list[Part]:
    return [
        cell(record.device_id, sub=f"{record.board}, power mode {record.power_mode}"),
        cell(f"{record.product} {record.release}", sub=f"model {short_hash(record.model)}"),
        cell(result_of(record), sub=f"{record.kind}, {record.precision}, {record.backend}"),
        cell(values_of(record)),
    ]


def _curve(trend: DeviceTrend, history: History) -> Part:
    points = [
        (float(place + 1), value.value)
        for place in trend.places
        for value in history.devices[place].values
        if value.name == trend.name
    ]
    series = Series(name=trend.conditions, x=[x for x, _ in points], y=[y for _, y in points], role="main")
    label = f"{trend.name} {trend.unit}".strip()
    ticks = [(x, f"{x:g}") for x, _ in points]
    return figure_view(Curve(id="device", title=label, x_label="record", y_label=label, series=[series], x_ticks=ticks))  # fmt: skip
