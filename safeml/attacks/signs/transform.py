"""The worst of a grid of rotations, shifts and zooms, by queries only; and a random point of the grid.

References:
    L. Engstrom, B. Tran, D. Tsipras, L. Schmidt, A. Madry, "Exploring the landscape of spatial robustness", 2019
    (the full grid is a stronger attack than gradient steps).

Legend: N images, G grid points, H W C pixels.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from safeml import framework
from safeml.attacks.signs.base import PURPOSES, ROUNDING, UNCHANGED, Claim, SignOutcome
from safeml.attacks.signs.search import worst_of
from safeml.attacks.signs.settings import SignSettings


def transform(
    classifier: Any,
    images: np.ndarray,
    labels: np.ndarray,
    boxes: np.ndarray,
    settings: SignSettings,
    seed: int,
    ids: np.ndarray,
    batch: int,
) -> SignOutcome:
    """See `SignAttack`. The whole image moves, so boxes, seed and ids are not looked at."""
    points = grid(settings)

    def draw(rows: np.ndarray, numbers: np.ndarray) -> np.ndarray:
        return moved(images[rows], points[numbers])

    return worst_of(classifier.predict_logits, images, labels, len(points), draw, batch).outcome


def transform_allowed(claim: Claim) -> np.ndarray:
    """bool [N]: the image is what its grid point makes of the clean one."""
    points = grid(claim.settings)
    known = (claim.choice >= UNCHANGED) & (claim.choice < len(points))
    expected = moved(claim.clean, points[np.where(known, np.maximum(claim.choice, 0), 0)])
    return np.asarray(known & (np.abs(claim.attacked - expected) <= ROUNDING).all(axis=(1, 2, 3)))


def grid(settings: SignSettings) -> np.ndarray:
    """Degrees (clockwise), right and down (shares of the side) and zoom of each point: float64 [G, 4], mildest first.

    The first point leaves the image as it is.
    """
    turns = np.linspace(-settings.rotation_degrees, settings.rotation_degrees, settings.rotation_points)
    shifts = np.linspace(-settings.shift, settings.shift, settings.shift_points)
    zooms = np.linspace(1 - settings.zoom, 1 + settings.zoom, settings.zoom_points)
    middle = [(len(values) - 1) // 2 for values in (turns, shifts, shifts, zooms)]
    for values, exact in ((turns, 0.0), (shifts, 0.0), (zooms, 1.0)):
        values[(len(values) - 1) // 2] = exact
    axes = np.meshgrid(turns, shifts, shifts, zooms, indexing="ij")
    points = np.stack([axis.ravel() for axis in axes], axis=1)
    places = np.indices(axes[0].shape).reshape(4, -1).T - middle
    # As shares of the largest change of each kind, so that degrees and pixels can be added up.
    size = (np.abs(places) / np.maximum(middle, 1)).sum(axis=1)
    return points[np.argsort(np.round(size, 9), kind="stable")]


def random_points(settings: SignSettings, seed: int, ids: np.ndarray, draws: int) -> np.ndarray:
    """Grid points drawn with equal chances for each image: float64 [N, draws, 4], as in `grid`."""
    points = grid(settings)
    chosen = [
        np.random.default_rng([seed, PURPOSES["transform"], int(i)]).integers(len(points), size=draws)
        for i in ids
    ]
    return points[np.stack(chosen)]


def words(point: np.ndarray) -> str:
    """A grid point for a reader."""
    degrees, right, down, zoom = (float(value) for value in point)
    return f"turned {degrees:+g}°, right {right:+.3g} and down {down:+.3g} of the side, {zoom:.3g} times the size"


def moved(images: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Each image turned, zoomed about its middle and shifted, bilinear, the border repeated: float32 [N, H, W, C].

    images: float32 [N, H, W, C], 0..1. points: float [N, 4], see `grid`. The point (0, 0, 0, 1) changes nothing.
    """
    import tensorflow as tf

    height, width = images.shape[1:3]
    angle, zoom = np.deg2rad(points[:, 0]), points[:, 3]
    x, y = (width - 1) / 2, (height - 1) / 2
    # From the moved image back to the clean one.
    cosine, sine = np.cos(angle) / zoom, np.sin(angle) / zoom
    right, down = x + points[:, 1] * width, y + points[:, 2] * height
    nothing = np.zeros(len(points))
    rows = [
        cosine,
        sine,
        x - cosine * right - sine * down,
        -sine,
        cosine,
        y + sine * right - cosine * down,
        nothing,
        nothing,
    ]
    with framework.memory_errors():
        found = tf.raw_ops.ImageProjectiveTransformV3(
            images=images,
            transforms=np.stack(rows, axis=1).astype(np.float32),
            output_shape=np.array([height, width], np.int32),
            interpolation="BILINEAR",
            fill_mode="NEAREST",
            fill_value=0.0,
        )
        return np.clip(found.numpy(), 0.0, 1.0)
