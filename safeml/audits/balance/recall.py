"""Whether the recall of a class follows its size in training. Legend: N test images, K classes, Q groups of classes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from safeml.data.dataset import ImageDataset
from safeml.metrics.balance import class_counts, rank_correlation
from safeml.results import Column, Dot, DotPlot, Metric, Scalar, Table
from safeml.statistics import bootstrap_metric, proportion_metric

NAME, TITLE = "recall_by_class_size", "Rank correlation of recall and training images of a class"
QUARTERS = 4
LEAST_CLASSES = 3


@dataclass(frozen=True, eq=False)
class ClassRecall:
    """The test images and the sizes of their classes in training.

    hits: bool [N], correctly classified.
    sizes: int [K], training images of each class of the test set; None where unknown.
    reason: why they are unknown, as a clause.
    """

    test: ImageDataset
    hits: np.ndarray
    sizes: np.ndarray | None
    reason: str = ""


def class_recall(test: ImageDataset, train: ImageDataset | None, hits: np.ndarray) -> ClassRecall:
    """Look up the size of each class of the test set in the training data, by the names of the classes."""
    if train is None:
        return ClassRecall(test, hits, None, "no [data.train] is configured")
    absent = [name for name in test.class_names if name not in train.class_names]
    if absent:
        return ClassRecall(test, hits, None, f"the training data have no class called {absent[0]}")
    counts = class_counts(train.labels, train.classes)
    return ClassRecall(test, hits, counts[[train.class_names.index(name) for name in test.class_names]])


def size_metric(recall: ClassRecall, seed: int, resamples: int) -> Metric:
    """Return Spearman's rank correlation of recall and class size over the classes with test images.

    In a resample in which all classes have equal recall or size, nothing is associated, and it counts as 0.
    """
    test, hits, sizes = recall.test, recall.hits, recall.sizes

    def undefined(reason: str) -> Metric:
        return Metric.undefined(NAME, TITLE, reason, direction="down", unit="ratio", n=len(test))

    if sizes is None:
        return undefined(recall.reason)

    def statistic(rows: np.ndarray) -> float:
        counts = np.bincount(test.labels[rows], minlength=test.classes)
        correct = np.bincount(test.labels[rows], weights=hits[rows], minlength=test.classes)
        present = counts > 0
        return rank_correlation(sizes[present], correct[present] / counts[present])

    counts = class_counts(test.labels, test.classes)
    if (counts > 0).sum() < LEAST_CLASSES:
        return undefined(f"fewer than {LEAST_CLASSES} classes have test images")
    if np.isnan(statistic(np.arange(len(test)))):
        same = "size in training" if not np.ptp(sizes[counts > 0]) else "recall"
        return undefined(f"all classes have the same {same}")
    return bootstrap_metric(
        NAME,
        TITLE,
        lambda rows: float(np.nan_to_num(statistic(rows))),
        len(test),
        clustering=test.clustering,
        direction="down",
        unit="ratio",
        seed=seed,
        resamples=resamples,
        bounds=(-1.0, 1.0),
    )


def quarters_plot(recall: ClassRecall) -> DotPlot | None:
    """Draw the accuracy of the classes by quarters of class size, smallest first; None where the sizes are unknown."""
    if recall.sizes is None or len(recall.sizes) < QUARTERS:
        return None
    test = recall.test
    dots = []
    for part in np.array_split(np.argsort(recall.sizes, kind="stable"), QUARTERS):
        member = np.isin(test.labels, part)
        metric = proportion_metric("recall", "", recall.hits[member], clustering=test.clustering.take(member))
        low, high = int(recall.sizes[part].min()), int(recall.sizes[part].max())
        dots.append(
            Dot(
                label=f"{len(part)} classes of {low:,} to {high:,} training images",
                value=metric.value,
                low=metric.low,
                high=metric.high,
                n=metric.n,
            )
        )
    return DotPlot(
        id="recall-by-size",
        title="Accuracy by size of the class in training",
        dots=dots,
        overall=float(recall.hits.mean()),
        caption="Quarters of the classes, smallest classes first; the line is the accuracy over all test images. The bar is the "
        "95 % interval.",
    )


def recall_table(recall: ClassRecall) -> Table | None:
    """List recall and training images of each class, smallest class first; None where the sizes are unknown."""
    if recall.sizes is None:
        return None
    test = recall.test
    rows: list[list[Scalar]] = []
    for label in np.argsort(recall.sizes, kind="stable").tolist():
        member = test.labels == label
        metric = proportion_metric("recall", "", recall.hits[member], clustering=test.clustering.take(member))
        rows.append(
            [
                test.class_names[label],
                int(recall.sizes[label]),
                int(member.sum()),
                metric.value,
                metric.low,
                metric.high,
            ]
        )
    return Table(
        id="recall-of-classes",
        title="Recall by size of the class in training",
        columns=[
            Column(key="class", label="Class"),
            Column(key="train", label="Training images", kind="number"),
            Column(key="test", label="Test images", kind="number"),
            Column(key="recall", label="Recall", kind="percent"),
            Column(key="low", label="low", kind="percent"),
            Column(key="high", label="high", kind="percent"),
        ],
        rows=rows,
        caption="Smallest class first; low and high are the ends of the 95 % interval of that class alone.",
        fold=True,
    )
