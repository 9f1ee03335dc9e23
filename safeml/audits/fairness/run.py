"""Accuracy by condition and by the user's groups: gaps, ratios, and the slices in which the model fails most.

Legend: N images, K classes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from safeml.audits.base import AuditInputs
from safeml.audits.fairness.conditions import Column, columns_of, edges_of, is_of_class, with_conditions
from safeml.audits.fairness.figures import DOTS, group_dots, pair_grid, slice_gallery
from safeml.audits.fairness.findings import all_findings
from safeml.audits.fairness.metrics import (
    ByGroup,
    accuracies,
    all_metrics,
    class_rates,
    weakest_group,
)
from safeml.audits.fairness.search import Found, all_slices, weak_slices
from safeml.audits.fairness.tables import gap_table, group_table, parity_table, slice_table
from safeml.audits.predictions import clustering_statement, predicted_logits
from safeml.audits.slices import Slices
from safeml.data.dataset import ImageDataset
from safeml.metrics.classification import predictions
from safeml.results import Card, Fact, Figure, Metric, StageResult
from safeml.stages.fairness import FAIRNESS, FairnessSettings
from safeml.wording import counted, interval, number, percent

SLICE = 1024
GROUPING = "group the test images"


def run(inputs: AuditInputs, settings: FairnessSettings) -> StageResult:
    """Measure the accuracy of each group of the test images, and compare the groups of each column.

    Raises StageError when the output does not have the shape [N, K], or a column of the user has too many groups.
    """
    slices = Slices(inputs.work, SLICE, {"clean images": inputs.predicting})
    logits = predicted_logits(inputs, slices, inputs.test, "predictions", "predict test images")
    inputs.progress(GROUPING, 0, 1)
    edges = edges_of(inputs)
    test = with_conditions(inputs, edges).test
    columns = columns_of(test, edges)
    inputs.progress(GROUPING, 1, 1)
    answers = predictions(logits)
    hits = answers.classes == test.labels
    groups = accuracies(columns, hits)
    metrics = all_metrics(test, groups, answers.classes)
    found = weak_slices(all_slices(columns), test, hits)
    overall = float(hits.mean())
    grid = pair_grid(columns, test.labels, answers.classes)
    figures: list[Figure] = [
        gap_table(groups, metrics),
        group_dots(groups, overall),
        slice_table(found),
        *([] if grid is None else [grid]),
        group_table(groups, test.labels, answers.classes),
        *_parity(columns, test, answers.classes),
    ]
    return StageResult(
        stage=FAIRNESS.name,
        title=FAIRNESS.title,
        tested="Whether the accuracy is the same in all conditions of the images, in all groups of classes, and in your groups.",
        on_what=f"{test.name}: {counted(len(test), 'image')} in {counted(len(columns), 'column')} of groups.",
        facts=_facts(groups, metrics, found),
        metrics=metrics,
        findings=[*all_findings(test, groups, metrics, found), *slices.halved()],
        figures=figures,
        meaning=_meaning(columns, metrics, found),
        worst_cases=slice_gallery(found, groups, test, answers),
        limits=_limits(columns, test),
        not_tested=[] if any(column.kind == "user" for column in columns) else [_no_groups()],
        reproduce=[
            f"model {inputs.classifier.fingerprint}",
            f"test images {inputs.test.fingerprint}",
            *(f"{column.name}: {_cut(column)}" for column in columns if column.edges is not None),
        ],
        card=Card(
            headline=percent(metrics[0].value),
            text=metrics[0].reason or f"largest accuracy gap between conditions, {_interval(metrics[0])}",
            figure_id=DOTS,
        ),
    )


def _parity(columns: Sequence[Column], test: ImageDataset, predicted: np.ndarray) -> list[Figure]:
    """Return the table of parity by class, where the user gave columns that do not sort by class."""
    own = [column for column in columns if column.kind == "user" and len(column.names) > 1]
    compared = [
        (column, class_rates(column, test.labels, predicted, test.classes))
        for column in own
        if not is_of_class(column, test.labels)
    ]
    return [parity_table(compared, test.class_names)] if compared else []


def _facts(groups: Sequence[ByGroup], metrics: Sequence[Metric], found: Found) -> list[Fact]:
    gap, worst = metrics[0], metrics[1]
    count = sum(len(by.column.names) for by in groups)
    tested = sum(int(by.tested.sum()) for by in groups)
    weakest = weakest_group(groups)
    of_group = "" if weakest is None else f"{weakest[0].phrase(weakest[1])}, {_interval(worst)}"
    return [
        Fact(
            label="Largest gap between conditions",
            value=percent(gap.value),
            detail=gap.reason or _interval(gap),
        ),
        Fact(label="Weakest group", value=percent(worst.value), detail=worst.reason or of_group),
        Fact(
            label="Groups",
            value=number(count),
            detail=f"{number(tested)} are compared, in {counted(len(groups), 'column')}",
        ),
        Fact(
            label="Slices that fail",
            value=number(len(found.slices)),
            detail=f"of {number(found.searched)} searched",
        ),
    ]


def _interval(metric: Metric) -> str:
    ends = interval(metric.low, metric.high)
    return ends if metric.low is None else f"95 % interval {ends}"


def _cut(column: Column) -> str:
    assert column.edges is not None
    low, high, source = column.edges.low, column.edges.high, column.edges.source
    return f"cut at {number(low)} and {number(high)}, {source}"


def _meaning(columns: Sequence[Column], metrics: Sequence[Metric], found: Found) -> list[str]:
    gap = metrics[0]
    meaning = [
        "A gap is the highest minus the lowest accuracy of the groups of one column. It is above 0 by chance alone; read the ends of its "
        "interval. The gate reads the upper end.",
    ]
    if gap.value is not None:
        meaning.insert(
            0, f"Between two conditions the accuracy differs by up to {percent(gap.value)}, {_interval(gap)}."
        )
    if found.slices:
        one = found.slices[0]
        meaning.append(
            f"The model fails most in the slice: {one.words}. {percent(one.accuracy.value)} of its images are classified correctly."
        )
    else:
        meaning.append(
            f"Of {counted(found.searched, 'slice')} none is proven to be less accurate than the others. That is no proof that none is."
        )
    if any(column.kind == "user" for column in columns):
        meaning.append(
            "Demographic parity compares how often a class is predicted in each group; it differs from 0 if the groups show other "
            "classes, which is no fault of the model. Equalised odds compares the groups within the true classes."
        )
    return meaning


def _limits(columns: Sequence[Column], test: ImageDataset) -> list[str]:
    return [
        "Brightness, contrast and blur are measured on the whole image, not on the sign alone.",
        "The groups are those of the test images: a condition that they do not show is not tested.",
        "A pass is stated for groups of many classes together. Single classes have too few signs for a proof; their recall is on the "
        "performance page.",
        "A gap shows a difference and not its cause: small images are often dark and blurred as well.",
        clustering_statement(test),
        *(f"{column.name}: {_cut(column)}." for column in columns if column.edges is not None),
    ]


def _no_groups() -> Fact:
    return Fact(
        label="Your groups",
        value="not tested",
        detail="such as site, camera, weather or country; set [data] groups",
    )
