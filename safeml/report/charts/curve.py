"""Lines with their band: the bold series is the claim, the faint ones are context, a dotted one is a bound."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

from markupsafe import Markup

from safeml.report.charts.mini import BASE, LEFT, RIGHT, TOP, base_line
from safeml.report.charts.svg import (
    BOLD,
    LABEL_GAP,
    Scale,
    circle,
    drawable,
    drawing,
    fit,
    line,
    nothing,
    polyline,
    round_ticks,
    shorten,
    spread,
    text_width,
    words,
)
from safeml.results import Curve, Series
from safeml.wording import PERCENT, limit_percent, number, percent

HEAD, FOOT = 34.0, 42.0
MOST_MARKED = 30
LIMIT_HALF = 9.0
LISTED = 8
DRAWN_ORDER = {"context": 0, "bound": 1, "main": 2}


@dataclass(frozen=True)
class Limit:
    """The limit of a gate on a curve. x: where its metric lies; y: its threshold."""

    x: float
    y: float


def draw_curve(curve: Curve, width: int, limits: Sequence[Limit] = ()) -> Markup:
    """Draw the curve `width` px wide; the axis holds every value, band and limit, a percent axis at least 0 to 100."""
    lines = complete(curve)
    if not lines:
        return nothing(width, curve.title)
    if not within_reach(lines):
        return nothing(width, curve.title, "the values are too large or too near to draw")
    xs = [at for series in lines for at in series.x]
    limits = [limit for limit in limits if min(xs) <= limit.x <= max(xs) and drawable([limit.y])]
    height = 340.0 if width >= 600 else 290.0
    ticks = y_ticks(curve, lines, [limit.y for limit in limits])
    labels = [_end_label(curve, series, (0.3 if width >= 600 else 0.38) * width) for series in lines]
    left = max(text_width(_tick(curve, tick)) for tick in ticks) + 8
    right = width - max(map(_label_width, lines, labels)) - 18
    x = x_scale(lines, left, right)
    y = Scale(ticks[0], ticks[-1], height - FOOT, HEAD)
    parts = [words(0, 12, fit(f"{curve.y_label}, %" if curve.percent else curve.y_label, width))]
    for tick in ticks:
        parts.append(line(left, y.at(tick), right, y.at(tick), "axis" if tick == ticks[0] else "grid"))
        parts.append(words(left - 8, y.at(tick) + 4, _tick(curve, tick), anchor="end"))
    parts += _x_axis(curve, x, y.start)
    parts.append(words(left, height - 6, fit(curve.x_label, width - left)))
    parts += [_band(series, x, y) for series in lines if banded(series)]
    parts += chain.from_iterable(_line(curve, series, x, y) for series in lines)
    parts += _end_labels(lines, labels, x, y)
    parts += chain.from_iterable(_limit(curve, limit, x, y) for limit in limits)
    missing = [shorten(series.name, 24) for series in curve.series if series not in lines]
    if missing:
        height += 18
        parts.append(words(0, height - 5, fit(f"not drawn, points are missing: {', '.join(missing)}", width)))
    return drawing(width, height, describe(curve, limits), parts)


def complete(curve: Curve) -> list[Series]:
    """The series that have a y for each x, the bold one last, so that it is drawn on top."""
    whole = [series for series in curve.series if series.x and len(series.x) == len(series.y)]
    return sorted(whole, key=lambda series: DRAWN_ORDER[series.role])


def within_reach(lines: list[Series]) -> bool:
    """Whether axes can hold the values."""
    return drawable([x for series in lines for x in series.x]) and drawable(_values(lines))


def banded(series: Series) -> bool:
    return len(series.low or []) == len(series.high or []) == len(series.y)


def y_ticks(curve: Curve, lines: list[Series], more: Sequence[float] = ()) -> list[float]:
    """Ticks of an axis that holds all values and `more`; it starts at 0 unless all values lie in its upper half."""
    values = [*_values(lines), *more]
    low, high = min(values), max(values)
    if curve.percent:
        low, high = min(low, 0.0), max(high, 1.0)
        return [0.0, 0.25, 0.5, 0.75, 1.0] if (low, high) == (0.0, 1.0) else round_ticks(low, high)
    return round_ticks(0.0 if 0 < low <= high / 2 else low, high)


def x_scale(lines: list[Series], start: float, end: float) -> Scale:
    xs = [x for series in lines for x in series.x]
    return Scale(min(xs), max(xs), start, end)


def band_points(series: Series, x: Scale, y: Scale) -> list[tuple[float, float]]:
    """The outline of the band: along its upper edge, and back along its lower one."""
    there = [(x.at(a), y.at(b)) for a, b in zip(series.x, series.high or [], strict=True)]
    back = [(x.at(a), y.at(b)) for a, b in zip(series.x, series.low or [], strict=True)]
    return there + back[::-1]


def describe(curve: Curve, limits: Sequence[Limit] = ()) -> str:
    """The curve in words: every point of a short series, the ends and extremes of a long one; the bold series first."""
    lines = complete(curve)[::-1][:6]
    said = [f"{shorten(series.name, 40)}: {_numbers(curve, series)}" for series in lines]
    said += [f"limit: {_limit_value(curve, limit)} at {_x_name(curve, limit.x)}" for limit in limits]
    return f"{shorten(curve.title, 80)}. {'; '.join(said) or 'nothing to draw'}"


def card(figure: Curve) -> list[Markup]:
    """The marks of the card's picture; empty where nothing can be drawn."""
    lines = complete(figure)
    if not lines or not within_reach(lines):
        return []
    ticks = y_ticks(figure, lines)
    x, y = x_scale(lines, LEFT, RIGHT), Scale(ticks[0], ticks[-1], BASE, TOP)
    bands = [series for series in lines if banded(series) and len(series.x) > 1]
    parts = [base_line(), *(polyline(band_points(series, x, y), "band") for series in bands)]
    for series in lines:
        points = [(x.at(a), y.at(b)) for a, b in zip(series.x, series.y, strict=True)]
        if len(points) > 1:
            parts.append(polyline(points, series.role))
        if len(points) == 1 or series.role == "main":
            parts.append(circle(*points[-1], 3, "dot" if series.role == "main" else "faint"))
    return parts


def _numbers(curve: Curve, series: Series) -> str:
    points = [f"{_value(curve, b)} at {_x_name(curve, a)}" for a, b in zip(series.x, series.y, strict=True)]
    if len(points) <= LISTED:
        return ", ".join(points)
    between = f"{_value(curve, min(series.y))} and {_value(curve, max(series.y))}"
    return f"from {points[0]} to {points[-1]}, between {between}"


def _band(series: Series, x: Scale, y: Scale) -> Markup:
    if len(series.x) > 1:
        return polyline(band_points(series, x, y), "band")
    (at, high), (_, low) = band_points(series, x, y)
    return line(at, high, at, low, "interval")


def _line(curve: Curve, series: Series, x: Scale, y: Scale) -> list[Markup]:
    points = [(x.at(a), y.at(b)) for a, b in zip(series.x, series.y, strict=True)]
    title = f"{shorten(series.name, 80)}: {_numbers(curve, series)}"
    parts = [polyline(points, series.role, title)] if len(points) > 1 else []
    if len(points) == 1 or (series.role == "main" and len(points) <= MOST_MARKED):
        css = "dot" if series.role == "main" else "faint"
        parts += [circle(a, b, 3, css) for a, b in points]
    return parts


def _limit(curve: Curve, limit: Limit, x: Scale, y: Scale) -> list[Markup]:
    """A short bar at the limit, with its value, towards the middle of the picture."""
    at, height = x.at(limit.x), y.at(limit.y)
    after = limit.x < (x.low + x.high) / 2
    beside, anchor = (at + LIMIT_HALF + 4, "start") if after else (at - LIMIT_HALF - 4, "end")
    text = f"limit {_limit_value(curve, limit)}"
    return [
        line(at - LIMIT_HALF, height, at + LIMIT_HALF, height, "limit"),
        words(beside, height + 4, text, "value", anchor=anchor),
    ]


def _end_labels(lines: list[Series], labels: list[str], x: Scale, y: Scale) -> list[Markup]:
    """Names at the line ends, pushed apart, with leaders; the bold and the dotted line come first where room is short."""
    room = int((y.start - y.end) / LABEL_GAP) + 1
    named = list(zip(lines, labels, strict=True))[::-1][:room]
    places = spread([y.at(series.y[-1]) for series, _ in named], y.end, y.start)
    parts = []
    for (series, label), place in zip(named, places, strict=True):
        css = "strong" if series.role == "main" else "words"
        parts.append(line(x.at(series.x[-1]) + 4, y.at(series.y[-1]), x.end + 14, place, "leader"))
        parts.append(words(x.end + 18, place + 4, label, css, title=series.name))
    if len(named) < len(lines):
        parts.append(
            words(x.end, y.end - 12, f"{len(lines) - len(named)} lines without a name", anchor="end")
        )
    return parts


def _x_axis(curve: Curve, x: Scale, base: float) -> list[Markup]:
    """Ticks where there is room for their words: the last one in any case, the others from the left."""
    ticks = curve.x_ticks or [(tick, number(tick)) for tick in round_ticks(x.low, x.high)]
    ticks = sorted((tick, shorten(name, 12)) for tick, name in ticks if x.low <= tick <= x.high)
    halves = [text_width(name) / 2 + 3 for _, name in ticks]
    parts, taken = [], -math.inf
    for (tick, name), half in zip(ticks, halves, strict=True):
        at, is_last = x.at(tick), tick == ticks[-1][0]
        if at - half < taken or (not is_last and at + half > x.at(ticks[-1][0]) - halves[-1]):
            continue
        taken = at + half
        parts += [line(at, base, at, base + 4, "axis"), words(at, base + 17, name, anchor="middle")]
    return parts


def _end_label(curve: Curve, series: Series, room: float) -> str:
    value = _value(curve, series.y[-1]).removesuffix(PERCENT)
    room = room / BOLD if series.role == "main" else room
    return f"{fit(series.name, room - text_width(value + ' '), 40)} {fit(value, room)}"


def _label_width(series: Series, label: str) -> float:
    return text_width(label) * (BOLD if series.role == "main" else 1)


def _values(lines: list[Series]) -> list[float]:
    bands = [value for s in lines if banded(s) for value in (*(s.low or []), *(s.high or []))]
    return [*(value for s in lines for value in s.y), *bands]


def _tick(curve: Curve, tick: float) -> str:
    return shorten(f"{100 * tick:.6g}" if curve.percent else number(tick), 12)


def _value(curve: Curve, value: float) -> str:
    return percent(value) if curve.percent else number(value)


def _limit_value(curve: Curve, limit: Limit) -> str:
    return limit_percent(limit.y) if curve.percent else number(limit.y)


def _x_name(curve: Curve, at: float) -> str:
    return next((shorten(name, 20) for tick, name in curve.x_ticks if tick == at), number(at))
