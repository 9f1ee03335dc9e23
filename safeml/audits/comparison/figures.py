"""Figures of a comparison: recall by class beside the reference's, and the images that only the reference classifies correctly.

Legend: N images, K classes.
"""

from __future__ import annotations

import numpy as np

from safeml.audits.comparison.metrics import Pair
from safeml.audits.gallery import panel
from safeml.metrics.classification import softmax
from safeml.results import Column, Dot, DotPlot, Gallery, GalleryItem, Scalar, Table
from safeml.statistics import proportion_metric

PICTURES, PER_CLASS = 24, 2


def class_plot(pair: Pair) -> DotPlot:
    """Draw the recall of each class with its interval, and the reference's as a ring; largest loss first."""
    test, dots = pair.test, []
    for label, name in enumerate(test.class_names):
        member = test.labels == label
        if not member.any():
            continue
        recall = proportion_metric(
            "recall", name, pair.right[member], clustering=test.clustering.take(member)
        )
        before = float(pair.reference_right[member].mean())
        dots.append(
            Dot(
                label=name,
                value=recall.value,
                low=recall.low,
                high=recall.high,
                n=int(member.sum()),
                compare=before,
            )
        )
    dots.sort(key=lambda dot: ((dot.value or 0.0) - (dot.compare or 0.0), dot.label))
    return DotPlot(
        id="comparison-classes",
        title="Recall by class, and that of the reference",
        dots=dots,
        overall=float(pair.right.mean()),
        caption="Largest loss first. Ring: the reference on the same images. Line: accuracy of the model on all of them.",
    )


def change_table(pair: Pair) -> Table:
    """Count the images by which of the two models classifies them correctly."""
    before, after = pair.reference_right, pair.right
    same = pair.model.argmax(axis=1) == pair.reference.argmax(axis=1)
    cells: list[tuple[str, np.ndarray]] = [
        ("both correctly", before & after),
        ("only the reference correctly (negative flips)", before & ~after),
        ("only the model correctly", ~before & after),
        ("neither, the same class", ~before & ~after & same),
        ("neither, different classes", ~before & ~after & ~same),
    ]
    rows: list[list[Scalar]] = [[words, int(member.sum()), float(member.mean())] for words, member in cells]
    return Table(
        id="comparison-changes",
        title="Which of the two classifies correctly",
        columns=[
            Column(key="classified", label="Classified by"),
            Column(key="images", label="Images", kind="number"),
            Column(key="share", label="Share", kind="percent"),
        ],
        rows=rows,
        caption="Equal accuracy can hide new mistakes; negative flips are those of the second row.",
    )


def flip_gallery(pair: Pair) -> Gallery:
    """Show negative flips, most confident first, at most two per class."""
    test, own = pair.test, softmax(pair.model)
    confidence = np.nan_to_num(own).max(axis=1)
    flips = np.flatnonzero(pair.flips)
    shown: dict[int, int] = {}
    items: list[GalleryItem] = []
    for index in flips[np.lexsort((flips, -confidence[flips]))].tolist():
        label, answer = int(test.labels[index]), int(own[index].argmax())
        if shown.get(label, 0) == PER_CLASS or len(items) == PICTURES:
            continue
        shown[label] = shown.get(label, 0) + 1
        number = index if test.ids is None else int(test.ids[index])
        finite = bool(np.isfinite(own[index]).all())
        items.append(
            GalleryItem(
                panels=[panel(f"image {number}", test.images[index])],
                true_name=test.class_names[label],
                true_confidence=float(own[index, label]) if finite else None,
                predicted_name=test.class_names[answer] if finite else "no answer (logits are not finite)",
                predicted_confidence=float(own[index, answer]) if finite else None,
                index=number,
                note="the reference classifies it correctly",
            )
        )
    return Gallery(
        id="negative-flips",
        title="Images that only the reference classifies correctly",
        items=items,
        caption=f"{len(items)} of {len(flips)} negative flips, most confident first, at most {PER_CLASS} per class. Confidences are "
        "those of the model under test.",
    )
