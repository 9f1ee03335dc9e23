"""A reliability diagram: observed accuracy by confidence bin, the diagonal, the consistency band, and the counts below."""

from __future__ import annotations

import math
from typing import Any

from markupsafe import Markup

from safeml.report.charts.mini import BASE, LEFT, RIGHT, TOP
from safeml.report.charts.svg import (
    Scale,
    circle,
    drawing,
    fit,
    line,
    nothing,
    rect,
    shorten,
    text_width,
    words,
)
from safeml.report.text import cell, head
from safeml.results import Reliability, ReliabilityBin
from safeml.wording import interval, number, percent

HEAD, PLOT, GAP, COUNTS, FOOT = 60.0, 260.0, 34.0, 56.0, 40.0
WIDEST = 520.0
TICKS = (0.0, 0.25, 0.5, 0.75, 1.0)
MOST_BINS = 100
NARROWEST_BAR = 1.0


def draw_reliability(figure: Reliability, width: int) -> Markup:
    """Draw the diagram `width` px wide; both axes are 0 to 100 %."""
    if not any(entry.n for entry in figure.bins):
        return nothing(width, figure.title)
    left = text_width("100") + 10
    x = Scale(0, 1, left, min(left + WIDEST, width - 14.0))
    y = Scale(0, 1, HEAD + PLOT, HEAD)
    key = _key(figure) if width >= 600 else _key(figure).replace("; grey", ";\ngrey")
    heads = ["accuracy, %, by confidence", *key.split("\n")]
    parts = [words(0, 12 + 16 * k, fit(text, width)) for k, text in enumerate(heads)]
    for tick in TICKS:
        parts.append(line(x.start, y.at(tick), x.end, y.at(tick), "axis" if tick == 0 else "grid"))
        parts.append(words(left - 8, y.at(tick) + 4, f"{100 * tick:.0f}", anchor="end"))
    bins = figure.bins[:MOST_BINS]
    for entry in bins:
        parts += _bar(entry, x, y)
    parts.append(line(x.at(0), y.at(0), x.at(1), y.at(1), "overall"))
    parts += [circle(x.at(a), y.at(b), 3.2, "ring") for a, b in figure.compare[:MOST_BINS]]
    parts += [
        circle(x.at(e.confidence), y.at(e.accuracy), 3.2, "dot")
        for e in bins
        if e.confidence is not None and e.accuracy is not None
    ]
    parts += _counts(bins, x, HEAD + PLOT + GAP)
    height = HEAD + PLOT + GAP + COUNTS + FOOT
    parts.append(words(left, height - 6, fit("confidence, %", width - left)))
    return drawing(width, height, describe(figure), parts)


def describe(figure: Reliability) -> str:
    """The diagram in words: bins, images, how many bins lie outside the band, and the largest gap."""
    found = [entry for entry in figure.bins if entry.n]
    if not found:
        return f"{shorten(figure.title, 80)}. nothing to draw"
    images = number(sum(entry.n for entry in found))
    said = [f"{len(found)} bins with images, {images} images"]
    banded = [entry for entry in found if entry.low is not None]
    if banded:
        outside = sum(not _inside(entry) for entry in banded)
        said.append(f"{outside} of {len(banded)} bins outside the {_band_name(figure)}")
    worst = max(found, key=lambda entry: abs((entry.accuracy or 0) - (entry.confidence or 0)))
    said.append(
        f"largest gap at confidence {percent(worst.confidence)}: accuracy {percent(worst.accuracy)}, n = {number(worst.n)}"
    )
    return f"{shorten(figure.title, 80)}. {'; '.join(said)}"


def card(figure: Reliability) -> list[Markup]:
    """The marks of the card's picture; empty where nothing can be drawn."""
    found = [entry for entry in figure.bins[:MOST_BINS] if entry.n]
    if not found:
        return []
    x, y = Scale(0, 1, LEFT, RIGHT), Scale(0, 1, BASE, TOP)
    parts = [mark for entry in found for mark in _bar(entry, x, y)]
    parts.append(line(LEFT, BASE, RIGHT, TOP, "overall"))
    dots = [circle(x.at(e.confidence or 0), y.at(e.accuracy or 0), 2.4, "dot") for e in found]
    return [*parts, *dots, line(LEFT, BASE, RIGHT, BASE, "axis")]


def numbers(figure: Reliability) -> dict[str, Any]:
    """Every bin as a row of a table for the page."""
    heads = [head("Confidence bin")]
    heads += [head(label, True) for label in ("Mean confidence", "Accuracy", "Consistency band", "n")]
    rows = [
        [
            cell(interval(entry.start, entry.end)),
            cell(percent(entry.confidence) if entry.n else "–", True),
            cell(percent(entry.accuracy) if entry.n else "–", True),
            cell(interval(entry.low, entry.high) if entry.low is not None else "–", True),
            cell(number(entry.n), True),
        ]
        for entry in figure.bins
    ]
    return {"heads": heads, "rows": rows, "caption": "", "css": ""}


def _key(figure: Reliability) -> str:
    parts = ["dot: observed"]
    if figure.compare:
        parts.append(f"ring: {shorten(figure.compare_label or 'compared', 24)}")
    if any(entry.low is not None for entry in figure.bins):
        parts.append(f"grey: {_band_name(figure)}")
    return "; ".join([*parts, "dotted: perfect"])


def _band_name(figure: Reliability) -> str:
    return f"{100 * figure.level:.4g}\u202f% consistency band"


def _inside(entry: ReliabilityBin) -> bool:
    low, high, accuracy = entry.low, entry.high, entry.accuracy
    return low is None or high is None or accuracy is None or low <= accuracy <= high


def _bar(entry: ReliabilityBin, x: Scale, y: Scale) -> list[Markup]:
    if entry.accuracy is None:
        return []
    wide = max(x.at(entry.end) - x.at(entry.start) - 1, NARROWEST_BAR)
    start = min(x.at(entry.start) + 0.5, x.end - wide)
    parts = [
        rect(start, y.at(entry.accuracy), wide, y.at(0) - y.at(entry.accuracy), "interval", _told(entry))
    ]
    if entry.low is not None and entry.high is not None:
        top, bottom = y.at(entry.high), y.at(entry.low)
        parts.append(rect(start, top, wide, max(bottom - top, 1), "consistency"))
    parts.append(line(start, y.at(entry.accuracy), start + wide, y.at(entry.accuracy), "main"))
    return parts


def _counts(bins: list[ReliabilityBin], x: Scale, top: float) -> list[Markup]:
    """Images by bin on a log scale: one image is a low bar, an empty bin none."""
    base = top + COUNTS
    most = max(entry.n for entry in bins)
    y = Scale(0, math.log10(most + 1), base, top + 14)
    parts = [words(x.start, top - 4, "images, log scale"), line(x.start, base, x.end, base, "axis")]
    end = 0.0
    for entry in bins:
        if not entry.n:
            continue
        wide = max(x.at(entry.end) - x.at(entry.start) - 1, NARROWEST_BAR)
        start = min(x.at(entry.start) + 0.5, x.end - wide)
        high = base - y.at(math.log10(entry.n + 1))
        parts.append(rect(start, base - high, wide, high, "faint", _told(entry)))
        text = number(entry.n)
        middle = min(start + wide / 2, x.end + 12 - text_width(text) / 2)
        if middle - text_width(text) / 2 >= end:
            parts.append(words(middle, base - high - 3, text, anchor="middle"))
            end = middle + text_width(text) / 2 + 2
    parts += [words(x.at(tick), base + 16, f"{100 * tick:.0f}", anchor="middle") for tick in TICKS]
    return parts


def _told(entry: ReliabilityBin) -> str:
    band = "" if entry.low is None else f"; consistency band {interval(entry.low, entry.high)}"
    return f"confidence {interval(entry.start, entry.end)}: accuracy {percent(entry.accuracy)}{band}; n = {number(entry.n)}"
