"""Graffiti: two dark or light strokes across the sign. A search by queries only.

References:
    K. Eykholt et al., "Robust physical-world attacks on deep learning visual classification", 2018 (graffiti on signs).
    Here the strokes are a seeded sample and not optimised.

Legend: N images, P image-candidate pairs, S candidates, H W C pixels.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from safeml.attacks.signs.base import DARKEST, LIGHTEST, PURPOSES, Claim, SignOutcome
from safeml.attacks.signs.box import box_sides, changed, inside
from safeml.attacks.signs.search import worst_of
from safeml.attacks.signs.settings import SignSettings

STROKES = 2
# Thinnest and thickest stroke, as a share of the box's shorter side.
WIDTHS = (0.05, 0.15)


def graffiti(
    classifier: Any,
    images: np.ndarray,
    labels: np.ndarray,
    boxes: np.ndarray,
    settings: SignSettings,
    seed: int,
    ids: np.ndarray,
    batch: int,
) -> SignOutcome:
    """See `SignAttack`. Dark and light strokes by turns, cut to the pixels nearest to their middle where they cover too much."""
    numbers_of = _numbers(seed, ids, settings.graffiti_shapes)
    paint = np.array([DARKEST, LIGHTEST], np.float32)

    def draw(rows: np.ndarray, numbers: np.ndarray) -> np.ndarray:
        covered = _covered(numbers_of[rows, numbers], boxes[rows], settings.graffiti_area, *images.shape[1:3])
        return np.where(covered[..., None], paint[numbers % 2, None, None, None], images[rows])

    return worst_of(classifier.predict_logits, images, labels, settings.graffiti_shapes, draw, batch).outcome


def graffiti_allowed(claim: Claim) -> np.ndarray:
    """bool [N]: no pixel outside the box changed, at most the area did, and each to one of the two paints."""
    pixels = changed(claim.clean, claim.attacked)
    outside = pixels & ~inside(claim.boxes, *claim.clean.shape[1:3])
    painted = np.isin(claim.attacked, np.array([DARKEST, LIGHTEST], np.float32)).all(axis=3)
    few = pixels.sum(axis=(1, 2)) <= _most(claim.boxes, claim.settings.graffiti_area)
    return np.asarray(~outside.any(axis=(1, 2)) & few & (painted | ~pixels).all(axis=(1, 2)))


def _most(boxes: np.ndarray, area: float) -> np.ndarray:
    """The number of pixels that the strokes may cover, int64 [N], at least one."""
    high, wide = box_sides(boxes)
    return np.maximum(1, np.floor(area * high * wide + 1e-9)).astype(np.int64)


def _numbers(seed: int, ids: np.ndarray, count: int) -> np.ndarray:
    """Numbers in 0..1 for each image and candidate, float64 [N, S, 4 a stroke + 1]; the first are the same for every S."""
    drawn = [
        np.random.default_rng([seed, PURPOSES["graffiti"], int(i)]).uniform(size=(count, 4 * STROKES + 1))
        for i in ids
    ]
    return np.stack(drawn)


def _covered(numbers: np.ndarray, boxes: np.ndarray, area: float, height: int, width: int) -> np.ndarray:
    """The pixels under the strokes, bool [P, H, W]: near enough to a segment, in the box, and no more than the area allows."""
    low, size = boxes[:, None, :2].astype(np.float64), (boxes[:, 2:] - boxes[:, :2])[:, None, :]
    ends = low + numbers[:, :-1].reshape(len(boxes), -1, 2) * size
    x, y = np.arange(width) + 0.5, np.arange(height)[:, None] + 0.5
    distance = np.full((len(boxes), height, width), np.inf)
    for stroke in range(STROKES):
        one, other = (ends[:, 2 * stroke + end, :, None, None] for end in (0, 1))
        way = other - one
        length = np.maximum((way**2).sum(axis=1), 1e-12)
        along = np.clip(((x - one[:, 0]) * way[:, 0] + (y - one[:, 1]) * way[:, 1]) / length, 0, 1)
        squared = (x - one[:, 0] - along * way[:, 0]) ** 2 + (y - one[:, 1] - along * way[:, 1]) ** 2
        distance = np.minimum(distance, np.sqrt(squared))
    distance[~inside(boxes, height, width)] = np.inf
    thin, thick = WIDTHS
    half = (thin + (thick - thin) * numbers[:, -1]) * size.min(axis=(1, 2)) / 2
    # Strictly below the first distance that is one too many: never more pixels than allowed, also where some are equal.
    most = _most(boxes, area)
    ordered = np.sort(distance.reshape(len(boxes), -1), axis=1)
    too_far = ordered[np.arange(len(boxes)), np.minimum(most, ordered.shape[1] - 1)]
    return (distance <= half[:, None, None]) & (distance < too_far[:, None, None])
