"""A figure as a small picture without text, 182 x 64 px, for the card of a stage."""

from __future__ import annotations

from markupsafe import Markup

from safeml.report.charts import bars, curve, dots, heat
from safeml.report.charts.svg import Scale, circle, drawable, drawing, line, path, polyline, rect
from safeml.results import Bars, Curve, DotPlot, Gallery, Matrix, Table

WIDTH, HEIGHT = 182.0, 64.0
LEFT, RIGHT, TOP, BASE = 3.0, 179.0, 4.0, 60.0
HATCH = 9
MOST_CELLS = 400


def draw_card(figure: Table | Curve | Bars | DotPlot | Matrix | Gallery | None) -> Markup:
    """Draw the figure small; what cannot be drawn so (a table, a gallery, no figure) is a hatched box."""
    match figure:
        case Curve():
            marks, label = _curve(figure), curve.describe(figure)
        case Bars():
            marks, label = _bars(figure), bars.describe(figure)
        case DotPlot():
            marks, label = _dots(figure), dots.describe(figure)
        case Matrix():
            marks, label = _matrix(figure), heat.describe(figure)
        case _:
            return hatched_card()
    return drawing(WIDTH, HEIGHT, label, marks, "chart mini") if marks else hatched_card()


def hatched_card() -> Markup:
    """The picture of a stage that has none."""
    strokes = []
    for shift in range(HATCH, int(WIDTH + HEIGHT), HATCH):  # the lines x + y = shift, cut at the box
        left, right = max(0.0, shift - HEIGHT), min(float(shift), WIDTH)
        strokes.append(f"M{left:.0f} {shift - left:.0f}L{right:.0f} {shift - right:.0f}")
    parts = [path("".join(strokes), "hatch"), rect(0.5, 0.5, WIDTH - 1, HEIGHT - 1, "box")]
    return drawing(WIDTH, HEIGHT, "no picture", parts, "chart mini")


def _curve(figure: Curve) -> list[Markup]:
    lines = curve.complete(figure)
    if not lines or not curve.within_reach(lines):
        return []
    ticks = curve.y_ticks(figure, lines)
    x, y = curve.x_scale(lines, LEFT, RIGHT), Scale(ticks[0], ticks[-1], BASE, TOP)
    bands = [series for series in lines if curve.banded(series) and len(series.x) > 1]
    parts = [_base(), *(polyline(curve.band_points(series, x, y), "band") for series in bands)]
    for series in lines:
        points = [(x.at(a), y.at(b)) for a, b in zip(series.x, series.y, strict=True)]
        if len(points) > 1:
            parts.append(polyline(points, series.role))
        if len(points) == 1 or series.role == "main":
            parts.append(circle(*points[-1], 3, "dot" if series.role == "main" else "faint"))
    return parts


def _bars(figure: Bars) -> list[Markup]:
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


def _dots(figure: DotPlot) -> list[Markup]:
    """The groups from left to right in their order, each with its interval; an unmeasured group leaves a gap."""
    if all(dot.value is None for dot in figure.dots):
        return []
    ticks = dots.axis_ticks(figure)
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
    return [_base(), *whiskers, *marks]


def _matrix(figure: Matrix) -> list[Markup]:
    rows, columns = len(figure.row_labels), len(figure.column_labels)
    if not rows or not columns or [len(row) for row in figure.values] != [columns] * rows:
        return []
    wide, high = (RIGHT - LEFT) / columns, (BASE - TOP) / rows
    squares: dict[int, list[str]] = {}
    for i, j, _, share in heat.confusions(figure)[:MOST_CELLS]:
        corner = f"M{LEFT + wide * j:.1f} {TOP + high * i:.1f}"
        squares.setdefault(heat.level(share), []).append(f"{corner}h{wide:.1f}v{high:.1f}h-{wide:.1f}z")
    parts = [path("".join(found), f"h{step}") for step, found in sorted(squares.items())]
    return [line(LEFT, TOP, RIGHT, BASE, "grid"), rect(LEFT, TOP, RIGHT - LEFT, BASE - TOP, "box"), *parts]


def _base() -> Markup:
    return line(LEFT, BASE, RIGHT, BASE, "axis")
