"""Lines: bold blue for what matters, with its band; faint for context; dotted for bounds; labels at the line ends."""

from __future__ import annotations

from collections.abc import Callable

from markupsafe import Markup

from safeml.report.charts import svg
from safeml.results import Curve, Series
from safeml.wording import NARROW_SPACE

CSS = {"main": "main", "context": "context", "bound": "bound"}
LABEL_GAP = 15
Scale = Callable[[float], float]


def draw_curve(curve: Curve, width: int) -> Markup:
    """The curve at `width` pixels."""
    series = [line for line in curve.series if line.x]
    if not series:
        return svg.nothing(width)
    wide = width > 500
    left, right, top, height = 36, (190 if wide else 110), 28, (280 if wide else 220)
    plot_width, bottom = width - left - right, top + height
    x_low, x_high = _span([x for line in series for x in line.x])
    values = [y for line in series for y in (*line.y, *(line.low or []), *(line.high or []))]
    factor = 100 if curve.percent else 1
    y_ticks = (
        [0, 25, 50, 75, 100]
        if curve.percent and min(values) < 0.5
        else svg.ticks(*_span([factor * y for y in values]), 4)
    )

    def x_at(x: float) -> float:
        return left + plot_width * (x - x_low) / (x_high - x_low)

    def y_at(y: float) -> float:
        return bottom - height * (factor * y - y_ticks[0]) / ((y_ticks[-1] - y_ticks[0]) or 1)

    unit = f"{curve.y_label},{NARROW_SPACE}%" if curve.percent else curve.y_label
    parts = [svg.text(0, 12, unit)]
    for tick in y_ticks:
        y = y_at(tick / factor)
        parts += [
            svg.line("grid", left, y, left + plot_width, y),
            svg.text(left - 6, y + 4, svg.short(tick), "end"),
        ]
    last = -1e9
    for value, label in curve.x_ticks or [(x, svg.short(x)) for x in svg.ticks(x_low, x_high)]:
        if x_low <= value <= x_high and x_at(value) - last > 34:
            last = x_at(value)
            parts.append(svg.text(last, bottom + 18, label, "middle", limit=10))
    parts.append(svg.text(left + plot_width, bottom + 36, curve.x_label, "end"))
    for line in sorted(series, key=lambda line: line.role == "main"):
        parts += _line(line, x_at, y_at)
    parts += _labels(series, x_at, y_at, factor, top, width, curve.percent)
    ends = "; ".join(f"{line.name} ends at {svg.short(round(factor * line.y[-1], 3))}" for line in series)
    return svg.frame(width, bottom + 44, f"{curve.title}: {ends}", parts)


def _line(line: Series, x_at: Scale, y_at: Scale) -> list[str]:
    points = sorted(zip(line.x, line.y, strict=True))
    drawn = [(x_at(x), y_at(y)) for x, y in points]
    parts = []
    if line.low and line.high:
        order = sorted(range(len(line.x)), key=line.x.__getitem__)
        upper = [(x_at(line.x[k]), y_at(line.high[k])) for k in order]
        lower = [(x_at(line.x[k]), y_at(line.low[k])) for k in reversed(order)]
        parts.append(svg.path("band", [*upper, *lower], closed=True))
    parts.append(svg.path(CSS[line.role], drawn))
    if line.role == "main" and len(drawn) <= 12:
        parts += [svg.circle("dot", x, y, 3) for x, y in drawn]
    return parts


def _labels(
    series: list[Series], x_at: Scale, y_at: Scale, factor: int, top: float, width: int, percent: bool
) -> list[str]:
    """Names and last values at the line ends, pushed apart so that none hides another."""
    ends = []
    for line in series:
        x, y = max(zip(line.x, line.y, strict=True))
        value = f"{factor * y:.1f}" if percent else f"{y:.3g}"
        ends.append((y_at(y), x_at(x), line, value))
    ends.sort(key=lambda end: end[0])
    parts, last = [], top - LABEL_GAP
    for y, x, line, value in ends:
        place = max(y, last + LABEL_GAP)
        last = place
        at = x + 14
        room = int((width - at) / svg.CHARACTER) - len(value) - 1
        name = line.name if len(line.name) <= room else line.name[: max(room - 1, 1)] + "…"
        parts += [
            svg.line("leader", x + 3, y, at - 3, place),
            svg.text(at, place + 4, f"{name} {value}", css="t strong" if line.role == "main" else "t"),
        ]
    return parts


def _span(values: list[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    return (low, high) if high > low else (low - 0.5, high + 0.5)
