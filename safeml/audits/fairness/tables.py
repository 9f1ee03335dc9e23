"""The tables of the fairness stage, by fairlearn's MetricFrame and pandas. Legend: N images, G groups, K classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from safeml.audits.fairness.conditions import Column as GroupColumn
from safeml.audits.fairness.metrics import ByGroup, OfClass
from safeml.audits.fairness.search import Found
from safeml.results import Column, Metric, Scalar, Table
from safeml.stages.base import COLUMNS
from safeml.stages.fairness import LEAST_GROUP_SIGNS
from safeml.statistics.between import LEVEL, extreme_pair
from safeml.wording import counted, limit_percent

if TYPE_CHECKING:
    import pandas as pd

MOST_ROWS, MOST_GROUP_ROWS = 60, 200
MOST_SLICES = 15
PERCENT: Literal["percent"] = "percent"
# Images, sign tracks, and the accuracy with its interval.
ACCURACY = (
    Column(key="images", label="Images", kind="number"),
    Column(key="signs", label="Sign tracks", kind="number"),
    Column(key="accuracy", label="Accuracy", kind=PERCENT),
    Column(key="low", label="low", kind=PERCENT),
    Column(key="high", label="high", kind=PERCENT),
)


def by_group(columns: Sequence[GroupColumn], labels: np.ndarray, predicted: np.ndarray) -> pd.DataFrame:
    """Return the accuracy of each group of the columns, or of the groups that several columns share, in the column `accuracy`.

    labels, predicted: int64 [N]. The index has one level for each column, in the order of their names; a combination without
    images has NaN.
    """
    import pandas as pd
    from fairlearn.metrics import MetricFrame

    def accuracy(y_true: Any, y_pred: Any) -> float:
        return float(np.mean(np.asarray(y_true) == np.asarray(y_pred)))

    features = pd.DataFrame({column.name: np.array(column.names)[column.groups.codes] for column in columns})
    frame = MetricFrame(
        metrics={"accuracy": accuracy},
        y_true=labels,
        y_pred=predicted,
        sensitive_features=features,
    ).by_group
    order = [list(column.names) for column in columns]
    index = (
        pd.Index(order[0], name=columns[0].name)
        if len(columns) == 1
        else pd.MultiIndex.from_product(order, names=[column.name for column in columns])
    )
    return frame.reindex(index)


def gap_table(found: Sequence[ByGroup], metrics: Sequence[Metric]) -> Table:
    """Return gap and ratio of each column with the two groups behind them, largest gap first."""
    gaps = {metric.slice: metric for metric in metrics if metric.name == "accuracy_gap"}
    ratios = {metric.slice: metric for metric in metrics if metric.name == "accuracy_ratio"}
    rows: list[list[Scalar]] = []
    for by in sorted(found, key=lambda by: -(gaps[f"{COLUMNS}{by.column.name}"].value or 0.0)):
        gap, ratio = (entries[f"{COLUMNS}{by.column.name}"] for entries in (gaps, ratios))
        pair = extreme_pair(by.compared)
        names = (None, None) if pair is None else (pair.low, pair.high)
        rows.append(
            [by.column.name, *names, gap.value, gap.low, gap.high, ratio.value, ratio.low, ratio.high]
        )
    labels = ("Column", "Lowest accuracy", "Highest accuracy")
    numbers = ("Gap", "low", "high", "Ratio", "low", "high")
    return Table(
        id="gaps-by-column",
        title="Accuracy gap and ratio by column",
        columns=[
            *(Column(key=f"text{k}", label=label) for k, label in enumerate(labels)),
            *(Column(key=f"number{k}", label=label, kind=PERCENT) for k, label in enumerate(numbers)),
        ],
        rows=rows,
        caption="Gap: highest minus lowest accuracy of two groups; ratio: lowest divided by highest. Both are above 0 and below 100 % "
        "by chance alone, and the intervals account for the choice of the two groups.",
    )


def group_table(found: Sequence[ByGroup], labels: np.ndarray, predicted: np.ndarray) -> Table:
    """Return images, sign tracks and accuracy of every group, with the range of the measure that defines it."""
    rows: list[list[Scalar]] = []
    overall = float((labels == predicted).mean())
    for by in found:
        frame = by_group([by.column], labels, predicted)
        low, high = by.rates.ends()
        for code, name in enumerate(by.column.names):
            one = frame.loc[name]
            signs = by.rates.groups.signs[code]
            rows.append(
                [
                    by.column.name,
                    name,
                    by.column.bounds(name) or None,
                    int(by.rates.groups.n[code]),
                    None if np.isnan(signs) else round(float(signs)),
                    float(one["accuracy"]),
                    None if np.isnan(low[code]) else float(low[code]),
                    None if np.isnan(high[code]) else float(high[code]),
                    float(one["accuracy"]) - overall,
                    "yes" if by.tested[code] else "no",
                ]
            )
    rest = (
        f" The first {MOST_GROUP_ROWS} of {len(rows):,} groups; the plot has the weakest ones."
        if len(rows) > MOST_GROUP_ROWS
        else ""
    )
    texts = {"column": "Column", "group": "Group", "range": "Range"}
    return Table(
        id="accuracy-of-groups",
        title="Every group",
        columns=[
            *(Column(key=key, label=label) for key, label in texts.items()),
            *ACCURACY,
            Column(key="above", label="Minus all", kind=PERCENT),
            Column(key="compared", label="Compared"),
        ],
        rows=rows[:MOST_GROUP_ROWS],
        caption=f"Accuracy by fairlearn's MetricFrame; intervals count sign tracks. Groups of fewer than {LEAST_GROUP_SIGNS} sign tracks "
        f"are not compared.{rest}",
        fold=True,
    )


def slice_table(found: Found) -> Table:
    """Return the slices that are proven to be less accurate, lowest accuracy first."""
    shown = found.slices[:MOST_SLICES]
    rest = f" {len(found.slices) - len(shown)} more are not shown." if len(shown) < len(found.slices) else ""
    none = "" if found.slices else " None is proven to be less accurate; that is no proof that none is."
    return Table(
        id="weak-slices",
        title="Slices in which the model fails most",
        columns=[
            Column(key="slice", label="Slice"),
            *ACCURACY,
            Column(key="compared", label="Compared with", kind=PERCENT),
        ],
        rows=[
            [
                one.words,
                one.accuracy.n,
                None if one.accuracy.signs is None else round(one.accuracy.signs),
                one.accuracy.value,
                one.accuracy.low,
                one.accuracy.high,
                one.compared,
            ]
            for one in shown
        ],
        caption=f"Searched: {counted(found.searched, 'slice')} of one or two groups with at least {LEAST_GROUP_SIGNS} sign tracks. A slice is "
        "named if its accuracy is below that of all images and of each of its groups, at a joint error rate of 5 % (Holm)."
        f"{none}{rest}",
    )


def parity_table(columns: Sequence[tuple[GroupColumn, list[OfClass]]], class_names: tuple[str, ...]) -> Table:
    """Return demographic parity and equalised odds of each class, for each column of the user."""
    rows: list[list[Scalar]] = []
    for column, by_class in columns:
        for of in by_class:
            odds = None
            if of.is_compared:
                odds = max(_difference(of.true_positive.values), _difference(of.false_positive.values))
            low, high = of.selected.differences(LEVEL)[1:]
            bounds: tuple[float | None, float | None] = (None, None)
            if len(of.selected.groups.names) == 2 and np.isfinite(high[0, 1]):
                place = (0, 1) if of.selected.values[0] >= of.selected.values[1] else (1, 0)
                bounds = (float(low[place]), float(high[place]))
            rows.append([column.name, class_names[of.label], _difference(of.selected.values), *bounds, odds])
    rows.sort(key=lambda row: -float(row[2] or 0.0))
    shown = rows[:MOST_ROWS]
    return Table(
        id="parity-by-class",
        title="Demographic parity and equalised odds by class",
        columns=[
            Column(key="column", label="Column"),
            Column(key="class", label="Class"),
            Column(key="parity", label="Demographic parity", kind=PERCENT),
            Column(key="low", label="low", kind=PERCENT),
            Column(key="high", label="high", kind=PERCENT),
            Column(key="odds", label="Equalised odds", kind=PERCENT),
        ],
        rows=shown,
        caption=f"{len(shown)} of {counted(len(rows), 'class of a column', 'classes of columns')}, largest difference first. Each class against all "
        "others; the differences are between the groups with the largest and the smallest share. The interval of one class is given for "
        f"columns of two groups, at {limit_percent(LEVEL)}. An empty cell was not measured.",
        fold=True,
    )


def _difference(values: np.ndarray) -> float:
    known = values[np.isfinite(values)]
    return float(known.max() - known.min())
