"""Insertion and deletion: how the probability of the explained class moves as pixels are shown or hidden in the order of a map.

Legend: N images, H W C pixels, S steps.

Reference: V. Petsiuk, A. Das, K. Saenko, "RISE: randomized input sampling for explanation of black-box models", 2018.
"""

from __future__ import annotations

import numpy as np

from safeml.classifiers.base import Classifier
from safeml.explainers.base import image_means
from safeml.explainers.forms import form_probabilities
from safeml.metrics.attribution import area_under, pixel_ranks

# The purpose of the random numbers that order pixels of one value.
TIES = 45


def curve_areas(
    classifier: Classifier,
    images: np.ndarray,
    classes: np.ndarray,
    maps: np.ndarray,
    steps: int,
    seed: int,
    ids: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the areas under the insertion and the deletion curve, float64 [N] each, 0..1; NaN where a logit is not finite.

    images: float32 [N, H, W, C], 0..1.
    classes: int64 [N], the explained class.
    maps: float [N, H, W]; pixels of the largest value come first.
    steps: S; both curves have S + 1 points, from no pixel to all.
    ids: int64 [N], from which the order of equal values follows.

    A hidden pixel has the mean colour of its image. A faithful map has a large insertion area and a small deletion area.
    """
    ties = np.stack([np.random.default_rng([seed, TIES, int(i)]).random(maps.shape[1:]) for i in ids])
    ranks = pixel_ranks(maps, ties)
    fill = image_means(images)
    # Pixels of the map's top at each inner point; the ends of both curves are the whole image and none of it.
    tops = np.rint(np.arange(1, steps) * ranks[0].size / steps)

    def forms(rows: np.ndarray, numbers: np.ndarray) -> np.ndarray:
        inner, inserted = numbers % (steps - 1) if steps > 1 else numbers, numbers < steps - 1
        top = ranks[rows] < tops[inner][:, None, None]
        shown = np.where(inserted[:, None, None], top, ~top)
        whole = numbers >= 2 * (steps - 1)
        shown[whole] = (numbers[whole] == 2 * (steps - 1))[:, None, None]
        mixed: np.ndarray = np.where(shown[..., None], images[rows], fill[rows])
        return mixed

    values = form_probabilities(classifier, classes, 2 * steps, forms)
    inserting, deleting = values[:, : steps - 1], values[:, steps - 1 : -2]
    full, none = values[:, -2:-1], values[:, -1:]
    return (
        area_under(np.concatenate([none, inserting, full], axis=1)),
        area_under(np.concatenate([full, deleting, none], axis=1)),
    )
