"""A figure as a small wordless picture, 182 x 64, for the stage cards of the index."""

from __future__ import annotations

from markupsafe import Markup

from safeml.report.charts import svg
from safeml.results import Bars, Curve, DotPlot, Gallery, Matrix, Table

WIDTH, HEIGHT = 182, 64


def draw_card(figure: Curve | Bars | DotPlot | Matrix | Table | Gallery | None) -> Markup:
    """The figure without words; a hatched box where there is none to draw."""
    match figure:
        case Curve() if any(len(line.x) > 1 for line in figure.series):
            parts, what = _curve(figure), figure.title
        case Bars() if figure.values:
            parts, what = _bars(figure.values), figure.title
        case DotPlot() if any(dot.value is not None for dot in figure.dots):
            parts, what = _dots(figure), figure.title
        case _:
            parts, what = _hatched(), "nothing measured to draw"
    return svg.frame(WIDTH, HEIGHT, what, parts, css="chart mini")


def _curve(curve: Curve) -> list[str]:
    lines = [line for line in curve.series if len(line.x) > 1]
    xs = [x for line in lines for x in line.x]
    ys = [y for line in lines for y in line.y]
    low, high = (0.0, 1.0) if curve.percent else (min(ys), max(ys))
    wide, tall = (max(xs) - min(xs)) or 1, (high - low) or 1
    parts = []
    for line in sorted(lines, key=lambda line: line.role == "main"):
        points = [
            (2 + 178 * (x - min(xs)) / wide, 61 - 58 * (y - low) / tall)
            for x, y in sorted(zip(line.x, line.y, strict=True))
        ]
        parts.append(svg.path(line.role, points))
    return [svg.line("grid", 0, 62, WIDTH, 62), *parts]


def _bars(values: list[float]) -> list[str]:
    step, most = WIDTH / len(values), max(values) or 1
    return [
        svg.rect("fill", step * k + 0.5, 62 - 58 * max(v, 0) / most, step * 0.8, 58 * max(v, 0) / most)
        for k, v in enumerate(values)
    ]


def _dots(plot: DotPlot) -> list[str]:
    values = [(dot.low, dot.value, dot.high) for dot in plot.dots if dot.value is not None]
    step = WIDTH / len(values)
    parts = []
    for k, (low, value, high) in enumerate(values):
        x = step * (k + 0.5)
        if low is not None and high is not None:
            parts.append(
                svg.rect("band", x - 1.5, 62 - 58 * min(high, 1), 3, 58 * (min(high, 1) - max(low, 0)))
            )
        parts.append(svg.circle("dot", x, 62 - 58 * (value or 0), 1.6))
    return [svg.line("grid", 0, 62, WIDTH, 62), *parts]


def _hatched() -> list[str]:
    return [svg.rect("hatch-box", 0.5, 0.5, WIDTH - 1, HEIGHT - 1)] + [
        svg.line("hatch", x, HEIGHT - 1, min(x + HEIGHT - 2, WIDTH), max(1, HEIGHT - 1 - (WIDTH - x)))
        for x in range(-56, WIDTH, 8)
        if x >= 0
    ]
