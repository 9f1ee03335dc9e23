"""A confusion matrix: colour is the percent of the row, the number is the images. Correct predictions are outlined, so that errors are visible.

K row and column classes. A strong colour is a frequent confusion; an empty cell never occurred; a dotted row had no images.
"""

from __future__ import annotations

import math

from markupsafe import Markup

from safeml.report.charts.mini import BASE, LEFT, RIGHT, TOP
from safeml.report.charts.svg import (
    drawing,
    fit,
    line,
    nothing,
    path,
    px,
    rect,
    shorten,
    text_width,
    thinned,
    words,
)
from safeml.results import Matrix
from safeml.wording import number, percent

HEAD, FOOT = 38.0, 46.0
LARGEST_CELL, TALLEST = 44.0, 640.0
NAMED = 12
MOST_TITLED, MOST_NUMBERED = 160, 60
MOST_DRAWN = 2000
MOST_CELLS = 400
SMALL = 9 / 11.5  # the size of class `small` against the text of a chart
STEPS = (0.02, 0.05, 0.10, 0.20, 0.50)
FIRST_LEVEL = 2


def draw_matrix(matrix: Matrix, width: int) -> Markup:
    """Draw the matrix `width` px wide; cells carry their number of images where it fits, confusions a title."""
    rows, columns = len(matrix.row_labels), len(matrix.column_labels)
    if not rows or not columns:
        return nothing(width, matrix.title)
    if len(matrix.values) != rows or any(len(row) != columns for row in matrix.values):
        return nothing(width, matrix.title, "names and counts differ in number")
    names = _row_names(matrix, width)
    left = math.ceil(max(map(text_width, names))) + 10
    cell = min(LARGEST_CELL, (width - left - 4) / columns, TALLEST / rows)
    cell = math.floor(cell) if cell >= 2 else cell  # whole px keep the cells sharp and the file small
    right, bottom = left + cell * columns, HEAD + cell * rows
    every = thinned(max(rows, columns), cell, text_width("00") + 2)
    parts = [
        words(
            0,
            12,
            fit("row: true class · column: predicted class · number: images · colour: % of the row", width),
        )
    ]
    for k in range(0, rows, every):
        y = HEAD + cell * (k + 0.5)
        parts.append(words(left - 6, y + 4, names[k], anchor="end", title=shorten(matrix.row_labels[k], 60)))
    for k in range(0, columns, every):
        name = shorten(matrix.column_labels[k], 60)
        parts.append(words(left + cell * (k + 0.5), HEAD - 8, f"{k:02d}", anchor="middle", title=name))
    parts += [line(left, HEAD + cell * k, right, HEAD + cell * k, "grid") for k in _guides(rows)]
    parts += [line(left + cell * k, HEAD, left + cell * k, bottom, "grid") for k in _guides(columns)]
    parts += _no_images(matrix, left, right, cell)
    parts += _right_answers(matrix, left, cell)
    parts += _confusions(matrix, left, cell)
    parts += _ramp(left, bottom + 16, width)
    height = bottom + FOOT
    found = len(confusions(matrix))
    if found > MOST_DRAWN:
        height += 18
        note = f"drawn: the {number(MOST_DRAWN)} largest of {number(found)} confusions"
        parts.append(words(0, height - 6, fit(note, width)))
    return drawing(width, height, describe(matrix), parts)


def level(share: float) -> int:
    """The step of the heat ramp, 2 to 7, for a share of the row."""
    return FIRST_LEVEL + sum(share >= step for step in STEPS)


def confusions(matrix: Matrix) -> list[tuple[int, int, int, float]]:
    """Row, column, count and share of the row of each kind of misclassification, largest share first."""
    found = [
        (i, j, count, count / sum(row))
        for i, row in enumerate(matrix.values)
        for j, count in enumerate(row)
        if count > 0 and matrix.row_labels[i] != matrix.column_labels[j]
    ]
    return sorted(found, key=lambda cell: -cell[3])


def describe(matrix: Matrix) -> str:
    """The matrix in words: how many predictions, how many incorrect, and the three largest confusions."""
    wrong = confusions(matrix)
    worst = [
        f"{shorten(matrix.row_labels[i], 30)} as {shorten(matrix.column_labels[j], 30)} "
        f"{number(count)} times ({percent(share)})"
        for i, j, count, share in wrong[:3]
    ]
    answers, errors = sum(map(sum, matrix.values)), sum(cell[2] for cell in wrong)
    largest = f"; largest: {', '.join(worst)}" if worst else ""
    return f"{shorten(matrix.title, 80)}. {number(answers)} predictions, {number(errors)} incorrect{largest}"


def card(figure: Matrix) -> list[Markup]:
    """The marks of the card's picture; empty where nothing can be drawn."""
    rows, columns = len(figure.row_labels), len(figure.column_labels)
    if not rows or not columns or [len(row) for row in figure.values] != [columns] * rows:
        return []
    wide, high = (RIGHT - LEFT) / columns, (BASE - TOP) / rows
    squares: dict[int, list[str]] = {}
    for i, j, _, share in confusions(figure)[:MOST_CELLS]:
        corner = f"M{LEFT + wide * j:.1f} {TOP + high * i:.1f}"
        squares.setdefault(level(share), []).append(f"{corner}h{wide:.1f}v{high:.1f}h-{wide:.1f}z")
    parts = [path("".join(found), f"h{step}") for step, found in sorted(squares.items())]
    return [line(LEFT, TOP, RIGHT, BASE, "grid"), rect(LEFT, TOP, RIGHT - LEFT, BASE - TOP, "box"), *parts]


def _row_names(matrix: Matrix, width: int) -> list[str]:
    if len(matrix.row_labels) > NAMED:
        return [f"{k:02d}" for k in range(len(matrix.row_labels))]
    return [fit(f"{k:02d} {name}", 0.3 * width, 30) for k, name in enumerate(matrix.row_labels)]


def _guides(count: int) -> range:
    """Hairlines that lead the eye: every cell of a small matrix, every fifth of a large one."""
    return range(0, count + 1, 1 if count <= NAMED else 5 * math.ceil(count / 100))


def _no_images(matrix: Matrix, left: float, right: float, cell: float) -> list[Markup]:
    middles = [HEAD + cell * (i + 0.5) for i, row in enumerate(matrix.values) if not any(row)]
    return [line(left, y, right, y, "absent") for y in middles]


def _right_answers(matrix: Matrix, left: float, cell: float) -> list[Markup]:
    outlines: list[str] = []
    counts: list[Markup] = []
    side = cell - 2 if cell > 4 else cell
    for i, name in enumerate(matrix.row_labels):
        total = sum(matrix.values[i])
        for j in [j for j, other in enumerate(matrix.column_labels) if other == name and total]:
            x, y = left + cell * j, HEAD + cell * i
            edge = (cell - side) / 2
            outlines.append(f"M{px(x + edge)} {px(y + edge)}h{px(side)}v{px(side)}h{px(-side)}z")
            counts += _count(matrix.values[i][j], x, y, cell, "words")
    return [path("".join(outlines), "right"), *counts] if outlines else []


def _count(images: int, x: float, y: float, cell: float, ink: str) -> list[Markup]:
    """The number of images in the middle of a cell, where it fits."""
    text = str(images)
    size = "" if text_width(text) + 3 <= cell else "small"
    if not images or text_width(text) * SMALL + 2 > cell:
        return []
    return [words(x + cell / 2, y + cell / 2 + (3 if size else 4), text, f"{ink} {size}".strip(), "middle")]


def _confusions(matrix: Matrix, left: float, cell: float) -> list[Markup]:
    """The largest ones with a title; the rest as one path for each step, so that the picture stays small."""
    side = cell - 1 if cell > 4 else cell
    parts: list[Markup] = []
    rest: dict[int, list[str]] = {}
    for rank, (i, j, count, share) in enumerate(confusions(matrix)[:MOST_DRAWN]):
        x, y, step = left + cell * j, HEAD + cell * i, level(share)
        if rank >= MOST_TITLED:
            rest.setdefault(step, []).append(f"M{px(x)} {px(y)}h{px(side)}v{px(side)}h{px(-side)}z")
            continue
        parts.append(rect(x, y, side, side, f"h{step}", f"{i:02d} as {j:02d}: {count} ({percent(share)})"))
        if rank < MOST_NUMBERED:
            parts += _count(count, x, y, cell, "high" if step >= 5 else "value")
    return parts + [path("".join(squares), f"h{step}") for step, squares in sorted(rest.items())]


def _ramp(left: float, y: float, width: int) -> list[Markup]:
    """The steps of the ramp, each with the percent at which it begins."""
    pitch = min(52.0, (width - left - 50) / (len(STEPS) + 1))
    parts = [words(left - 6, y + 10, "%", anchor="end")]
    for k, start in enumerate((0.0, *STEPS)):
        x = left + pitch * k
        parts.append(rect(x, y, pitch - 4, 8, f"h{FIRST_LEVEL + k}"))
        parts.append(words(x, y + 22, f"{100 * start:.0f}{'+' if k == len(STEPS) else ''}"))
    return parts
