"""Occlusion: by how much the logit falls when a square of the image is hidden. Legend: N images, H W C pixels, F squares.

Reference: M. Zeiler, R. Fergus, "Visualizing and understanding convolutional networks", 2014.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from safeml.explainers.base import Effort, image_means
from safeml.explainers.forms import form_logits

if TYPE_CHECKING:
    from safeml.classifiers.base import Classifier


def occlusion(
    classifier: Classifier, images: np.ndarray, classes: np.ndarray, ids: np.ndarray, effort: Effort
) -> np.ndarray:
    """Return for each pixel the mean fall of the logit over the squares that cover it; see `Explainer`.

    A square gets the mean colour of its image. Squares lie evenly, `effort.places` along each side.
    """
    squares = squares_of(images.shape[1], images.shape[2], effort.window, effort.places)
    fill = image_means(images)

    def forms(rows: np.ndarray, numbers: np.ndarray) -> np.ndarray:
        # The last form is the unchanged image.
        hidden = np.concatenate([squares, np.zeros((1, *squares.shape[1:]), bool)])[numbers]
        return np.where(hidden[..., None], fill[rows], images[rows])

    logits = form_logits(classifier, classes, len(squares) + 1, forms)
    falls = logits[:, -1:] - logits[:, :-1]
    covered = squares.reshape(len(squares), -1).astype(np.float64)
    maps = falls @ covered / covered.sum(axis=0)
    return maps.reshape(len(images), *images.shape[1:3]).astype(np.float32)


def squares_of(height: int, width: int, window: float, places: int) -> np.ndarray:
    """Return the hidden squares, bool [F, H, W]; together they cover every pixel.

    window: side, as a share of the shorter side; at least one pixel. Squares are closer where `places` would leave gaps, and
    fewer where there are not so many positions.
    """
    side = min(max(1, round(window * min(height, width))), height, width)
    tops, lefts = (_starts(length, side, places) for length in (height, width))
    masks = np.zeros((len(tops) * len(lefts), height, width), bool)
    for number, (top, left) in enumerate((top, left) for top in tops for left in lefts):
        masks[number, top : top + side, left : left + side] = True
    return masks


def _starts(length: int, side: int, places: int) -> np.ndarray:
    least = -(-length // side)
    return np.unique(np.rint(np.linspace(0, length - side, max(places, least))).astype(np.int64))
