"""A proportion with its interval for each of many groups, weakest first: filled is the value, hollow is what it is compared with."""

from __future__ import annotations

from markupsafe import Markup

from safeml.report.charts import svg
from safeml.results import Dot, DotPlot
from safeml.wording import NOT_MEASURED

ROW, TOP, ONE_COLUMN = 19, 30, 14


def draw_dots(plot: DotPlot, width: int) -> Markup:
    """The dot plot at `width` pixels, in two columns where there is room."""
    if not plot.dots:
        return svg.nothing(width)
    columns = 2 if width > 500 and len(plot.dots) > ONE_COLUMN else 1
    rows = -(-len(plot.dots) // columns)
    each = (width - 24 * (columns - 1)) / columns
    parts: list[str] = []
    for column in range(columns):
        x = column * (each + 24)
        parts += _column(plot.dots[column * rows : (column + 1) * rows], plot.overall, x, each, rows)
    measured = [dot for dot in plot.dots if dot.value is not None]
    weakest = (
        f"weakest {measured[0].label} {100 * (measured[0].value or 0):.1f} %" if measured else NOT_MEASURED
    )
    overall = "" if plot.overall is None else f", overall {100 * plot.overall:.1f} %"
    return svg.frame(
        width, TOP + ROW * rows + 12, f"{plot.title}: {len(plot.dots)} groups, {weakest}{overall}", parts
    )


def _column(dots: list[Dot], overall: float | None, x: float, width: float, rows: int) -> list[str]:
    left = x + min(170, width * 0.45)
    room = x + width - left - 14
    bottom = TOP + ROW * rows
    parts = []
    for tick in (0, 25, 50, 75, 100):
        at = left + room * tick / 100
        parts += [svg.line("grid", at, TOP - 6, at, bottom), svg.text(at, TOP - 12, str(tick), "middle")]
    if overall is not None:
        at = left + room * overall
        parts.append(svg.line("bound", at, TOP - 6, at, bottom))
    for row, dot in enumerate(dots):
        y = TOP + ROW * row + ROW / 2
        parts.append(
            svg.text(left - 8, y + 4, dot.label, "end", limit=int((left - x - 8) / svg.CHARACTER) + 1)
        )
        if dot.value is None:
            parts.append(svg.text(left + 4, y + 4, NOT_MEASURED, css="t muted-t"))
            continue
        if dot.low is not None and dot.high is not None:
            start = left + room * max(dot.low, 0)
            parts.append(svg.rect("band", start, y - 2.5, room * (min(dot.high, 1) - max(dot.low, 0)), 5))
        if dot.compare is not None:
            parts.append(svg.circle("hollow", left + room * dot.compare, y, 3))
        parts.append(svg.circle("dot", left + room * dot.value, y, 3.2))
    return parts
