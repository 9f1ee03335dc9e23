"""Counts or values by category: full names beside a few bars, index numbers under many. A ring is the compared value."""

from __future__ import annotations

from markupsafe import Markup

from safeml.report.charts.mini import BASE, LEFT, RIGHT, TOP
from safeml.report.charts.svg import (
    Scale,
    circle,
    drawable,
    drawing,
    fit,
    line,
    nothing,
    rect,
    round_ticks,
    shorten,
    text_width,
    thinned,
    words,
)
from safeml.results import Bars
from safeml.wording import number

MOST_NAMED = 12
MOST_TITLED = 200
ROW = 24.0


def draw_bars(bars: Bars, width: int) -> Markup:
    """Draw the bars `width` px wide: lying with full names up to MOST_NAMED categories, else standing with index numbers."""
    if not bars.values:
        return nothing(width, bars.title)
    rings = bars.compare or []
    if len(bars.labels) != len(bars.values) or len(rings) not in (0, len(bars.values)):
        return nothing(width, bars.title, "names and values differ in number")
    ends = [0.0, *bars.values, *rings]
    if not drawable(ends):
        return nothing(width, bars.title, "the values are too large or too near to draw")
    heads = [bars.value_label] if bars.value_label else []
    heads += [f"ring: {bars.compare_label or 'compared'}"] if rings else []
    if width >= 600 and heads:
        heads = ["; ".join(heads)]
    parts = [words(0, 12 + 16 * k, fit(head, width)) for k, head in enumerate(heads)]
    top = 16.0 * len(heads) + 12
    ticks = round_ticks(min(ends), max(ends)) if any(ends) else [0.0, 1.0]
    draw = _lying if len(bars.values) <= MOST_NAMED else _standing
    height, marks = draw(bars, rings, width, top, ticks)
    return drawing(width, height, describe(bars), [*parts, *marks])


def describe(bars: Bars) -> str:
    """The bars in words: each of a few; of many the number, the largest and the smallest."""
    title = shorten(bars.title, 80)
    pairs = list(zip(bars.labels, bars.values, strict=False))
    if not pairs:
        return f"{title}. nothing to draw"
    if len(pairs) <= MOST_NAMED:
        return f"{title}. " + ", ".join(f"{shorten(name, 30)} {number(value)}" for name, value in pairs)
    most, least = max(pairs, key=lambda pair: pair[1]), min(pairs, key=lambda pair: pair[1])
    return (
        f"{title}. {len(pairs)} categories; most: {shorten(most[0], 40)} {number(most[1])}; "
        f"least: {shorten(least[0], 40)} {number(least[1])}"
    )


def card(figure: Bars) -> list[Markup]:
    """The marks of the card's picture; empty where nothing can be drawn."""
    low, high = min([0.0, *figure.values]), max([0.0, *figure.values])
    if not figure.values or not drawable([low, high]):
        return []
    y = Scale(low, high if high > low else 1.0, BASE, TOP)
    pitch = (RIGHT - LEFT) / len(figure.values)
    parts = []
    for k, value in enumerate(figure.values):
        upper, lower = sorted((y.at(0), y.at(value)))
        parts.append(rect(LEFT + pitch * (k + 0.1), upper, 0.8 * pitch, lower - upper, "bar"))
    return [*parts, line(LEFT, y.at(0), RIGHT, y.at(0), "axis")]


def _lying(
    bars: Bars, rings: list[float], width: int, top: float, ticks: list[float]
) -> tuple[float, list[Markup]]:
    names = [fit(name, 0.38 * width, 40) for name in bars.labels]
    values = [fit(number(value), 90) for value in bars.values]
    left = max(map(text_width, names)) + 10
    x = Scale(ticks[0], ticks[-1], left, width - max(map(text_width, values)) - 12)
    bottom = top + ROW * len(names)
    parts = [line(x.at(0), top, x.at(0), bottom, "axis")]
    for k, (name, value) in enumerate(zip(names, bars.values, strict=True)):
        y = top + ROW * (k + 0.5)
        start, end = sorted((x.at(0), x.at(value)))
        parts.append(words(left - 10, y + 4, name, anchor="end", title=bars.labels[k]))
        parts.append(rect(start, y - 7, end - start, 14, "bar", _title(bars, rings, k)))
        if rings:
            end = max(end, x.at(rings[k]))
            parts.append(circle(x.at(rings[k]), y, 3.2, "ring"))
        parts.append(words(end + 8, y + 4, values[k], "value"))
    return bottom + 6, parts


def _standing(
    bars: Bars, rings: list[float], width: int, top: float, ticks: list[float]
) -> tuple[float, list[Markup]]:
    base = top + (220 if width >= 600 else 180)
    names = [fit(number(tick), 90) for tick in ticks]
    left = max(map(text_width, names)) + 8
    y = Scale(ticks[0], ticks[-1], base, top)
    parts = []
    for tick, name in zip(ticks, names, strict=True):
        parts.append(line(left, y.at(tick), width, y.at(tick), "axis" if tick == 0 else "grid"))
        parts.append(words(left - 8, y.at(tick) + 4, name, anchor="end"))
    count = len(bars.values)
    pitch = (width - left) / count
    digits = max(2, len(str(count - 1)))
    every = thinned(count, pitch, text_width("0" * digits) + 1)
    for k, value in enumerate(bars.values):
        x = left + pitch * k
        upper, lower = sorted((y.at(0), y.at(value)))
        parts.append(rect(x + 0.1 * pitch, upper, 0.8 * pitch, lower - upper, "bar", _title(bars, rings, k)))
        if rings:
            parts.append(circle(x + pitch / 2, y.at(rings[k]), min(2.6, 0.35 * pitch), "ring"))
        if k % every == 0:
            half = text_width("0" * digits) / 2
            parts.append(
                words(min(x + pitch / 2, width - half), base + 17, f"{k:0{digits}d}", anchor="middle")
            )
    return base + 24, parts


def _title(bars: Bars, rings: list[float], k: int) -> str:
    """What a pointer shows; left out of pictures with very many bars, which would grow large."""
    if len(bars.values) > MOST_TITLED:
        return ""
    ring = f", {shorten(bars.compare_label or 'compared', 40)} {number(rings[k])}" if rings else ""
    return f"{k:02d} {shorten(bars.labels[k], 60)}: {number(bars.values[k])}{ring}"
