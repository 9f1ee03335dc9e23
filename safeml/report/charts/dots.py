"""A proportion with its interval for each of many groups: dot, bar behind it, ring for the compared value."""

from __future__ import annotations

from markupsafe import Markup

from safeml.report.charts.mini import BASE, LEFT, RIGHT, TOP, base_line
from safeml.report.charts.svg import (
    Scale,
    circle,
    drawing,
    fit,
    group,
    line,
    nothing,
    rect,
    round_ticks,
    shorten,
    text_width,
    words,
)
from safeml.results import Dot, DotPlot
from safeml.wording import NOT_MEASURED, PERCENT, interval, number, percent

ROW, HEAD = 18.0, 44.0
ONE_COLUMN = 14
NAME_LIMIT = 28
COLUMN_GAP = 24.0
EDGE = 14.0


def draw_dots(plot: DotPlot, width: int) -> Markup:
    """Draw the groups in their order, in two columns where the width allows and there are many."""
    if not plot.dots:
        return nothing(width, plot.title)
    columns = 2 if width >= 600 and len(plot.dots) > ONE_COLUMN else 1
    rows = -(-len(plot.dots) // columns)
    column = (width - COLUMN_GAP * (columns - 1)) / columns
    names = [fit(dot.label, 0.5 * column, NAME_LIMIT) for dot in plot.dots]
    room = max(map(text_width, names)) + 12
    ticks = axis_ticks(plot)
    bottom = HEAD + ROW * rows
    parts = [words(0, 12, fit(_key(plot), width))]
    for c in range(columns):
        start = c * (column + COLUMN_GAP)
        x = Scale(ticks[0], ticks[-1], start + room + EDGE, start + column - EDGE)
        parts += _axis(plot, x, ticks, bottom)
        shown = list(zip(plot.dots, names, strict=True))[c * rows : (c + 1) * rows]
        for row, (dot, name) in enumerate(shown):
            y = HEAD + ROW * (row + 0.5)
            cut = dot.label if name != dot.label else ""
            parts.append(words(start + room, y + 4, name, anchor="end", title=cut))
            parts.append(_dot(dot, x, y))
    return drawing(width, bottom + (22 if plot.overall is not None else 6), describe(plot), parts)


def axis_ticks(plot: DotPlot) -> list[float]:
    """0 to 100 %, or further where a value lies outside: nothing is ever clipped."""
    found = [value for dot in plot.dots for value in (dot.value, dot.low, dot.high, dot.compare)]
    ends = [0.0, 1.0, *(value for value in (*found, plot.overall) if value is not None)]
    low, high = min(ends), max(ends)
    return [0.0, 0.25, 0.5, 0.75, 1.0] if (low, high) == (0.0, 1.0) else round_ticks(low, high)


def describe(plot: DotPlot) -> str:
    """The plot in words: how many groups, the first and the last measured one, the overall value, what is missing."""
    measured = [dot for dot in plot.dots if dot.value is not None]
    said = [f"{len(plot.dots)} groups"] if plot.dots else ["nothing to draw"]
    if measured:
        said += [f"first {_words(measured[0])}", f"last {_words(measured[-1])}"]
    if plot.overall is not None:
        said.append(f"overall {percent(plot.overall)}")
    if len(measured) < len(plot.dots):
        said.append(f"{len(plot.dots) - len(measured)} {NOT_MEASURED}")
    return f"{shorten(plot.title, 80)}. {'; '.join(said)}"


def card(figure: DotPlot) -> list[Markup]:
    """The groups from left to right in their order, each with its interval; an unmeasured group leaves a gap."""
    if all(dot.value is None for dot in figure.dots):
        return []
    ticks = axis_ticks(figure)
    y = Scale(ticks[0], ticks[-1], BASE, TOP)
    pitch = (RIGHT - LEFT) / len(figure.dots)
    radius = min(3.0, max(1.2, 0.4 * pitch))
    whiskers, marks = [], []
    for k, dot in enumerate(figure.dots):
        x = LEFT + pitch * (k + 0.5)
        if dot.value is None:
            continue
        marks.append(circle(x, y.at(dot.value), radius, "dot"))
        if dot.low is not None and dot.high is not None:
            whiskers.append(line(x, y.at(dot.low), x, y.at(dot.high), "whisker"))
    if figure.overall is not None:
        whiskers.append(line(LEFT, y.at(figure.overall), RIGHT, y.at(figure.overall), "overall"))
    return [base_line(), *whiskers, *marks]


def _words(dot: Dot) -> str:
    compare = "" if dot.compare is None else f"; compared {percent(dot.compare)}"
    span = interval(dot.low, dot.high)
    return f"{shorten(dot.label, 80)}: {percent(dot.value)} ({span}), n = {number(dot.n)}{compare}"


def _key(plot: DotPlot) -> str:
    ring = "; ring: compared" if any(dot.compare is not None for dot in plot.dots) else ""
    return f"%; dot: value; bar: interval{ring}"


def _axis(plot: DotPlot, x: Scale, ticks: list[float], bottom: float) -> list[Markup]:
    parts = []
    for tick in ticks:
        at = x.at(tick)
        parts.append(line(at, HEAD - 4, at, bottom, "grid"))
        parts.append(words(at, HEAD - 10, f"{100 * tick:.6g}", anchor="middle"))
    if plot.overall is not None:
        at = x.at(plot.overall)
        name = f"overall {percent(plot.overall).removesuffix(PERCENT)}"
        half = text_width(name) / 2
        place = min(max(at, x.start - EDGE + half), x.end + EDGE - half)
        parts.append(line(at, HEAD - 4, at, bottom + 3, "overall"))
        parts.append(words(place, bottom + 15, name, anchor="middle"))
    return parts


def _dot(dot: Dot, x: Scale, y: float) -> Markup:
    if dot.value is None:
        return words(x.start, y + 4, NOT_MEASURED, "missing")
    parts = []
    if dot.low is not None and dot.high is not None:
        width = max(x.at(dot.high) - x.at(dot.low), 3)
        start = (x.at(dot.low) + x.at(dot.high) - width) / 2
        parts.append(rect(start, y - 2.5, width, 5, "interval"))
    if dot.compare is not None:
        parts.append(circle(x.at(dot.compare), y, 3, "ring"))
    parts.append(circle(x.at(dot.value), y, 3.2, "dot"))
    return group(_words(dot), parts)
