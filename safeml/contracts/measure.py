"""Accuracies and paired comparisons of predictions on the same images. Legend: N images, K classes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from safeml.data.dataset import ImageDataset
from safeml.results import Metric
from safeml.statistics import Clustering, paired_difference_metric, proportion_metric

NO_ANSWER = -1
ALPHA = 0.05


def one_sided_level(comparisons: int) -> float:
    """Return the two-sided level with an error of one end of at most ALPHA over all `comparisons` (Bonferroni)."""
    return 1 - 2 * ALPHA / max(2, comparisons)


def named(raw: np.ndarray, class_order: tuple[int, ...] | None) -> np.ndarray:
    """Map outputs to class ids, int [N]. raw: int [N], NO_ANSWER where outputs are not finite."""
    if class_order is None:
        return raw
    return np.where(raw == NO_ANSWER, NO_ANSWER, np.asarray(class_order)[raw])


def accuracy(hits: np.ndarray, data: ImageDataset, level: float = 0.95) -> Metric:
    """Return the accuracy on `data` with its interval. hits: bool [N], correctly classified."""
    return proportion_metric(
        "accuracy",
        "Accuracy",
        hits,
        clustering=clustering(data),
        level=level,
    )


def drop(best: np.ndarray, other: np.ndarray, data: ImageDataset, level: float) -> Metric:
    """Return the loss of accuracy from `best` to `other` on `data`. Both: bool [N], correctly classified."""
    return paired_difference_metric(
        "accuracy_drop",
        "Accuracy loss relative to the best contract",
        best,
        other,
        clustering=clustering(data),
        level=level,
    )


def clustering(data: ImageDataset) -> Clustering:
    """Return the clustering of `data`; without a declaration, images count as independent, as the notes say."""
    unknown = data.tracks is None and data.frames_per_sign is None
    return Clustering(frames_per_sign=1.0) if unknown else data.clustering


def chance_level(data: ImageDataset) -> float:
    """Return the accuracy without a model: the larger of 1/K and the share of the most frequent class."""
    return max(1 / data.classes, float(np.bincount(data.labels).max() / len(data)))


def halves(data: ImageDataset, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows of two random halves of `data`; sign tracks are not split."""
    units = np.arange(len(data)) if data.tracks is None else data.tracks
    kinds = np.unique(units)
    first = np.random.default_rng([seed, 0x5B]).permutation(kinds)[: (len(kinds) + 1) // 2]
    member = np.isin(units, first)
    return np.flatnonzero(member), np.flatnonzero(~member)


def part(data: ImageDataset, rows: np.ndarray) -> ImageDataset:
    """Return the images at random `rows`; the declared frames per sign shrink as in `ImageDataset.sample`."""
    chosen = data.take(rows)
    if data.frames_per_sign is None or len(data) < 2:
        return chosen
    fewer = 1 + (data.frames_per_sign - 1) * (len(rows) - 1) / (len(data) - 1)
    return replace(chosen, frames_per_sign=max(1.0, fewer))
