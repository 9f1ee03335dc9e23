"""A confusion matrix: dark means worse. Right answers stay neutral, so that the mistakes stand out."""

from __future__ import annotations

from markupsafe import Markup

from safeml.report.charts import svg
from safeml.results import Matrix

STEPS = (0.0, 0.005, 0.02, 0.05, 0.1, 0.2, 0.4)
NUMBERS_UP_TO = 12


def draw_matrix(matrix: Matrix, width: int) -> Markup:
    """The matrix at `width` pixels. Only cells with a count are drawn: most of a good model's matrix is empty."""
    rows, columns = len(matrix.row_labels), len(matrix.column_labels)
    if not rows or not columns:
        return svg.nothing(width)
    left, top = 34, 40
    size = min((width - left - 4) / columns, 40)
    square = rows == columns or matrix.row_labels == matrix.column_labels[:rows]
    parts = [svg.text(left, 12, "predicted class →"), svg.text(0, 30, "true ↓")]
    parts.append(svg.rect("field", left, top, size * columns, size * rows))
    every = max(1, round(16 / size + 0.49))
    for index in range(0, max(rows, columns), every):
        along = size * (index + 0.5)
        if index < columns:
            parts.append(svg.text(left + along, top - 5, f"{index:02d}", "middle", "t small"))
        if index < rows:
            parts.append(svg.text(left - 5, top + along + 4, f"{index:02d}", "end", "t small"))
    wrong = 0
    for row, counts in enumerate(matrix.values):
        total = sum(counts)
        for column, count in enumerate(counts):
            if not count:
                continue
            share = count / total
            right = square and row == column
            wrong += 0 if right else count
            css = "right" if right else f"h{max(1, sum(share >= step for step in STEPS))}"
            title = (
                ""
                if right
                else f"{matrix.row_labels[row]} read as {matrix.column_labels[column]}: {count} of {total}"
            )
            x, y = left + size * column, top + size * row
            parts.append(svg.rect(css, x, y, size, size, title))
            if columns <= NUMBERS_UP_TO:
                high = not right and css in ("h5", "h6", "h7")
                parts.append(
                    svg.text(
                        x + size / 2, y + size / 2 + 4, str(count), "middle", "t on-high" if high else "t"
                    )
                )
    total = sum(map(sum, matrix.values))
    return svg.frame(
        width,
        top + size * rows + 4,
        f"{matrix.title}: {total - wrong} of {total} on the diagonal, {wrong} mistakes",
        parts,
    )
