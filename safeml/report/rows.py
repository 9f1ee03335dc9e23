"""Gates, metrics, tables, galleries and strips as rows of text for the templates."""

from __future__ import annotations

from typing import Any

from safeml.report.glyph import draw_glyph
from safeml.report.states import FINDING_STATES, GATE_STATES, UNGATED_STATES
from safeml.report.text import cell, head
from safeml.results import (
    Gallery,
    Gate,
    GateResult,
    Loosened,
    Metric,
    Panel,
    Scalar,
    StageResult,
    Strip,
    Table,
    Ungated,
)
from safeml.verdict_text import needs_words, title_of
from safeml.wording import NOT_MEASURED, counted, interval, limit_quantity, number, percent, quantity

SIGNS = {">=": "≥", "<=": "≤", "==": "="}
GALLERY_PIXELS, CHANGE_PIXELS, STRIP_PIXELS, MOST_PICTURES = 96, 64, 64, 24
# A table of at most so many columns does not break the words of a column whose texts have at most so many characters.
WHOLE_COLUMNS, WHOLE_TEXT = 5, 20


def gate_row(result: GateResult, stage_title: str) -> dict[str, Any]:
    """One row of the gates table."""
    gate, metric = result.gate, result.metric
    unit = metric.unit if metric else "proportion"
    measured = metric is not None and metric.value is not None
    return {
        "state": GATE_STATES[result.status],
        "title": title_of(gate, metric),
        "stage": stage_title,
        "id": gate.id,
        "note": _note(result),
        "rationale": result.gate.rationale,
        "value": quantity(metric.value, unit, gate.threshold) if metric and measured else NOT_MEASURED,
        "interval": _interval(metric, gate.threshold) if metric and measured else "",
        "limit": f"{SIGNS[gate.op]} {limit_quantity(gate.threshold, unit)}",
        "glyph": draw_glyph(result),
        "n": number(metric.n) if metric else "–",
        "signs": counted(round(metric.signs), "sign track") if metric and metric.signs else "",
        "needs": needs_words(result),
    }


def ungated_row(entry: Ungated, stage_title: str) -> dict[str, Any]:
    """One row of the table of what no gate reads: a measurement with its value, or the sentence of a finding."""
    metric = entry.metric
    message = entry.message.removeprefix(f"{entry.title}: {entry.value}; ")
    if entry.finding:
        message = message.removeprefix(f"{entry.title}: ").replace(f" {entry.finding}.", "", 1)
    return {
        "state": UNGATED_STATES[entry.state],
        "title": _capital(entry.finding) or entry.title,
        "stage": stage_title,
        "id": metric.name if metric else "",
        "value": "" if entry.finding else entry.value,
        "interval": _interval(metric) if metric and metric.value is not None else "",
        "message": _capital(message),
        "n": number(metric.n) if metric else "",
    }


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def loosened_table(changes: list[Loosened]) -> dict[str, Any]:
    """Gates and requirements that were dropped, lowered or waived since an earlier run, with the old and the new limit."""
    return {
        "heads": [head("Change"), head("Gate or requirement"), head("Old and new limit")],
        "rows": [
            [
                cell(change.kind),
                cell(
                    title_of(change.old) if isinstance(change.old, Gate) else change.old.text,
                    sub=change.old.id,
                ),
                cell(change.message),
            ]
            for change in changes
        ],
        "caption": "",
        "css": "",
    }


def _note(result: GateResult) -> str:
    """Why a gate without a plain number is where it is; a waiver always shows its owner."""
    return result.message if result.status in ("error", "skipped") or result.gate.waiver is not None else ""


def _interval(metric: Metric, limit: float | None = None) -> str:
    if metric.clustering == "census":
        return "complete count"
    return interval(metric.low, metric.high, limit, metric.unit)


def metric_table(metrics: list[Metric]) -> dict[str, Any]:
    """Metrics as a table: what, value, interval, images, signs, how."""
    heads = [
        head("Metric"),
        *(head(label, True) for label in ("Value", "95 % interval", "n", "sign tracks")),
        head("Interval by"),
    ]
    return {
        "heads": heads,
        "rows": [_metric_row(metric) for metric in metrics],
        "caption": "",
        "css": "metrics",
    }


def _metric_row(metric: Metric) -> list[dict[str, Any]]:
    name = metric.name if metric.slice == "all" else f"{metric.name} · {metric.slice}"
    measured = metric.value is not None
    value = quantity(metric.value, metric.unit) if measured else str(metric.status)
    ends = _interval(metric) if measured else metric.reason
    signs = "" if metric.signs is None else number(round(metric.signs))
    return [
        cell(metric.title, sub=name),
        cell(value, True),
        cell(ends, measured),
        cell(number(metric.n), True),
        cell(signs, True),
        cell(metric.method),
    ]


def table_view(table: Table) -> dict[str, Any]:
    """A recorded table as text, numbers right; in a narrow table, the words of a column of short texts are not broken."""
    right = [column.kind in ("number", "percent") for column in table.columns]
    texts = [
        [_text(value, column.kind) for value, column in zip(row, table.columns, strict=True)]
        for row in table.rows
    ]
    narrow = len(table.columns) <= WHOLE_COLUMNS
    whole = [narrow and max(map(len, column)) <= WHOLE_TEXT for column in zip(*texts, strict=True)]
    return {
        "heads": [head(column.label, r) for column, r in zip(table.columns, right, strict=True)],
        "rows": [
            [cell(text, r, whole=w) for text, r, w in zip(row, right, whole, strict=True)] for row in texts
        ],
        "caption": table.caption,
        "css": "",
    }


def _text(value: Scalar, kind: str) -> str:
    if value is None:
        return NOT_MEASURED
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        return value
    if kind == "percent":
        return percent(value)
    return str(value) if kind == "id" else number(value)


def gallery_view(gallery: Gallery) -> dict[str, Any]:
    """Pictures at whole multiples of their own pixels; at most 24 pictures' worth of items on a page."""
    items, pictures = [], 0
    for item in gallery.items:
        pictures += len(item.panels)
        if pictures > MOST_PICTURES * 3:
            break
        items.append(
            {
                "panels": [_panel(panel) for panel in item.panels],
                "true_name": item.true_name,
                "true_confidence": _confidence(item.true_confidence),
                "predicted_name": item.predicted_name,
                "predicted_confidence": _confidence(item.predicted_confidence),
                "index": "" if item.index is None else f"#{item.index}",
                "note": item.note,
            }
        )
    return {"title": gallery.title, "entries": items, "caption": gallery.caption}


def strip_view(strip: Strip) -> dict[str, Any]:
    """Pictures by row and column, each with its place as alternative text."""
    return {
        "columns": strip.columns,
        "rows": [
            {
                "label": row.label,
                "cells": [
                    None if panel is None else _strip_panel(panel, row.label, column)
                    for panel, column in zip(row.panels, strip.columns, strict=True)
                ],
            }
            for row in strip.rows
        ],
        "caption": strip.caption,
    }


def _strip_panel(panel: Panel, row: str, column: str) -> dict[str, Any]:
    place = ", ".join(part for part in (row, column) if part)
    view = _panel(panel, STRIP_PIXELS)
    if view["width"] > GALLERY_PIXELS:
        view["height"] = max(1, round(view["height"] * GALLERY_PIXELS / view["width"]))
        view["width"] = GALLERY_PIXELS
    return {**view, "column": column, "alt": f"{place}: {panel.label}" if panel.label else place}


def _panel(panel: Panel, pixels: int = 0) -> dict[str, Any]:
    pixels = pixels or (CHANGE_PIXELS if panel.kind == "change" else GALLERY_PIXELS)
    factor = max(1, pixels // panel.width)
    return {
        "label": panel.label,
        "png": panel.png,
        "width": factor * panel.width,
        "height": factor * panel.height,
        "alt": panel.label,
    }


def _confidence(value: float | None) -> str:
    return "" if value is None else f" {value:.2f}"


def next_steps(stage: StageResult) -> list[str]:
    """The remedies of the findings, the serious ones first, each once."""
    return list(dict.fromkeys(row["remedy"] for row in finding_rows(stage) if row["remedy"]))


def finding_rows(stage: StageResult) -> list[dict[str, Any]]:
    """Findings, the serious ones first."""
    order = list(reversed(FINDING_STATES))
    return [
        {
            "state": FINDING_STATES[finding.severity],
            "message": finding.message,
            "remedy": finding.remedy,
            "evidence": "; ".join(
                f"{key.replace('_', ' ')}: {_text(v, 'number')}" for key, v in finding.evidence.items()
            ),
        }
        for finding in sorted(stage.findings, key=lambda finding: order.index(finding.severity))
    ]
