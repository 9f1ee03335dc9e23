"""Measures of attribution maps. What is undefined is NaN here, never 0. Legend: N images, H W pixels, S shares of the pixels.

The energy of a map is its absolute value: evidence for and against the class are both reliance.

References:
    J. Zhang et al., "Top-down neural attention by excitation backprop", 2016 (pointing game).
    H. Wang et al., "Score-CAM", 2020 (energy-based pointing game).
    V. Petsiuk, A. Das, K. Saenko, "RISE", 2018 (insertion and deletion).
    J. Adebayo et al., "Sanity checks for saliency maps", 2018 (rank correlation of maps).
"""

from __future__ import annotations

import numpy as np

# A map whose values differ by less than this share of the largest is the same everywhere: it points nowhere.
FLAT = 1e-6


def has_map(maps: np.ndarray) -> np.ndarray:
    """Return bool [N]: the map is finite and not the same everywhere. maps: float [N, H, W]."""
    flat = np.abs(maps.reshape(len(maps), -1).astype(np.float64))
    finite = np.asarray(np.isfinite(flat).all(axis=1))
    usable: np.ndarray = np.where(finite[:, None], flat, 0.0)
    largest = usable.max(axis=1)
    return np.asarray(finite & (largest - usable.min(axis=1) > FLAT * largest))


def box_energy(maps: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Return the share of a map's energy inside the box, float64 [N], 0..1; NaN where there is no map.

    maps: float [N, H, W]. inside: bool [N, H, W].

    >>> box_energy(np.array([[[3.0, -1.0]]]), np.array([[[True, False]]])).tolist()
    [0.75]
    """
    sound = has_map(maps)
    energy = np.abs(np.where(sound[:, None, None], maps, 0.0).astype(np.float64))
    total = np.where(sound, energy.sum(axis=(1, 2)), 1.0)
    return np.where(sound, (energy * inside).sum(axis=(1, 2)) / total, np.nan)


def box_area(inside: np.ndarray) -> np.ndarray:
    """Return the share of the image inside the box, float64 [N], 0..1. inside: bool [N, H, W]."""
    return np.asarray(inside.mean(axis=(1, 2)))


def pointing_hits(maps: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Return bool [N]: every pixel of the largest energy is inside the box. False where there is no map."""
    energy = np.abs(maps.astype(np.float64))
    largest = energy == energy.max(axis=(1, 2), keepdims=True)
    return np.asarray(has_map(maps) & ~(largest & ~inside).any(axis=(1, 2)))


def box_iou(maps: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Return intersection over union of the box and as many pixels of the largest energy, float64 [N], 0..1; NaN without a map."""
    energy = np.abs(np.nan_to_num(maps.astype(np.float64))).reshape(len(maps), -1)
    box = inside.reshape(len(maps), -1)
    order = np.argsort(-energy, axis=1, kind="stable")
    ranks = np.empty_like(order)
    np.put_along_axis(ranks, order, np.broadcast_to(np.arange(energy.shape[1]), order.shape), axis=1)
    top = ranks < box.sum(axis=1, keepdims=True)
    return np.where(has_map(maps), (top & box).sum(axis=1) / np.maximum((top | box).sum(axis=1), 1), np.nan)


def rank_correlations(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return Spearman's correlation of two maps of each image, float64 [N], -1..1; NaN where one of them is no map.

    first, second: float [N, H, W].
    """
    from scipy.stats import rankdata  # takes half a second to import

    sound = has_map(first) & has_map(second)
    ranks = []
    for maps in (first, second):
        flat = np.nan_to_num(maps.reshape(len(maps), -1).astype(np.float64))
        ranked = rankdata(flat, axis=1)
        ranks.append(ranked - ranked.mean(axis=1, keepdims=True))
    scale = np.sqrt((ranks[0] ** 2).sum(axis=1) * (ranks[1] ** 2).sum(axis=1))
    return np.where(
        sound & (scale > 0), (ranks[0] * ranks[1]).sum(axis=1) / np.where(scale > 0, scale, 1), np.nan
    )


def pixel_ranks(maps: np.ndarray, ties: np.ndarray) -> np.ndarray:
    """Return the place of each pixel in descending order of the map, int64 [N, H, W]; 0 has the most evidence for the class.

    ties: float [N, H, W], random numbers that order pixels of one value, so that no side of the image comes first.
    """
    flat = np.nan_to_num(maps.reshape(len(maps), -1).astype(np.float64))
    order = np.lexsort((ties.reshape(len(maps), -1), -flat), axis=1)
    ranks = np.empty_like(order)
    np.put_along_axis(ranks, order, np.broadcast_to(np.arange(flat.shape[1]), order.shape), axis=1)
    return ranks.reshape(maps.shape).astype(np.int64)


def area_under(curve: np.ndarray) -> np.ndarray:
    """Return the area under curves over evenly spaced shares of the pixels from 0 to 1, float64 [N]. curve: float [N, S + 1]."""
    return np.asarray((curve[:, 1:] + curve[:, :-1]).mean(axis=1) / 2)


def centre_map(height: int, width: int) -> np.ndarray:
    """Return a map that prefers the centre, float64 [H, W]: what a method would give that knows only how photos are taken."""
    y, x = (np.abs(np.arange(side) - (side - 1) / 2) / max(1.0, side / 2) for side in (height, width))
    return np.asarray(-(y[:, None] ** 2 + x[None, :] ** 2))
