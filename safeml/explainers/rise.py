"""RISE: how the logit varies with random masks. Legend: N images, H W C pixels, F masks.

Reference: V. Petsiuk, A. Das, K. Saenko, "RISE: randomized input sampling for explanation of black-box models", 2018.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from safeml.explainers.base import RISE_MASKS, Effort, image_means
from safeml.explainers.forms import form_logits

if TYPE_CHECKING:
    from safeml.classifiers.base import Classifier

CELLS = 7  # of a mask, along each side


def rise(
    classifier: Classifier, images: np.ndarray, classes: np.ndarray, ids: np.ndarray, effort: Effort
) -> np.ndarray:
    """Return the covariance of each pixel's mask with the logit, divided by the mask's variance; see `Explainer`.

    The paper sums masks weighted by the score, so that a constant score gives a bright map. Here the mean score is
    subtracted first, and a constant score gives a map of zeros. Hidden pixels get the mean colour of their image.
    All images have the same masks.
    """
    masks = random_masks(*images.shape[1:3], effort.masks, effort.seed)
    fill = image_means(images)

    def forms(rows: np.ndarray, numbers: np.ndarray) -> np.ndarray:
        shown = masks[numbers, :, :, None]
        mixed: np.ndarray = fill[rows] + shown * (images[rows] - fill[rows])
        return mixed

    logits = form_logits(classifier, classes, len(masks), forms)
    centred = logits - logits.mean(axis=1, keepdims=True)
    flat = masks.reshape(len(masks), -1).astype(np.float64)
    flat -= flat.mean(axis=0)
    spread = np.maximum((flat**2).sum(axis=0), np.finfo(float).tiny)
    return (centred @ flat / spread).reshape(len(images), *images.shape[1:3]).astype(np.float32)


@lru_cache(maxsize=2)
def random_masks(height: int, width: int, count: int, seed: int) -> np.ndarray:
    """Return smooth random masks, float32 [F, H, W], 0 (hidden) to 1 (shown), with half of all cells shown.

    A grid of CELLS x CELLS random cells (fewer on an image with fewer pixels) is scaled up bilinearly, and shifted at random
    by less than a cell. The second half of the masks has the opposite cells of the first, so that no pixel is shown more often.
    """
    rng = np.random.default_rng([seed, RISE_MASKS])
    half = -(-count // 2)
    masks = np.empty((2 * half, height, width), np.float32)
    rows_of, columns_of = min(CELLS, height), min(CELLS, width)
    for number in range(half):
        cells = (rng.random((rows_of + 2, columns_of + 2)) < 0.5).astype(np.float64)
        down, right = rng.random(2)
        rows = _weights(height, rows_of, down)
        columns = _weights(width, columns_of, right)
        masks[number] = rows @ cells @ columns.T
    masks[half:] = 1 - masks[:half]
    return masks[:count]


def _weights(length: int, cells: int, shift: float) -> np.ndarray:
    """Return the share of each of cells + 2 values in each pixel, float64 [length, cells + 2]: linear interpolation."""
    places = (np.arange(length) + 0.5) * cells / length + shift
    first = np.minimum(np.floor(places).astype(np.int64), cells)
    part = places - first
    weights = np.zeros((length, cells + 2))
    weights[np.arange(length), first] += 1 - part
    weights[np.arange(length), first + 1] += part
    return weights
