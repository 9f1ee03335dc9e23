"""Dark, bright, flat, blurred and oddly shaped images of each split. Legend: N images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from safeml.audits.balance.split import Split
from safeml.audits.gallery import panel
from safeml.metrics.image_quality import KINDS, quality_outliers
from safeml.results import Column, Finding, Gallery, GalleryItem, Metric, Scalar, Table
from safeml.wording import counted, percent

METRIC = "quality_outliers"
BY_KIND = 3
# Beyond this share of a split, poor images are reported.
MANY = 0.05


@dataclass(frozen=True, eq=False)
class Quality:
    """The poor images of a split: bool [N] by kind, for the kinds that can be judged."""

    split: Split
    marked: dict[str, np.ndarray]

    @property
    def any(self) -> np.ndarray:
        """Return which images are of any kind, bool [N]."""
        union: np.ndarray = np.logical_or.reduce(list(self.marked.values()))
        return union


def judged(splits: list[Split]) -> list[Quality]:
    """Mark the poor images of each split."""
    return [Quality(split, quality_outliers(split.data.images, split.data.original_size)) for split in splits]


def quality_metrics(quality: list[Quality]) -> list[Metric]:
    """Return the number of poor images of each split."""
    return [
        Metric.count(
            METRIC,
            f"Dark, bright, flat, blurred or oddly shaped images, {entry.split.role}",
            int(entry.any.sum()),
            len(entry.split.data),
            slice=f"split:{entry.split.role}",
        )
        for entry in quality
    ]


def quality_findings(quality: list[Quality]) -> list[Finding]:
    """Report splits with many poor images, and constant images in any."""
    findings = []
    for entry in quality:
        role, images = entry.split.role, len(entry.split.data)
        flat, poor = int(entry.marked["flat"].sum()), int(entry.any.sum())
        if flat:
            findings.append(
                Finding(
                    code=f"flat-{role}",
                    severity="warning",
                    message=f"{counted(flat, 'image')} of {role} {'is' if flat == 1 else 'are'} almost constant; near duplicates of "
                    "such images are not searched for, only identical ones.",
                    remedy="Remove these images, or read them again from their source.",
                    evidence={"images": flat},
                )
            )
        if poor > MANY * images:
            findings.append(
                Finding(
                    code=f"poor-images-{role}",
                    severity="warning",
                    message=f"{counted(poor, 'image')} of {role} ({percent(poor / images)}) are dark, bright, flat, blurred or oddly shaped.",
                    remedy="Look at the pictures: the sign must be recognisable to a person.",
                    evidence={"images": poor, "of": images},
                )
            )
    return findings


def quality_table(quality: list[Quality]) -> Table:
    """Count the poor images by kind and split; an empty cell cannot be judged."""
    rows: list[list[Scalar]] = [
        [
            title.capitalize(),
            *(int(entry.marked[kind].sum()) if kind in entry.marked else None for entry in quality),
        ]
        for kind, title in KINDS.items()
    ]
    return Table(
        id="poor-images",
        title="Poor images",
        columns=[
            Column(key="kind", label="Kind"),
            *(Column(key=entry.split.role, label=entry.split.role, kind="number") for entry in quality),
        ],
        rows=rows,
        caption="An image may be of several kinds. An empty cell could not be judged: the size of the originals is not known, or the images are "
        "under 3 pixels.",
    )


def quality_gallery(quality: list[Quality]) -> Gallery | None:
    """Picture the first images of each kind, those of the test set first; None without one."""
    items = []
    for kind, title in KINDS.items():
        places = [
            (entry.split, int(row))
            for entry in quality
            if kind in entry.marked
            for row in np.flatnonzero(entry.marked[kind])[:BY_KIND]
        ]
        for split, row in places[:BY_KIND]:
            role, image, name = split.place(row)
            items.append(
                GalleryItem(
                    panels=[panel(f"{role} #{image}", split.data.images[row])], true_name=name, note=title
                )
            )
    if not items:
        return None
    return Gallery(
        id="poor-images-pictures",
        title="Poor images",
        items=items,
        caption=f"The first {BY_KIND} of each kind, in the order of the data.",
    )
