"""How each kind of figure is shown: one row of DRAW a record type, read by the stage page and by the index card.

To add a kind: a record and its name in the `Figure` union of results/figures.py, a chart file, a row here and a row in the tests.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from markupsafe import Markup

from safeml.report import rows
from safeml.report.charts import bars, curve, dots, grid, matrix, mini, reliability
from safeml.results import (
    Bars,
    Curve,
    DotPlot,
    Figure,
    Gallery,
    GateResult,
    Grid,
    Matrix,
    Record,
    Reliability,
    Strip,
    Table,
)

WIDE, NARROW = 760, 358


@dataclass(frozen=True)
class Chart:
    """A figure drawn as SVG.

    draw: the picture at a width in px. card: the marks of the small picture on the index.
    describe: the figure in words. numbers: the table below the figure, where the caption does not repeat the numbers.
    """

    draw: Callable[[Any, int], Markup]
    card: Callable[[Any], list[Markup]]
    describe: Callable[[Any], str]
    numbers: Callable[[Any], dict[str, Any]] | None = None


@dataclass(frozen=True)
class Block:
    """A figure laid out as HTML by the macro of the same name in _macros.html; it has no small picture."""

    macro: str
    view: Callable[[Any], dict[str, Any]]


DRAW: dict[type[Record], Chart | Block] = {
    Table: Block("table", rows.table_view),
    Curve: Chart(curve.draw_curve, curve.card, curve.describe),
    Bars: Chart(bars.draw_bars, bars.card, bars.describe),
    DotPlot: Chart(dots.draw_dots, dots.card, dots.describe),
    Matrix: Chart(matrix.draw_matrix, matrix.card, matrix.describe),
    Grid: Chart(grid.draw_grid, grid.card, grid.describe, grid.numbers),
    Reliability: Chart(
        reliability.draw_reliability, reliability.card, reliability.describe, reliability.numbers
    ),
    Gallery: Block("gallery", rows.gallery_view),
    Strip: Block("strip", rows.strip_view),
}


def figure_view(figure: Figure, gates: Sequence[GateResult] = ()) -> dict[str, Any]:
    """The figure for the stage page: a block of HTML, or the picture at both widths with its reading and numbers.

    gates: of the stage; their limits are drawn on a curve that their metrics lie on.
    """
    shown = DRAW[type(figure)]
    folded = (isinstance(figure, Table) and figure.fold) or (
        isinstance(figure, Grid) and figure.fold and not figure.marks
    )
    view: dict[str, Any] = {"title": figure.title, "folded": folded}
    if isinstance(shown, Block):
        return {**view, "macro": shown.macro, "block": shown.view(figure)}
    reading = [*getattr(figure, "reading", []), *([figure.caption] if figure.caption else [])]
    draw = shown.draw
    limits = limits_on(figure, gates) if isinstance(figure, Curve) else []
    if limits:
        draw = partial(curve.draw_curve, limits=limits)
        reading.append("The short bar is the limit of a gate, which the whole interval must clear.")
    return {
        **view,
        "macro": "",
        "wide": draw(figure, WIDE),
        "narrow": draw(figure, NARROW),
        "reading": reading,
        "numbers": shown.numbers(figure) if shown.numbers else None,
    }


def limits_on(figure: Curve, gates: Sequence[GateResult]) -> list[curve.Limit]:
    """Return the limits of the gates whose metrics lie on the main line of a curve."""
    at = dict(figure.read_at)
    return [
        curve.Limit(at[result.gate.metric], result.gate.threshold)
        for result in gates
        if result.gate.metric in at and result.gate.slice == "all"
    ]


def draw_card(figure: Figure | None) -> Markup:
    """Draw the figure small; a hatched box for HTML blocks, for no figure, and where nothing can be drawn."""
    shown = None if figure is None else DRAW[type(figure)]
    if not isinstance(shown, Chart):
        return mini.hatched_card()
    return mini.framed(shown.describe(figure), shown.card(figure))
