"""Scores by class: dot plot, table and confusion matrix; and the answer for each image. Legend: N images, K classes."""

from __future__ import annotations

import numpy as np

from safeml.audits.performance.mistakes import NO_ANSWER_NAME
from safeml.audits.slices import numbers
from safeml.data.dataset import ImageDataset
from safeml.metrics.classification import NO_ANSWER, ClassScores
from safeml.results import Column, Dot, DotPlot, Matrix, Metric, Scalar, Table


def recall_plot(by_class: list[Metric], clean: Metric) -> DotPlot:
    """Return the recall of K classes with confidence intervals, weakest first."""
    return _plot(
        "recall-by-class",
        "Recall by class",
        by_class,
        clean,
        "The bar is the 95 % interval of that class alone",
    )


def group_plot(by_group: list[Metric], clean: Metric) -> DotPlot:
    """Return the accuracy of the user's groups with confidence intervals, weakest first."""
    return _plot(
        "accuracy-by-group",
        "Accuracy by group",
        by_group,
        clean,
        "Each image is in one group of each column. The bar is the 95 % interval of that group alone",
    )


def _plot(figure_id: str, title: str, metrics: list[Metric], clean: Metric, caption: str) -> DotPlot:
    ranked = sorted(metrics, key=lambda metric: (metric.value is None, metric.value or 0.0, metric.slice))
    return DotPlot(
        id=figure_id,
        title=title,
        dots=[
            Dot(
                label=metric.slice.partition(":")[2],
                value=metric.value,
                low=metric.low,
                high=metric.high,
                n=metric.n,
            )
            for metric in ranked
        ],
        overall=clean.value,
        caption=f"Weakest first. {caption}; the line is the accuracy over all images.",
    )


def class_table(by_class: list[Metric], scores: ClassScores) -> Table:
    """Return the scores of K classes in class order; an undefined score is an empty cell."""

    def cell(value: float) -> Scalar:
        return None if np.isnan(value) else float(value)

    rows: list[list[Scalar]] = [
        [
            metric.slice.partition(":")[2],
            cell(scores.precision[k]),
            cell(scores.recall[k]),
            metric.low,
            metric.high,
            cell(scores.f1[k]),
            int(scores.support[k]),
        ]
        for k, metric in enumerate(by_class)
    ]
    labels = {"precision": "Precision", "recall": "Recall", "low": "low", "high": "high", "f1": "F1"}
    return Table(
        id="scores-by-class",
        title="Scores by class",
        columns=[
            Column(key="class", label="Class"),
            *(Column(key=key, label=label, kind="percent") for key, label in labels.items()),
            Column(key="support", label="Images", kind="number"),
        ],
        rows=rows,
        caption="In class order. Precision is undefined for a class that is never predicted, recall for one without images.",
        fold=True,
    )


def confusion_figure(class_names: tuple[str, ...], confusion: np.ndarray) -> Matrix:
    """Return the confusion matrix, int [K, K + 1]; the last column is shown only if the model gave no answer for an image."""
    void = bool(confusion[:, -1].any())
    names = list(class_names)
    return Matrix(
        id="confusion",
        title="Confusion matrix",
        row_labels=names,
        column_labels=[*names, NO_ANSWER_NAME] if void else names,
        values=(confusion if void else confusion[:, :-1]).tolist(),
        caption="Row: true class. Column: predicted class. Numbers are images.",
    )


def ledger_table(test: ImageDataset, predicted: np.ndarray, hits: np.ndarray) -> Table:
    """Return one row per image, so that two models can be compared image by image.

    predicted: int64 [N], class ids, NO_ANSWER where a logit is not finite.
    hits: bool [N], classified correctly.
    """
    names, tracks = test.class_names, test.tracks
    rows: list[list[Scalar]] = [
        [
            int(number),
            names[test.labels[row]],
            *([] if tracks is None else [int(tracks[row])]),
            "right" if hits[row] else "wrong",
            NO_ANSWER_NAME if predicted[row] == NO_ANSWER else names[predicted[row]],
        ]
        for row, number in enumerate(numbers(test))
    ]
    return Table(
        id="ledger",
        title="Ledger",
        columns=[
            Column(key="image", label="Image", kind="number"),
            Column(key="class", label="Class"),
            *([] if tracks is None else [Column(key="track", label="Sign track", kind="id")]),
            Column(key="clean", label="Clean"),
            Column(key="predicted", label="Predicted"),
        ],
        rows=rows,
        caption="Every test image and its prediction.",
    )
