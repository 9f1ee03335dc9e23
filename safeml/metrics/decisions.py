"""Comparison of the decisions of two models on the same images. Legend: N images, K classes."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from safeml.metrics.classification import class_scores, confusion_matrix


class ClassRecall(NamedTuple):
    """The recall of one class, 0..1, on its `images`."""

    class_id: int
    recall: float
    images: int


class Flips(NamedTuple):
    """Images that only the first model classifies correctly (`lost`), and those that only the second does (`gained`)."""

    lost: int
    gained: int


def worst_class(decisions: np.ndarray, labels: np.ndarray, K: int) -> ClassRecall:
    """Return the class of the lowest recall, the first of several; classes without images have none.

    decisions: int [N], the predicted classes, 0..K-1; N > 0.
    labels: int [N], the true classes.

    >>> worst_class(np.array([0, 1, 1, 1]), np.array([0, 0, 1, 1]), 3)
    ClassRecall(class_id=0, recall=0.5, images=2)
    """
    recalls = class_scores(confusion_matrix(labels, decisions, K)).recall
    worst = int(np.nanargmin(recalls))
    return ClassRecall(worst, float(recalls[worst]), int(np.sum(labels == worst)))


class RecallFall(NamedTuple):
    """The recall of one class under two models, 0..1, on its `images`."""

    class_id: int
    before: float
    after: float
    images: int


def largest_fall(first: np.ndarray, second: np.ndarray, labels: np.ndarray, K: int) -> RecallFall:
    """Return the class whose recall falls most from the first model to the second, or rises least; the first of several.

    first, second: int [N], the predicted classes of each model, 0..K-1; N > 0.
    labels: int [N], the true classes.

    >>> largest_fall(np.array([0, 0, 1, 1]), np.array([0, 1, 1, 1]), np.array([0, 0, 1, 1]), 2)
    RecallFall(class_id=0, before=1.0, after=0.5, images=2)
    """
    before, after = (class_scores(confusion_matrix(labels, each, K)).recall for each in (first, second))
    worst = int(np.nanargmax(before - after))
    return RecallFall(worst, float(before[worst]), float(after[worst]), int(np.sum(labels == worst)))


def flips(first: np.ndarray, second: np.ndarray, labels: np.ndarray) -> Flips:
    """Count the images whose correctness differs between two models.

    first, second: int [N], the predicted classes of each model.
    labels: int [N], the true classes.

    >>> flips(np.array([0, 1, 2]), np.array([0, 2, 1]), np.array([0, 1, 1]))
    Flips(lost=1, gained=1)
    """
    before, after = first == labels, second == labels
    return Flips(int(np.sum(before & ~after)), int(np.sum(~before & after)))


def change_record(
    first: np.ndarray, second: np.ndarray, labels: np.ndarray, class_names: tuple[str, ...]
) -> dict[str, Any]:
    """Return what changes from the decisions of one model to those of another, JSON-able.

    >>> change_record(np.array([0, 0, 1]), np.array([0, 1, 1]), np.array([0, 0, 1]), ("stop", "yield"))
    {'lost': 1, 'gained': 0, 'largest_fall': {'name': 'stop', 'before': 1.0, 'after': 0.5, 'images': 2}}
    """
    fall = largest_fall(first, second, labels, len(class_names))
    return {
        **flips(first, second, labels)._asdict(),
        "largest_fall": {
            "name": class_names[fall.class_id],
            "before": fall.before,
            "after": fall.after,
            "images": fall.images,
        },
    }


def decision_record(
    decisions: np.ndarray, labels: np.ndarray, class_names: tuple[str, ...]
) -> dict[str, Any]:
    """Return the validation accuracy of decisions and their class of the lowest recall, JSON-able.

    >>> decision_record(np.array([0, 1, 1, 1]), np.array([0, 0, 1, 1]), ("stop", "yield"))
    {'val_accuracy': 0.75, 'worst_class': {'name': 'stop', 'recall': 0.5, 'images': 2}}
    """
    worst = worst_class(decisions, labels, len(class_names))
    return {
        "val_accuracy": float(np.mean(decisions == labels)),
        "worst_class": {
            "name": class_names[worst.class_id],
            "recall": worst.recall,
            "images": worst.images,
        },
    }
