"""Gradient SHAP, also called expected gradients. Legend: N images, H W C pixels, R backgrounds, S draws.

References:
    S. Lundberg, S. Lee, "A unified approach to interpreting model predictions", 2017.
    G. Erion et al., "Improving performance of deep learning models with axiomatic attribution priors and expected gradients", 2019.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from safeml.classifiers.batches import BatchSize
from safeml.explainers.base import SHAP_DRAWS, Effort, draws_for
from safeml.explainers.gradients import summed_gradients

if TYPE_CHECKING:
    from safeml.classifiers.base import Classifier


def gradient_shap(
    classifier: Classifier, images: np.ndarray, classes: np.ndarray, ids: np.ndarray, effort: Effort
) -> np.ndarray:
    """Return the mean over random backgrounds, and random points on the way from each, of gradient times change; see `Explainer`."""
    sources = [draws_for(effort, SHAP_DRAWS, identity) for identity in ids]
    picks = np.stack([source.integers(len(effort.backgrounds), size=effort.draws) for source in sources])
    alphas = np.stack([source.random(effort.draws, dtype=np.float32) for source in sources])
    values = expected(classifier, images, classes, effort.backgrounds, picks, alphas, effort.batch)
    return values.sum(axis=3).astype(np.float32)


def expected(
    classifier: Classifier,
    images: np.ndarray,
    classes: np.ndarray,
    backgrounds: np.ndarray,
    picks: np.ndarray,
    alphas: np.ndarray,
    batch: BatchSize,
) -> np.ndarray:
    """Return the attribution of every value for given draws, float64 [N, H, W, C].

    backgrounds: float32 [R, H, W, C], 0..1.
    picks: int [N, S], 0..R-1, the background of each draw.
    alphas: float32 [N, S], 0..1, the share of the image at its point.
    """
    count = picks.shape[1]

    def points(rows: np.ndarray, draws: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        start = backgrounds[picks[rows, draws]]
        path = images[rows] - start
        return start + alphas[rows, draws, None, None, None] * path, path

    return summed_gradients(classifier, points, images.shape[1:], classes, count, batch) / count
