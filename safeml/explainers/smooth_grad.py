"""SmoothGrad. Legend: N images, H W C pixels, S noisy copies.

Reference: D. Smilkov et al., "SmoothGrad: removing noise by adding noise", 2017.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from safeml.explainers.base import NOISY_COPIES, Effort, draws_for
from safeml.explainers.gradients import summed_gradients

if TYPE_CHECKING:
    from safeml.classifiers.base import Classifier


def smooth_grad(
    classifier: Classifier, images: np.ndarray, classes: np.ndarray, ids: np.ndarray, effort: Effort
) -> np.ndarray:
    """Return the size of the gradient, averaged over noisy copies and summed over channels: no signs; see `Explainer`.

    It measures sensitivity, not contribution. Noisy pixels are not clipped, because the noise would not be centred then.
    """
    shape = images.shape[1:]

    def points(rows: np.ndarray, draws: np.ndarray) -> tuple[np.ndarray, None]:
        noise = np.empty((len(rows), *shape), np.float32)
        for row in np.unique(rows):
            own = rows == row
            source = draws_for(effort, NOISY_COPIES, ids[row])
            # Copies of an image may be in two batches: the earlier ones are drawn and skipped.
            noise[own] = source.standard_normal((draws[own][-1] + 1, *shape), dtype=np.float32)[draws[own]]
        return images[rows] + np.float32(effort.noise) * noise, None

    total = summed_gradients(classifier, points, shape, classes, effort.copies, effort.batch)
    return np.abs(total / effort.copies).sum(axis=3).astype(np.float32)
