"""Misclassified images, most hazardous first: a table of confusions and a gallery. Legend: N images, K classes."""

from __future__ import annotations

from collections import Counter

import numpy as np

from safeml.audits.gallery import panel
from safeml.data.dataset import ImageDataset
from safeml.metrics.classification import NO_ANSWER, Predictions
from safeml.metrics.hazard import reason
from safeml.results import Column, Gallery, GalleryItem, Table

GALLERY_SIZE = 24
PER_CLASS = 2
CONFUSIONS = 15
NO_ANSWER_NAME = "no answer (logits are not finite)"
NO_ANSWER_COST = 1.0


def image_costs(labels: np.ndarray, answers: np.ndarray, costs: np.ndarray) -> np.ndarray:
    """Return the cost of each prediction, float64 [N] in 0..1; no answer costs as much as the worst mistake.

    labels: int [N], 0..K-1. answers: int [N], 0..K-1 or NO_ANSWER. costs: float64 [K, K], 0..1.
    """
    return np.where(answers == NO_ANSWER, NO_ANSWER_COST, costs[labels, answers])


def answer_name(class_names: tuple[str, ...], answer: int) -> str:
    return NO_ANSWER_NAME if answer == NO_ANSWER else class_names[answer]


def why(class_names: tuple[str, ...], label: int, answer: int, own_costs: bool) -> str:
    """Explain the cost of a mistake."""
    if answer == NO_ANSWER:
        return "no answer costs as much as the worst mistake"
    return "configured cost matrix" if own_costs else reason(class_names[label], class_names[answer])


def confusion_table(
    dataset: ImageDataset, answers: np.ndarray, costs: np.ndarray, own_costs: bool, most: int = CONFUSIONS
) -> Table:
    """Return the confusions with the highest total cost: count, cost of one, and the reason for that cost."""
    names = dataset.class_names
    wrong = answers != dataset.labels
    each = image_costs(dataset.labels, answers, costs)
    pairs = Counter(zip(dataset.labels[wrong].tolist(), answers[wrong].tolist(), strict=True))
    cost_of = {
        (label, answer): float(cost)
        for label, answer, cost in zip(
            dataset.labels[wrong].tolist(), answers[wrong].tolist(), each[wrong], strict=True
        )
    }
    ranked = sorted(pairs, key=lambda pair: (-pairs[pair] * cost_of[pair], pair))
    return Table(
        id="expensive-confusions",
        title="Most expensive confusions",
        columns=[
            Column(key="true", label="True"),
            Column(key="predicted", label="Predicted"),
            Column(key="count", label="Images", kind="number"),
            Column(key="cost", label="Cost each", kind="number"),
            Column(key="total", label="Total cost", kind="number"),
            Column(key="why", label="Reason for the cost"),
        ],
        rows=[
            [
                names[label],
                answer_name(names, answer),
                pairs[label, answer],
                cost_of[label, answer],
                round(pairs[label, answer] * cost_of[label, answer], 6),
                why(names, label, answer, own_costs),
            ]
            for label, answer in ranked[:most]
        ],
        caption=f"{min(most, len(ranked))} of {len(ranked)} confusions. Costs range from 0 (no mistake) to 1 "
        "(the worst mistake).",
    )


def worst_mistakes(
    dataset: ImageDataset, answers: Predictions, costs: np.ndarray, own_costs: bool
) -> Gallery:
    """Return the most hazardous mistakes, most confident first among equals; at most two per true class, 24 in total."""
    each = image_costs(dataset.labels, answers.classes, costs)
    wrong = np.flatnonzero(answers.classes != dataset.labels)
    sure = np.where(answers.answered, np.nan_to_num(answers.probabilities).max(axis=1), 1.0)
    ranked = wrong[np.lexsort((wrong, -sure[wrong], -each[wrong]))]
    seen: Counter[int] = Counter()
    items = []
    for index in ranked.tolist():
        label = int(dataset.labels[index])
        if seen[label] == PER_CLASS:
            continue
        seen[label] += 1
        items.append(_item(dataset, answers, index, float(each[index]), own_costs))
        if len(items) == GALLERY_SIZE:
            break
    return Gallery(
        id="worst-mistakes",
        title="Worst mistakes",
        items=items,
        caption=f"{len(items)} of {len(wrong)} misclassified images: most hazardous first, then most confident; "
        f"at most {PER_CLASS} per true class.",
    )


def _item(
    dataset: ImageDataset, answers: Predictions, index: int, cost: float, own_costs: bool
) -> GalleryItem:
    names = dataset.class_names
    label, answer = int(dataset.labels[index]), int(answers.classes[index])
    answered = answer != NO_ANSWER
    number = index if dataset.ids is None else int(dataset.ids[index])
    return GalleryItem(
        panels=[panel(f"image {number}", dataset.images[index])],
        true_name=names[label],
        true_confidence=float(answers.probabilities[index, label]) if answered else None,
        predicted_name=answer_name(names, answer),
        predicted_confidence=float(answers.probabilities[index, answer]) if answered else None,
        index=number,
        note=f"cost {cost:g}: {why(names, label, answer, own_costs)}",
    )
