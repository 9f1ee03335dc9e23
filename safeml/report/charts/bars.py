"""Bars by category: horizontal with names where they are few, vertical with class numbers where they are many."""

from __future__ import annotations

from markupsafe import Markup

from safeml.report.charts import svg
from safeml.results import Bars

FEW = 12


def draw_bars(bars: Bars, width: int) -> Markup:
    """The bars at `width` pixels; the compared values are ticks across or beside them."""
    if not bars.values:
        return svg.nothing(width)
    most = max([*bars.values, *(bars.compare or []), 0]) or 1
    head = bars.value_label + (f"; line: {bars.compare_label}" if bars.compare and bars.compare_label else "")
    label = f"{bars.title}: {len(bars.values)} bars from {svg.short(min(bars.values))} to {svg.short(max(bars.values))}"
    draw = _rows if len(bars.values) <= FEW else _columns
    parts, height = draw(bars, width, most)
    return svg.frame(width, height, label, [svg.text(0, 12, head), *parts])


def _rows(bars: Bars, width: int, most: float) -> tuple[list[str], float]:
    left = min(180, width * 0.4)
    room = width - left - 60
    parts = []
    for row, (label, value) in enumerate(zip(bars.labels, bars.values, strict=True)):
        y = 26 + 22 * row
        length = room * max(value, 0) / most
        parts += [
            svg.text(left - 8, y + 11, label, "end", limit=int(left / svg.CHARACTER)),
            svg.rect("fill", left, y, length, 14, f"{label}: {svg.short(value)}"),
            svg.text(left + length + 6, y + 11, svg.short(value)),
        ]
        if bars.compare is not None:
            x = left + room * max(bars.compare[row], 0) / most
            parts.append(svg.line("limit", x, y - 2, x, y + 16))
    return parts, 30 + 22 * len(bars.values)


def _columns(bars: Bars, width: int, most: float) -> tuple[list[str], float]:
    left, top, height = 44, 26, 200
    step = (width - left) / len(bars.values)
    scale = svg.ticks(0, most, 4)
    parts = []
    for tick in scale:
        y = top + height * (1 - tick / scale[-1])
        parts += [svg.line("grid", left, y, width, y), svg.text(left - 6, y + 4, svg.short(tick), "end")]
    every = max(1, -(-len(bars.values) * 20 // int(width - left)))
    for column, (label, value) in enumerate(zip(bars.labels, bars.values, strict=True)):
        x = left + step * column
        tall = height * max(value, 0) / scale[-1]
        parts.append(
            svg.rect(
                "fill",
                x + step * 0.12,
                top + height - tall,
                step * 0.76,
                tall,
                f"{label}: {svg.short(value)}",
            )
        )
        if bars.compare is not None:
            y = top + height * (1 - max(bars.compare[column], 0) / scale[-1])
            parts.append(svg.line("limit", x + 1, y, x + step - 1, y))
        if column % every == 0:
            parts.append(svg.text(x + step / 2, top + height + 16, f"{column:02d}", "middle"))
    return parts, top + height + 24
