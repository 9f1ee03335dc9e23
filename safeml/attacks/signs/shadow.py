"""Shadows: a triangle or a half-plane of the sign gets less light. A search by queries only.

References:
    Y. Zhong, X. Liu, D. Zhai, J. Jiang, X. Ji, "Shadows can be dangerous: stealthy and effective physical-world
    adversarial attack by natural phenomenon", 2022. Here the shapes are a seeded sample, and light is a factor on RGB.

Legend: N images, P image-candidate pairs, S shapes, H W C pixels.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from safeml.attacks.signs.base import PURPOSES, ROUNDING, Claim, SignOutcome
from safeml.attacks.signs.box import changed, inside
from safeml.attacks.signs.search import worst_of
from safeml.attacks.signs.settings import SignSettings


def shadow(
    classifier: Any,
    images: np.ndarray,
    labels: np.ndarray,
    boxes: np.ndarray,
    settings: SignSettings,
    seed: int,
    ids: np.ndarray,
    batch: int,
) -> SignOutcome:
    """See `SignAttack`. The candidates are shapes x strengths, of each shape the mildest strength first."""
    factors = np.array(sorted(settings.shadow_factors, reverse=True), np.float32)
    shapes = _shapes(seed, ids, settings.shadow_shapes)

    def draw(rows: np.ndarray, numbers: np.ndarray) -> np.ndarray:
        shape, factor = np.divmod(numbers, len(factors))
        dark = _dark(shapes[rows, shape], shape % 2 == 0, boxes[rows], *images.shape[1:3])
        return np.where(dark[..., None], images[rows] * factors[factor, None, None, None], images[rows])

    return worst_of(
        classifier.predict_logits, images, labels, settings.shadow_shapes * len(factors), draw, batch
    ).outcome


def shadow_allowed(claim: Claim) -> np.ndarray:
    """bool [N]: no pixel outside the box changed, none is lighter than before or darker than the deepest shadow."""
    outside = changed(claim.clean, claim.attacked) & ~inside(claim.boxes, *claim.clean.shape[1:3])
    deepest = claim.clean * np.float32(min(claim.settings.shadow_factors))
    kept = (claim.attacked >= deepest - ROUNDING) & (claim.attacked <= claim.clean + ROUNDING)
    return np.asarray(~outside.any(axis=(1, 2)) & kept.all(axis=(1, 2, 3)))


def _shapes(seed: int, ids: np.ndarray, count: int) -> np.ndarray:
    """Six numbers in 0..1 for each image and shape, float64 [N, S, 6]; the first shapes are the same for every S."""
    drawn = [np.random.default_rng([seed, PURPOSES["shadow"], int(i)]).uniform(size=(count, 6)) for i in ids]
    return np.stack(drawn)


def _dark(
    numbers: np.ndarray, triangle: np.ndarray, boxes: np.ndarray, height: int, width: int
) -> np.ndarray:
    """The pixels in shadow, bool [P, H, W]: inside the box and on the inner side of every edge.

    numbers: float [P, 6]: three corners in the box, or a point of it and the direction of an edge through it.
    triangle: bool [P], which of both.
    """
    corner = boxes[:, None, :2] + numbers.reshape(-1, 3, 2) * (boxes[:, None, 2:] - boxes[:, None, :2])
    edge = np.roll(corner, -1, axis=1) - corner
    a, b = -edge[..., 1], edge[..., 0]
    twice_the_area = edge[:, 0, 0] * -edge[:, 2, 1] + edge[:, 0, 1] * edge[:, 2, 0]
    side = np.where(twice_the_area < 0, -1.0, 1.0)[:, None]
    angle = 2 * np.pi * numbers[:, 2]
    a = np.where(triangle[:, None], a * side, np.cos(angle)[:, None])
    b = np.where(triangle[:, None], b * side, np.sin(angle)[:, None])
    start = np.where(triangle[:, None, None], corner, corner[:, :1])
    x, y = np.arange(width) + 0.5, np.arange(height) + 0.5
    dark = inside(boxes, height, width)
    for e in range(3):
        across = a[:, e, None] * (x - start[:, e, :1])
        down = b[:, e, None] * (y - start[:, e, 1:])
        dark &= down[:, :, None] + across[:, None, :] >= 0
    return dark
