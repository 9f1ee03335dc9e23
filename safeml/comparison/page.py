"""A comparison and a history as one HTML page each, in the frame of the reports."""

from __future__ import annotations

import hashlib
from typing import Any

from markupsafe import Markup

from safeml.comparison.device_page import comparison_parts, device_parts
from safeml.comparison.records import (
    LOOSENED,
    Comparison,
    DeviceComparison,
    History,
    LimitChange,
    PairedDifference,
    RunSummary,
    Trend,
    TrendPoint,
    Unpaired,
)
from safeml.report.figures import figure_view
from safeml.report.glyph import draw_glyph
from safeml.report.overview import Part, part, table
from safeml.report.page import render_frame
from safeml.report.states import GATE_STATES, NO_GATE, VERDICT_STATES, State
from safeml.report.text import cell, short_hash, when
from safeml.results import Curve, Gate, GateResult, GateStatus, Metric, Record, Series
from safeml.store.files import to_json
from safeml.verdict_text import stage_words
from safeml.wording import MINUS, NOT_MEASURED, counted, interval, limit_quantity, number, percent, quantity

NO_RUNS = "No run of the host; what devices recorded is below."
COMPARED = State("compared", "none", "i-info")
STATUS: dict[str, GateStatus] = {
    "lower": "fail",
    "higher": "pass",
    "no difference shown": "not_proven",
    "no interval": "not_proven",
}


def comparison_page(comparison: Comparison) -> str:
    """Return the page of a comparison."""
    first, second = comparison.first, comparison.second
    whole, sliced = _parts_apart(comparison)
    return _page(
        comparison,
        f"{second.model} compared with {first.model}",
        COMPARED,
        comparison.sentence,
        comparison.notes,
        [
            part("Runs", "Differences are of the second run to the first.", [_runs_table([first, second])]),
            part(
                "Differences on the same images",
                "A positive loss: the second run is worse. The 95\u202f% interval counts sign tracks, not frames.",
                [_paired_table(comparison.paired)] if comparison.paired else [],
                "No accuracy could be compared image by image.",
            ),
            part(
                "Loosened limits",
                "Dropped, lowered or waived in the second run.",
                _limit_tables(comparison.loosened),
                "No limit was loosened.",
            ),
            part("Gates that changed", "", _gate_tables(comparison), "No gate changed its status."),
            part(
                "Other limits",
                "Added or tightened in the second run.",
                _limit_tables([change for change in comparison.limits if change.kind not in LOOSENED]),
                "No other limit changed.",
            ),
            part(
                "Numbers without a paired test",
                "Both intervals are those of each run; their overlap is no test.",
                _unpaired_tables(whole),
                "None.",
                folded=_unpaired_tables(sliced),
            ),
            part("Settings that differ", "", _setting_tables(comparison), "None."),
        ],
    )


def device_comparison_page(comparison: DeviceComparison) -> str:
    """Return the page of two records of devices."""
    first, second = comparison.first, comparison.second
    return _page(
        comparison,
        f"{second.device_id}, release {second.release}, compared with {first.device_id}, release {first.release}",
        COMPARED,
        comparison.sentence,
        comparison.notes,
        comparison_parts(comparison),
    )


def history_page(history: History) -> str:
    """Return the page of a history."""
    last = history.runs[-1] if history.runs else None
    latest = (
        f"Latest of {counted(len(history.runs), 'run')}: {last.model}. {last.sentence}" if last else NO_RUNS
    )
    return _page(
        history,
        f"History of {history.folder or 'runs'}",
        VERDICT_STATES.get(last.status, NO_GATE) if last else NO_GATE,
        latest,
        history.notes,
        [
            part("Verdicts", "In the order of their start.", [_runs_table(history.runs, numbered=True)] if history.runs else [], "No run of the host."),
            *(
                part(trend.title, f"{stage_words(trend.stage, trend.subject)}, {trend.name}", [_trend_table(trend)], figure=_curve(trend, history))
                for trend in history.trends
            ),
            part("Limits that changed", "", _dated_limits(history), "No limit changed."),
            *device_parts(history),
            *(
                [part("Unreadable", "These results are in no line.", [table(["Folder", "Reason"], [[e.path, e.reason] for e in history.unreadable])])]
                if history.unreadable
                else []
            ),
        ],
    )  # fmt: skip


def _page(
    record: Record, title: str, state: State, sentence: str, notes: list[str], parts: list[Part]
) -> str:
    return render_frame(
        "overview.html",
        hashlib.sha256(to_json(record).encode()).hexdigest(),
        page_title=title,
        word=state.word,
        verdict=state,
        sentence=sentence,
        notes=notes,
        parts=parts,
    )


def _runs_table(runs: list[RunSummary], numbered: bool = False) -> Part:
    rows = []
    for place, run in enumerate(runs, 1):
        name = f"{place}" if numbered else ("first", "second")[place - 1]
        rows.append(
            [
                cell(name, sub=when(run.started) if run.started else ""),
                cell(run.model, sub=f"{run.form}, sha256 {short_hash(run.model_fingerprint)}"),
                cell(_verdict(run.status), sub=f"exit code {run.exit_code}"),
                cell(run.data, sub=f"sha256 {short_hash(run.data_fingerprint)}"),
                cell(run.folder or "in memory", sub=f"{run.profile} profile, safeml {run.safeml_version}"),
            ]
        )
    return table(["Run", "Model", "Verdict", "Test data", "Folder"], rows)


def _paired_table(paired: list[PairedDifference]) -> Part:
    rows = []
    for entry in paired:
        metric = entry.difference
        signs = "" if metric.signs is None else counted(round(metric.signs), "sign track")
        rows.append(
            [
                cell(entry.title, sub=f"{entry.stage} · {entry.name}"),
                cell(percent(entry.first), True),
                cell(percent(entry.second), True),
                cell(points(metric.value), True, interval(metric.low, metric.high)),
                cell(entry.side),
                _glyph(entry),
                cell(number(metric.n), True, signs),
                cell(f"{number(entry.lost)} / {number(entry.won)}", True),
            ]
        )
    labels = ["Accuracy", "First", "Second", "Loss, points", "Second run", "◂ worse · 0 · better ▸", "n, images", "Lost / won"]  # fmt: skip
    return table(labels, rows, (1, 2, 3, 6, 7), "paired")


def points(value: float | None) -> str:
    """Write a difference of proportions in percentage points, with its sign."""
    if value is None:
        return NOT_MEASURED
    text = f"{100 * abs(value):.1f}"
    return text if float(text) == 0 else f"{'+' if value > 0 else MINUS}{text}"


def _glyph(entry: PairedDifference) -> Part:
    """Draw the interval of the loss against 0; better is to the right."""
    gate = Gate(id="loss", stage=entry.stage, metric=entry.difference.name, op="<=", threshold=0.0)
    picture = draw_glyph(
        GateResult(gate=gate, status=STATUS[entry.side], message="", metric=entry.difference)
    )
    return cell(picture)


def _limit_tables(changes: list[LimitChange]) -> list[Part]:
    rows: list[list[Any]] = [
        [change.kind, change.requirement, change.first, change.second] for change in changes
    ]
    return [table(["Change", "Requirement", "First run", "Second run"], rows)] if rows else []


def _dated_limits(history: History) -> list[Part]:
    rows: list[list[Any]] = [
        [str(place + 1), change.kind, change.requirement, change.first, change.second]
        for place, change in history.limits
    ]
    return [table(["From run", "Change", "Requirement", "Before", "After"], rows)] if rows else []


def _gate_tables(comparison: Comparison) -> list[Part]:
    rows: list[list[Any]] = [
        [cell(change.title, sub=change.id), _status(change.first), _status(change.second)]
        for change in comparison.gates
    ]
    return [table(["Gate", "First run", "Second run"], rows)] if rows else []


def _parts_apart(comparison: Comparison) -> tuple[list[Unpaired], list[Unpaired]]:
    """Return the numbers of the whole test set, and those of a slice or a part of another number."""
    known = [(entry, entry.second or entry.first) for entry in comparison.unpaired]
    names = {metric.name for _, metric in known if metric} | {entry.name for entry in comparison.paired}
    whole: list[Unpaired] = []
    parts: list[Unpaired] = []
    for entry, metric in known:
        if metric is None:
            continue
        inside = metric.slice != "all" or any(metric.name.startswith(f"{name}.") for name in names)
        (parts if inside else whole).append(entry)
    return whole, parts


def _unpaired_tables(entries: list[Unpaired]) -> list[Part]:
    rows: list[list[Any]] = []
    for entry in entries:
        known = entry.second or entry.first
        if known is None:
            continue
        where = "" if known.slice == "all" else f" · {known.slice}"
        rows.append(
            [
                cell(known.title, sub=f"{entry.stage} · {known.name}{where}"),
                _value(entry.first),
                _value(entry.second),
                entry.reason,
            ]
        )
    return [table(["Number", "First run", "Second run", "Why no paired test"], rows, (1, 2), "metrics")] if rows else []  # fmt: skip


def _setting_tables(comparison: Comparison) -> list[Part]:
    rows: list[list[Any]] = [
        [change.key, change.first or "not set", change.second or "not set"] for change in comparison.settings
    ]
    return [table(["Setting", "First run", "Second run"], rows)] if rows else []


def _trend_table(trend: Trend) -> Part:
    rows: list[list[Any]] = [
        [
            str(point.run + 1),
            _status(point.status),
            _value(point.metric, point.limit),
            f"{point.op} {_limit(point)}",
        ]
        for point in trend.points
    ]
    return table(["Run", "Gate", "Value", "Limit"], rows, (2, 3))


def _curve(trend: Trend, history: History) -> Any:
    """Draw the values over the runs: one line per test set, form and profile, the latest bold, and the limit dotted; None without a value."""
    lines: dict[tuple[str, str, str], list[TrendPoint]] = {}
    for point in trend.points:
        if point.metric is not None and point.metric.value is not None:
            lines.setdefault(_line_of(history.runs[point.run]), []).append(point)
    if not lines:
        return None
    latest = max(lines, key=lambda data: lines[data][-1].run)
    series = []
    for data, row in lines.items():
        metrics = [point.metric for point in row if point.metric is not None]
        ends = [(m.low, m.high) for m in metrics if m.low is not None and m.high is not None]
        whole = len(ends) == len(metrics)
        series.append(
            Series(
                name=_line_name(history.runs[row[-1].run], len({key[1:] for key in lines}) > 1),
                x=[float(point.run + 1) for point in row],
                y=[m.value for m in metrics if m.value is not None],
                low=[low for low, _ in ends] if whole else None,
                high=[high for _, high in ends] if whole else None,
                role="main" if data == latest else "context",
            )
        )
    series.append(
        Series(
            name="limit",
            x=[float(point.run + 1) for point in trend.points],
            y=[point.limit for point in trend.points],
            role="bound",
        )
    )
    units = {point.metric.unit for point in trend.points if point.metric is not None}
    return figure_view(
        Curve(
            id=f"trend-{trend.name}",
            title=trend.title,
            x_label="run",
            y_label=trend.title,
            percent=units == {"proportion"},
            series=series,
            x_ticks=[(float(place), str(place)) for place in range(1, len(history.runs) + 1)],
        )
    )


def _line_of(run: RunSummary) -> tuple[str, str, str]:
    return run.data_fingerprint, run.form, run.profile


def _line_name(run: RunSummary, several: bool) -> str:
    """Name a line by its test data, and by form and profile where the lines differ in them."""
    data = run.data or "test data"
    return f"{data}, {run.form}, {run.profile}" if several else data


def _value(metric: Metric | None, limit: float | None = None) -> Part:
    if metric is None:
        return cell("not recorded", True)
    if metric.value is None:
        return cell(NOT_MEASURED, True, metric.reason)
    ends = (
        "complete count"
        if metric.clustering == "census"
        else interval(metric.low, metric.high, limit, metric.unit)
    )
    return cell(quantity(metric.value, metric.unit, limit), True, ends)


def _limit(point: TrendPoint) -> str:
    return limit_quantity(point.limit, point.metric.unit if point.metric is not None else "count")


def _status(status: GateStatus | None) -> str | Part:
    return "no such gate" if status is None else _verdict_cell(GATE_STATES[status])


def _verdict_cell(state: State) -> Part:
    picture = Markup(
        '<span class="state {}"><svg class="icon" aria-hidden="true"><use href="#{}"/></svg>{}</span>'
    )
    return cell(picture.format(state.colour, state.symbol, state.word))


def _verdict(status: str) -> Any:
    state = VERDICT_STATES.get(status)
    return status if state is None else _verdict_cell(state)["text"]
