"""The interval picture of a gate: its interval against its limit, drawn around the limit, better always to the right."""

from __future__ import annotations

import math

from markupsafe import Markup

from safeml.results import GateResult, Metric
from safeml.verdict_text import is_count
from safeml.wording import NARROW_SPACE, interval, limit_quantity, number, quantity

WIDTH, HEIGHT, MIDDLE, AXIS, REACH = 248, 38, 124, 15, 112
INSIDE = 0.93
STATUS_CLASS = {
    "pass": "pass",
    "fail": "fail",
    "not_proven": "unsure",
    "error": "error",
    "skipped": "none",
    "waived": "unsure",
}


def draw_glyph(result: GateResult) -> Markup:
    """SVG, 248 x 38. A gate without a measurement gets a dotted axis and the words "not measured"."""
    metric = result.metric
    colour = STATUS_CLASS[result.status]
    if metric is None or metric.value is None:
        return _frame(
            colour,
            "not measured",
            '<line class="dotted" x1="12" x2="236" y1="15" y2="15"/>',
            _limit(),
            _words("not measured"),
        )
    if is_count(metric):
        return _count(result, metric, colour)
    low = metric.value if metric.low is None else metric.low
    high = metric.value if metric.high is None else metric.high
    mirrored = -1 if result.gate.op == "<=" or metric.direction == "down" else 1
    unit = 100 if metric.unit == "proportion" else 1
    offsets = [mirrored * unit * (x - result.gate.threshold) for x in (low, metric.value, high)]
    if result.gate.op == "==":
        offsets = [-abs(offset) for offset in offsets]  # any other value is worse
    scale = _scale(max(map(abs, offsets)))
    left, at, right = sorted(MIDDLE + REACH * offset / scale for offset in offsets)
    at = MIDDLE + REACH * offsets[1] / scale
    parts = [
        ""
        if result.gate.op == "=="
        else f'<rect class="zone" x="{MIDDLE}" y="5" width="{REACH}" height="20"/>',
        f'<line class="axis" x1="12" x2="236" y1="{AXIS}" y2="{AXIS}"/>',
        *(
            f'<line class="axis" x1="{_n(MIDDLE + k * REACH / 2)}" x2="{_n(MIDDLE + k * REACH / 2)}" y1="13" y2="17"/>'
            for k in (-2, -1, 1, 2)
        ),
        _limit(),
        _bar(result.decided_without_waiver or result.status, left, right) if metric.low is not None else "",
        _mark(result.decided_without_waiver or result.status, at),
        f'<text x="236" y="36" text-anchor="end">±{number(scale)}{NARROW_SPACE + "pp" if unit == 100 else ""}</text>',
    ]
    limit = result.gate.threshold
    ends = "" if metric.low is None else f", interval {interval(low, high, limit, metric.unit)}"
    label = f"{quantity(metric.value, metric.unit, limit)}{ends}, limit {limit_quantity(limit, metric.unit)}"
    return _frame(colour, label, *parts)


def _count(result: GateResult, metric: Metric, colour: str) -> Markup:
    """Draw a complete count: its mark on the side of its state, without axis and interval."""
    state = result.decided_without_waiver or result.status
    unit, limit = metric.unit, result.gate.threshold
    words = f"complete count: {quantity(metric.value, unit)}, limit {limit_quantity(limit, unit)}"
    place = MIDDLE if state == "pass" else MIDDLE - REACH / 2
    return _frame(colour, words, _limit(), _mark(state, place), _words("no interval"))


def _scale(reach: float) -> float:
    """The smallest of 1, 2, 5 times a power of ten (at least 0.1 pp, or 0.001 of another unit) that holds the interval."""
    if reach <= 0:
        return 0.1
    power = math.floor(math.log10(reach / INSIDE))
    for step in (1, 2, 5, 10):
        scale = step * 10.0**power
        if reach <= INSIDE * scale:
            return float(f"{scale:.6g}")
    return float(f"{20 * 10.0**power:.6g}")


def _bar(status: str, left: float, right: float) -> str:
    if right - left < 3:
        left, right = (left + right) / 2 - 1.5, (left + right) / 2 + 1.5
    x, width = _n(left), _n(right - left)
    if status != "not_proven":
        caps = "".join(
            f'<line class="cap" x1="{_n(e)}" x2="{_n(e)}" y1="10" y2="20"/>' for e in (left, right)
        )
        return f'<rect class="bar" x="{x}" y="12" width="{width}" height="6"/>{caps}'
    hatches = "".join(
        f'<line class="hatch" x1="{_n(h)}" x2="{_n(min(h + 4, right))}" y1="19" y2="{_n(19 - 2 * (min(h + 4, right) - h))}"/>'
        for h in _steps(left, right, 5)
    )
    return f'<rect class="open" x="{x}" y="11" width="{width}" height="8"/>{hatches}'


def _steps(start: float, stop: float, step: float) -> list[float]:
    return [start + step * k for k in range(int((stop - start) // step) + 1)]


def _mark(status: str, x: float) -> str:
    if status == "not_proven":
        return f'<path class="hollow" d="M{_n(x - 6)} 15L{_n(x)} 9L{_n(x + 6)} 15L{_n(x)} 21Z"/>'
    if status in ("fail", "error"):
        return f'<rect class="mark" x="{_n(x - 4)}" y="11" width="8" height="8"/>'
    return f'<circle class="mark" cx="{_n(x)}" cy="15" r="4.2"/>'


def _limit() -> str:
    return f'<line class="limit" x1="{MIDDLE}" x2="{MIDDLE}" y1="3" y2="27"/>'


def _words(text: str) -> str:
    return f'<text x="136" y="12">{text}</text>'


def _n(x: float) -> str:
    return f"{x:.1f}".rstrip("0").rstrip(".")


def _frame(colour: str, label: str, *parts: str) -> Markup:
    inside = "".join(parts)
    return Markup(  # numbers and fixed words only
        f'<svg class="glyph {colour}" role="img" aria-label="{label}" viewBox="0 0 {WIDTH} {HEIGHT}">{inside}</svg>'
    )
