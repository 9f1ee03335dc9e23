"""Clean predictions of a sample, the faults of an attack that an audit finds, and what a stage could not measure. Legend: N images, H W C pixels, K classes.

An attack is never trusted: an image that comes back with a fault counts as broken.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from safeml.results import Metric
from safeml.stages.base import Declared

# Each fault is one bit of a uint8.
NOT_FINITE, OUTSIDE, BEYOND, OTHER_SHAPE, NO_VERDICT = 1, 2, 4, 8, 16
FAULTS = {
    NOT_FINITE: "it returned NaN or infinity",
    OUTSIDE: "it left the bounds of its threat",
    BEYOND: "it left the pixel range 0..1",
    OTHER_SHAPE: "it returned images of a shape or type other than that of its input",
    NO_VERDICT: "it returned no verdict for each image",
}


@dataclass(frozen=True, eq=False)
class CleanSample:
    """The images under attack, and the predictions for them without an attack.

    images: float32 [N, H, W, C], 0..1.
    labels: int64 [N].
    logits: float32 [N, K].
    right: bool [N], classified correctly.
    targets: float32 [N, T], of a judged regression model; None for a classifier.
    """

    images: np.ndarray
    labels: np.ndarray
    logits: np.ndarray
    right: np.ndarray
    targets: np.ndarray | None = None

    @property
    def truths(self) -> np.ndarray:
        """Return what predictions are compared with: labels, or the targets of a regression."""
        return self.labels if self.targets is None else self.targets

    def take(self, rows: np.ndarray | slice) -> CleanSample:
        """Return the images in `rows` (int [M], or a slice)."""
        targets = None if self.targets is None else self.targets[rows]
        return CleanSample(self.images[rows], self.labels[rows], self.logits[rows], self.right[rows], targets)


def fault_clauses(faults: np.ndarray) -> list[str]:
    """Return one clause per fault that occurs. faults: uint8 [N], sums of the keys of `FAULTS`."""
    return [
        f"{text} for {int(rows.sum())} of {len(faults)} images, which count as broken"
        for fault, text in FAULTS.items()
        if (rows := (faults & fault) > 0).any()
    ]


def undefined_metrics(
    declared: Iterable[Declared], reason: str, n: int, titles: Mapping[str, str] | None = None
) -> list[Metric]:
    """Return each declared metric without a value, for a stage that cannot measure them.

    reason: a clause that says why. n: images. titles: by metric name; by default the name in words.
    Metrics of slices that only the data name have no entry.
    """
    known = titles or {}
    return [
        Metric.undefined(
            metric.name,
            known.get(metric.name, metric.name.replace("_", " ").capitalize()),
            reason,
            direction=metric.direction,
            unit="count" if metric.whole else "proportion" if metric.is_share else "ratio",
            slice=part,
            n=n,
        )
        for metric in declared
        for part in metric.slices
        if not part.endswith(":")
    ]
