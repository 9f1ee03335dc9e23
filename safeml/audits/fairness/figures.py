"""The pictures of the fairness stage: accuracy by group, by two groups together, and the images behind the slices. Legend: N images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from safeml.audits.fairness.conditions import Column
from safeml.audits.fairness.metrics import ByGroup, weakest_group
from safeml.audits.fairness.search import Found, crossed
from safeml.audits.fairness.tables import by_group
from safeml.audits.gallery import panel
from safeml.audits.performance.mistakes import answer_name
from safeml.audits.slices import numbers
from safeml.data.dataset import ImageDataset
from safeml.metrics.classification import Predictions
from safeml.results import Dot, DotPlot, Gallery, GalleryItem, Grid, GridCell, GridGroup, GridRow
from safeml.stages.fairness import LEAST_GROUP_SIGNS
from safeml.wording import counted, number

MOST_DOTS = 40
MOST_ROWS, MOST_COLUMNS = 12, 8
SLICES_SHOWN, PER_SLICE = 3, 8
DOTS = "accuracy-by-condition"


def group_dots(found: Sequence[ByGroup], overall: float) -> DotPlot:
    """Return the accuracy of each group with its interval, weakest first."""
    dots = []
    for by in found:
        low, high = by.rates.ends()
        for code, name in enumerate(by.column.names):
            known = np.isfinite(low[code])
            dots.append(
                Dot(
                    label=by.column.phrase(name),
                    value=float(by.rates.values[code]),
                    low=float(low[code]) if known else None,
                    high=float(high[code]) if known else None,
                    n=int(by.rates.groups.n[code]),
                )
            )
    dots.sort(key=lambda dot: (dot.value or 0.0, dot.label))
    shown = dots[:MOST_DOTS]
    rest = f" The {MOST_DOTS} weakest of {len(dots)} groups." if len(dots) > len(shown) else ""
    return DotPlot(
        id=DOTS,
        title="Accuracy by group",
        dots=shown,
        overall=overall,
        caption="Weakest first. Each image is in one group of each column. The bar is the 95 % interval of that group alone; the line "
        f"is the accuracy over all images.{rest}",
    )


def pair_grid(columns: Sequence[Column], labels: np.ndarray, predicted: np.ndarray) -> Grid | None:
    """Return the accuracy by the first column and each other one together; None with fewer than two columns."""
    usable = [column for column in columns if 1 < len(column.names) <= MOST_ROWS]
    if len(usable) < 2 or len(usable[0].names) > MOST_COLUMNS:
        return None
    first = usable[0]
    cells = {column.name: _cells(first, column, labels, predicted) for column in usable[1:]}
    every = [cell for of_column in cells.values() for cell in of_column.values()]
    empty = [cell for cell in every if cell.is_small]
    note = ""
    if empty:
        images, errors = sum(cell.n for cell in empty), sum(cell.errors for cell in empty)
        note = (
            f" {counted(len(empty), 'cell')} of fewer than {LEAST_GROUP_SIGNS} sign tracks are left empty; {number(errors)} of their "
            f"{counted(images, 'image')} are misclassified."
        )
    return Grid(
        id="accuracy-by-two-groups",
        title=f"Accuracy by {first.name} and another column",
        columns=list(first.names),
        groups=[
            GridGroup(
                heading=column.name,
                rows=[
                    GridRow(
                        label=column.phrase(name),
                        cells=[cells[column.name][name, head].drawn for head in first.names],
                    )
                    for name in column.names
                ],
            )
            for column in usable[1:]
        ],
        row_label="Group",
        column_label=first.name,
        caption=f"Each cell has the images of its row and its column; each image is in one cell of each block.{note} A cell of strong colour alone proves nothing; the table of slices names what "
        "is proven.",
    )


@dataclass(frozen=True)
class _Cell:
    """The images of two groups: n of them, and how many are misclassified; is_small: too few sign tracks to be drawn."""

    drawn: GridCell
    n: int = 0
    errors: int = 0
    is_small: bool = False


def _cells(
    first: Column, column: Column, labels: np.ndarray, predicted: np.ndarray
) -> dict[tuple[str, str], _Cell]:
    """Return the accuracy of each pair of groups, by the names in `column` and in `first`."""
    slices = crossed(first, column)
    rates = slices.groups.rates(labels == predicted)
    low, high = rates.ends()
    accuracy = by_group([first, column], labels, predicted)["accuracy"]
    cells = {(name, head): _Cell(GridCell(value=None)) for name in column.names for head in first.names}
    for code, (of_first, of_column) in enumerate(slices.parts.tolist()):
        head, name = first.names[of_first], column.names[of_column]
        n, known = int(rates.groups.n[code]), bool(np.isfinite(low[code]))
        errors = n - round(float(rates.totals[code]))
        if rates.groups.signs[code] < LEAST_GROUP_SIGNS:
            cells[name, head] = _Cell(GridCell(value=None, n=n), n, errors, is_small=True)
            continue
        drawn = GridCell(
            value=float(accuracy.loc[head, name]),
            low=float(low[code]) if known else None,
            high=float(high[code]) if known else None,
            n=n,
        )
        cells[name, head] = _Cell(drawn, n, errors)
    return cells


def slice_gallery(
    found: Found, groups: Sequence[ByGroup], test: ImageDataset, answers: Predictions
) -> Gallery:
    """Return misclassified images of the slices that fail most, one per class first; without slices, of the weakest group."""
    members = [(one.words, one.member) for one in found.slices[:SLICES_SHOWN]]
    if members:
        caption = f"Misclassified images of the {len(members)} weakest slices"
    else:
        weakest = weakest_group(groups)
        members = []
        if weakest is not None:
            column, name, _ = weakest
            members = [(column.phrase(name), column.groups.codes == column.names.index(name))]
        caption = (
            "No slice is proven to be less accurate; these are misclassified images of the weakest group"
        )
    wrong = answers.classes != test.labels
    items: list[GalleryItem] = []
    used: set[int] = set()
    for words, member in members:
        rows = [row for row in np.flatnonzero(member & wrong).tolist() if row not in used]
        chosen = _spread(rows, test.labels, PER_SLICE if len(members) > 1 else PER_SLICE * SLICES_SHOWN)
        used.update(chosen)
        items += [_item(test, answers, row, words) for row in chosen]
    return Gallery(
        id="weak-slice-images",
        title="Misclassified images of the weakest groups",
        items=items,
        caption=f"{caption}, different classes first.",
    )


def _spread(rows: list[int], labels: np.ndarray, most: int) -> list[int]:
    """Return at most `most` rows, one per class before any second one."""
    seen: dict[int, int] = {}
    ranked = []
    for row in rows:
        label = int(labels[row])
        ranked.append((seen.get(label, 0), row))
        seen[label] = seen.get(label, 0) + 1
    return [row for _, row in sorted(ranked)[:most]]


def _item(test: ImageDataset, answers: Predictions, row: int, words: str) -> GalleryItem:
    label, answer = int(test.labels[row]), int(answers.classes[row])
    number = int(numbers(test)[row])
    answered = bool(answers.answered[row])
    return GalleryItem(
        panels=[panel(f"image {number}", test.images[row])],
        true_name=test.class_names[label],
        true_confidence=float(answers.probabilities[row, label]) if answered else None,
        predicted_name=answer_name(test.class_names, answer),
        predicted_confidence=float(answers.probabilities[row, answer]) if answered else None,
        index=number,
        note=words,
    )
