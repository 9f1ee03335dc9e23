"""Integrated gradients. Legend: N images, H W C pixels, S points.

Reference: M. Sundararajan, A. Taly, Q. Yan, "Axiomatic attribution for deep networks", 2017.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from safeml.explainers.base import Effort, image_means
from safeml.explainers.gradients import summed_gradients

if TYPE_CHECKING:
    from safeml.classifiers.base import Classifier


def integrated_gradients(
    classifier: Classifier, images: np.ndarray, classes: np.ndarray, ids: np.ndarray, effort: Effort
) -> np.ndarray:
    """Return the integral of the gradient from the mean colour of each image to the image; see `Explainer`.

    A black start would give dark pixels no attribution at all, whatever the model does with them.
    """
    return integrated(classifier, images, classes, baselines(images), effort).sum(axis=3).astype(np.float32)


def baselines(images: np.ndarray) -> np.ndarray:
    """Return where the integral starts: each image's mean colour everywhere, float32 [N, H, W, C]."""
    return np.broadcast_to(image_means(images), images.shape)


def integrated(
    classifier: Classifier, images: np.ndarray, classes: np.ndarray, start: np.ndarray, effort: Effort
) -> np.ndarray:
    """Return the attribution of every value, float64 [N, H, W, C].

    start: float32 [N, H, W, C], 0..1. The sum of an image's attributions is logit(image) - logit(start), up to the error of
    the quadrature (Gauss and Legendre, `effort.steps` points).
    """
    nodes, weights = np.polynomial.legendre.leggauss(effort.steps)
    alphas = (0.5 * (nodes + 1)).astype(np.float32)
    shares = (0.5 * weights).astype(np.float32)

    def points(rows: np.ndarray, draws: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        path = images[rows] - start[rows]
        values = start[rows] + alphas[draws, None, None, None] * path
        return values, shares[draws, None, None, None] * path

    return summed_gradients(classifier, points, images.shape[1:], classes, effort.steps, effort.batch)
