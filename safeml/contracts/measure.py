"""Accuracies and paired comparisons of answers to the same images. Legend: N images, K classes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from safeml.data.dataset import ImageDataset
from safeml.results import Metric
from safeml.statistics import Clustering, paired_difference_metric, proportion_metric

NO_ANSWER = -1
ALPHA = 0.05


def one_sided_level(comparisons: int) -> float:
    """The two-sided level whose one end is wrong with a chance of at most ALPHA over all `comparisons` (Bonferroni)."""
    return 1 - 2 * ALPHA / max(2, comparisons)


def named(raw: np.ndarray, class_order: tuple[int, ...] | None) -> np.ndarray:
    """Class ids int [N] of the outputs `raw` (int [N], NO_ANSWER where the outputs are not finite)."""
    if class_order is None:
        return raw
    return np.where(raw == NO_ANSWER, NO_ANSWER, np.asarray(class_order)[raw])


def accuracy(hits: np.ndarray, data: ImageDataset, level: float = 0.95) -> Metric:
    """The share of right answers (bool [N]) on `data`, with its interval."""
    return proportion_metric(
        "accuracy",
        "Accuracy",
        hits,
        clustering=clustering(data),
        level=level,
    )


def drop(best: np.ndarray, other: np.ndarray, data: ImageDataset, level: float) -> Metric:
    """What accuracy loses from `best` to `other` (bool [N]) on `data`; positive is a loss."""
    return paired_difference_metric(
        "accuracy_drop",
        "Accuracy lost against the best contract",
        best,
        other,
        clustering=clustering(data),
        level=level,
    )


def clustering(data: ImageDataset) -> Clustering:
    """The clustering of `data`; where nothing is known, images count as independent, and the outcome says so."""
    unknown = data.tracks is None and data.frames_per_sign is None
    return Clustering(frames_per_sign=1.0) if unknown else data.clustering


def chance_level(data: ImageDataset) -> float:
    """What needs no model: the larger of 1/K and the share of the most frequent class."""
    return max(1 / data.classes, float(np.bincount(data.labels).max() / len(data)))


def halves(data: ImageDataset, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Row numbers of two random halves of `data`; known signs stay whole."""
    units = np.arange(len(data)) if data.tracks is None else data.tracks
    kinds = np.unique(units)
    first = np.random.default_rng([seed, 0x5B]).permutation(kinds)[: (len(kinds) + 1) // 2]
    member = np.isin(units, first)
    return np.flatnonzero(member), np.flatnonzero(~member)


def part(data: ImageDataset, rows: np.ndarray) -> ImageDataset:
    """The images at `rows`, drawn at random; the declared frames of a sign shrink as in `ImageDataset.sample`."""
    chosen = data.take(rows)
    if data.frames_per_sign is None or len(data) < 2:
        return chosen
    fewer = 1 + (data.frames_per_sign - 1) * (len(rows) - 1) / (len(data) - 1)
    return replace(chosen, frames_per_sign=max(1.0, fewer))
