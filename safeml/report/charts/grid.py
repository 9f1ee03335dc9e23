"""A proportion by row and column as a heat map with its numbers: a stronger colour is worse, a corner marks a cell that a gate reads.

Steps are fixed, so that the same colour means the same value on every page. A cell with a dash was not measured.
"""

from __future__ import annotations

import math
from collections.abc import Set
from typing import Any

from markupsafe import Markup

from safeml.report.charts.mini import BASE, LEFT, RIGHT, TOP
from safeml.report.charts.svg import drawing, fit, nothing, path, px, rect, shorten, text_width, words
from safeml.report.text import cell, head
from safeml.results import Grid, GridCell, GridMark
from safeml.wording import NOT_MEASURED, interval, number, percent

ROW, GROUP_GAP, HEADING = 24.0, 10.0, 22.0
LARGEST_CELL, ONE_DECIMAL, NUMBERED = 76.0, 38.0, 22.0
MOST_ROWS, MOST_COLUMNS = 60, 40
MOST_CARD_CELLS = 400
GROUPS_BESIDE = 600
WHOLE = "A gate reads the mean of all cells."
CORNER = 9.0
# Distance from the ideal value, 0 or 1, at which each step of the heat ramp begins.
STEPS = (0.03, 0.06, 0.10, 0.15, 0.22, 0.32, 0.44)
WHITE_INK = 5


def draw_grid(grid: Grid, width: int) -> Markup:
    """Draw the grid `width` px wide; each cell has its number where it fits and its interval as a title."""
    rows, columns = grid.rows[:MOST_ROWS], grid.columns[:MOST_COLUMNS]
    if not rows or not columns:
        return nothing(width, grid.title)
    beside = width >= GROUPS_BESIDE
    headings = [group.heading for group in grid.groups]
    room = _room(headings, 0.16 * width) if beside else 0.0
    left = room + _room([row.label for row in rows], 0.34 * width)
    wide = min(LARGEST_CELL, (width - left - 2) / len(columns))
    parts = [words(0, 12, fit(_key(grid), width))]
    parts += _column_heads(columns, left, wide)
    y, drawn, marked = 44.0, 0, _marked(grid)
    for group in grid.groups:
        if drawn >= MOST_ROWS:
            break
        y += GROUP_GAP if drawn else 0
        if group.heading and not beside:
            parts.append(words(0, y + 14, fit(group.heading, width), "value"))
            y += HEADING
        elif group.heading:
            parts.append(words(0, y + 16, fit(group.heading, room - 8), title=shorten(group.heading, 80)))
        for row in group.rows[: MOST_ROWS - drawn]:
            parts.append(words(room, y + 16, fit(row.label, left - room - 8), "value", title=row.label))
            for k, (column, found) in enumerate(zip(columns, row.cells, strict=False)):
                box = (left + wide * k, y, wide - 2, ROW - 2)
                parts += _cell(found, box, _told(grid, row.label, column, found), grid.worse)
                if (row.label, column) in marked:
                    parts.append(_corner(left + wide * (k + 1) - 2, y))
            y += ROW
            drawn += 1
    parts += _ramp(grid, left, y + 14, width)
    height = y + 50
    for note in _notes(grid):
        parts.append(words(0, height + 8, fit(note, width)))
        height += 18
    return drawing(width, height, describe(grid), parts)


def marked(grid: Grid, read: Set[tuple[str, str]]) -> Grid:
    """Return the grid with a mark on each place of a metric that a gate reads, and a sentence where it sums up the grid.

    read: name and slice of each metric that a gate reads.
    """
    places = [place for place in grid.reads if (place.metric, place.slice) in read]
    marks = [
        GridMark(row=place.row, column=column)
        for place in places
        if place.row or place.column
        for column in ([place.column] if place.column else grid.columns)
    ]
    whole = any(not place.row and not place.column for place in places)
    said = [WHOLE] if whole and WHOLE not in grid.reading else []
    return grid.model_copy(update={"marks": [*grid.marks, *marks], "reading": [*grid.reading, *said]})


def level(value: float, worse: str) -> int:
    """The step of the heat ramp, 0 to 7, for a value 0..1."""
    distance = 1 - value if worse == "low" else value
    return sum(distance >= step - 1e-12 for step in STEPS)


def describe(grid: Grid) -> str:
    """The grid in words: its size, the worst cell, the cells that a gate reads, and how many were not measured."""
    cells = [
        (row.label, column, c) for row in grid.rows for column, c in zip(grid.columns, row.cells, strict=True)
    ]
    measured = [entry for entry in cells if entry[2].value is not None]
    said = [f"{len(grid.rows)} rows, {len(grid.columns)} columns"] if cells else ["nothing to draw"]
    if measured:
        sign = 1 if grid.worse == "low" else -1
        worst = min(measured, key=lambda entry: sign * (entry[2].value or 0))
        said.append(f"worst {_told(grid, *worst)}")
    marked = _marked(grid)
    read = [_told(grid, *entry) for entry in cells if entry[:2] in marked]
    said += [f"read by a gate: {', '.join(read[:4])}{' and more' if len(read) > 4 else ''}"] if read else []
    if len(measured) < len(cells):
        said.append(f"{len(cells) - len(measured)} {NOT_MEASURED}")
    return f"{shorten(grid.title, 80)}. {'; '.join(said)}"


def card(grid: Grid) -> list[Markup]:
    """The marks of the card's picture; empty where nothing can be drawn."""
    rows, columns = grid.rows[:MOST_ROWS], grid.columns[:MOST_COLUMNS]
    if not rows or not columns:
        return []
    wide, high = (RIGHT - LEFT) / len(columns), (BASE - TOP) / len(rows)
    found = [
        (level(c.value, grid.worse), i, j)
        for i, row in enumerate(rows)
        for j, c in enumerate(row.cells[: len(columns)])
        if c.value is not None
    ]
    squares: dict[int, list[str]] = {}
    for step, i, j in sorted(found, reverse=True)[
        :MOST_CARD_CELLS
    ]:  # the worst, so that the picture stays small
        corner = f"M{px(LEFT + wide * j)} {px(TOP + high * i)}"
        squares.setdefault(step, []).append(f"{corner}h{px(wide)}v{px(high)}h{px(-wide)}z")
    if not squares:
        return []
    parts = [path("".join(cells), f"h{step}") for step, cells in sorted(squares.items())]
    return [*parts, rect(LEFT, TOP, RIGHT - LEFT, BASE - TOP, "box")]


def numbers(grid: Grid) -> dict[str, Any]:
    """Every cell with its interval, as a table for the page."""
    marked = _marked(grid)
    rows = [
        [
            cell(row.label, sub=group.heading),
            *(
                cell(
                    percent(c.value),
                    True,
                    "; ".join(
                        part
                        for part in (
                            "" if c.low is None else interval(c.low, c.high),
                            f"n = {number(c.n)}" if c.n else "",
                            "gate" if (row.label, column) in marked else "",
                        )
                        if part
                    ),
                )
                for column, c in zip(grid.columns, row.cells, strict=True)
            ),
        ]
        for group in grid.groups
        for row in group.rows
    ]
    heads = [head(grid.row_label or "Row"), *(head(column, True) for column in grid.columns)]
    return {"heads": heads, "rows": rows, "caption": "", "css": ""}


def _key(grid: Grid) -> str:
    axes = " and ".join(label for label in (grid.row_label, grid.column_label) if label)
    return f"{grid.value_label}{f' by {axes.lower()}' if axes else ''}, %"


def _room(labels: list[str], most: float) -> float:
    return (
        min(max(map(text_width, (shorten(label, 80) for label in labels)), default=0.0), most) + 12
        if any(labels)
        else 0.0
    )


def _column_heads(columns: list[str], left: float, wide: float) -> list[Markup]:
    """The labels where each fits, else index numbers from 1; the full label is the title."""
    fits = all(text_width(shorten(column, 40)) <= wide for column in columns)
    every = 1 if fits else max(1, math.ceil(text_width("00") / wide))
    return [
        words(left + wide * (k + 0.5) - 1, 36, shorten(column, 40) if fits else str(k + 1), anchor="middle", title=shorten(column, 80))
        for k, column in enumerate(columns)
        if k % every == 0
    ]  # fmt: skip


def _cell(found: GridCell, box: tuple[float, float, float, float], title: str, worse: str) -> list[Markup]:
    x, y, wide, high = box
    middle = y + high / 2
    if found.value is None:
        return [
            rect(x, y, wide, high, "open", title),
            words(x + wide / 2, middle + 4, "–", anchor="middle", title=title),
        ]
    step = level(found.value, worse)
    parts = [rect(x, y, wide, high, f"h{step}", title)]
    if wide >= NUMBERED:
        text = f"{100 * found.value:.1f}" if wide >= ONE_DECIMAL else f"{100 * found.value:.0f}"
        parts.append(
            words(x + wide / 2, middle + 4, text, "high" if step >= WHITE_INK else "ink", "middle", title)
        )
    return parts


def _corner(right: float, top: float) -> Markup:
    return path(
        f"M{px(right - CORNER)} {px(top)}L{px(right)} {px(top)}L{px(right)} {px(top + CORNER)}Z", "corner"
    )


def _marked(grid: Grid) -> set[tuple[str, str]]:
    return {
        (row.label, mark.column) for mark in grid.marks for row in grid.rows if mark.row in ("", row.label)
    }


def _told(grid: Grid, row: str, column: str, found: GridCell) -> str:
    place = f"{shorten(row, 60)}, {f'{grid.column_label} ' if grid.column_label else ''}{shorten(column, 40)}"
    if found.value is None:
        return f"{place}: {NOT_MEASURED}"
    counted = f", n = {number(found.n)}" if found.n else ""
    ends = "no interval" if found.low is None else interval(found.low, found.high)
    return f"{place}: {percent(found.value)} ({ends}){counted}"


def _ramp(grid: Grid, left: float, y: float, width: int) -> list[Markup]:
    """The steps of the ramp, each with the percent at which it begins."""
    left = min(left, width - 8 * 34.0)
    pitch = min(46.0, (width - left) / 8)
    sign = "≤" if grid.worse == "low" else "≥"
    starts = [100 * (1 - step) if grid.worse == "low" else 100 * step for step in STEPS]
    parts = [words(left - 6, y + 8, "%", anchor="end")]
    for k in range(8):
        parts.append(rect(left + pitch * k, y, pitch - 4, 8, f"h{k}"))
        text = (
            ("> " if grid.worse == "low" else "< ") + f"{starts[0]:.0f}"
            if k == 0
            else f"{sign} {starts[k - 1]:.0f}"
        )
        parts.append(words(left + pitch * k, y + 21, text))
    return parts


def _notes(grid: Grid) -> list[str]:
    notes = ["stronger colour: worse"]
    fits = len(grid.rows) <= MOST_ROWS and len(grid.columns) <= MOST_COLUMNS
    if grid.marks:
        notes.append("corner: a gate reads this cell")
    if any(found.value is None for row in grid.rows for found in row.cells):
        notes.append(f"–: {NOT_MEASURED}")
    if not fits:
        notes.append(
            f"drawn: {min(MOST_ROWS, len(grid.rows))} of {number(len(grid.rows))} rows, {min(MOST_COLUMNS, len(grid.columns))} of {number(len(grid.columns))} columns; the table has all"
        )
    return notes
