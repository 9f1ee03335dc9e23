"""Sign tracks proposed from pixels, where they are not published. Legend: N images, n images of one class, C tracks.

A camera approaches a sign, so the frames of a track grow in size and change little from one to the next. Within a class, images
are linked into chains of growing size, each image with at most one successor, so that the sum of the distances is smallest.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from safeml.metrics.near_duplicates import SIDE, averaged

# Largest distance of two frames that are linked: on half of the frames of GTSRB training tracks it gives as many tracks as there are.
LINKED = 1.0
# Weights of the distance: light, contrast, colour of the light, and size. Chosen on GTSRB training tracks.
LIGHT, CONTRAST, COLOUR, SIZE = 1.0, 1.0, 2.0, 0.5
# Larger classes are split at random, because the assignment takes n^3 steps.
MOST_IMAGES = 1500
_FORBIDDEN = 1e3
_SHIFTS = [(down, across) for down in (0, 1, 2) for across in (0, 1, 2)]


@dataclass(frozen=True)
class Agreement:
    """Proposed tracks against recorded ones, over pairs of images of one class.

    precision: share of the pairs in one proposed track that are in one recorded track, 0..1; NaN without such a pair.
    recall: share of the pairs in one recorded track that are in one proposed track, 0..1; NaN without such a pair.
    proposed, recorded: number of tracks.
    """

    precision: float
    recall: float
    proposed: int
    recorded: int


def recovered_tracks(
    images: np.ndarray, labels: np.ndarray, sizes: np.ndarray | None, seed: int
) -> np.ndarray:
    """Propose the track of each image, int64 [N], 0..C-1.

    images: uint8 [N, H, W, 1 or 3].
    labels: int [N]; images of two classes are never linked.
    sizes: float [N], side of each original image in pixels; None where unknown, then only the pixels count.
    seed: of the split of classes with more than MOST_IMAGES images.
    """
    tracks = np.zeros(len(images), np.int64)
    count = 0
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        parts = -(-len(members) // MOST_IMAGES)
        order = np.random.default_rng([seed, int(label)]).permutation(len(members)) if parts > 1 else None
        for part in range(parts):
            rows = members if order is None else np.sort(members[order[part::parts]])
            chains = _chains(_distances(images[rows], None if sizes is None else sizes[rows]))
            tracks[rows] = chains + count
            count += int(chains.max()) + 1
    return tracks


def agreement(proposed: np.ndarray, recorded: np.ndarray) -> Agreement:
    """Compare proposed with recorded tracks, int [N] each, over all pairs of images."""
    together, in_proposed, in_recorded = (float(counts.sum()) for counts in pair_counts(proposed, recorded))
    return Agreement(
        precision=together / in_proposed if in_proposed else float("nan"),
        recall=together / in_recorded if in_recorded else float("nan"),
        proposed=len(np.unique(proposed)),
        recorded=len(np.unique(recorded)),
    )


def pair_counts(proposed: np.ndarray, recorded: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Count for each image the others in both its tracks, in its proposed track, and in its recorded track; int64 [N] each.

    The sums over all images are twice the numbers of pairs.
    """
    _, mine, sizes = np.unique(proposed, return_inverse=True, return_counts=True)
    _, theirs, real = np.unique(recorded, return_inverse=True, return_counts=True)
    _, pair, both = np.unique(
        mine.astype(np.int64) * len(real) + theirs, return_inverse=True, return_counts=True
    )
    return both[pair] - 1, sizes[mine] - 1, real[theirs] - 1


def _distances(images: np.ndarray, sizes: np.ndarray | None) -> np.ndarray:
    """Return the distance of each image to each possible successor, float64 [n, n]; _FORBIDDEN where it is none."""
    n = len(images)
    pixels = averaged_colours(images)
    means = np.log(pixels.mean(axis=(1, 2)) + 8)
    spread = np.log(pixels.std(axis=(1, 2)).mean(axis=1) + 4)
    casts = means - means.mean(axis=1, keepdims=True)
    light, cast = (np.abs(column[:, None] - column[None]).mean(axis=2) for column in (means, casts))
    contrast = np.abs(spread[:, None] - spread[None])
    squares = (1 - _correlations(pixels)) ** 2 + (LIGHT * light) ** 2 + (CONTRAST * contrast) ** 2
    squares += (COLOUR * cast) ** 2
    order = np.arange(n)
    later = order[:, None] < order[None]
    if sizes is not None:
        logs = np.log(sizes)
        growth = logs[None] - logs[:, None]
        squares += (SIZE * growth) ** 2
        later = (growth > 0) | ((growth == 0) & later)
    distances: np.ndarray = np.where(later, np.sqrt(squares), _FORBIDDEN)
    return distances


def averaged_colours(images: np.ndarray) -> np.ndarray:
    """Resample uint8 [n, H, W, C] to float32 [n, SIDE, SIDE, C], 0..255."""
    channels = [averaged(images[..., k].astype(np.float64), SIDE, SIDE) for k in range(images.shape[3])]
    return np.stack(channels, axis=3).astype(np.float32)


def _correlations(pixels: np.ndarray) -> np.ndarray:
    """Return the largest correlation at shifts of at most one pixel each way, float32 [n, n]; pixels: float32 [n, SIDE, SIDE, C]."""
    centre = _unit(pixels[:, 2:-2, 2:-2])
    best = np.full((len(pixels), len(pixels)), -1, np.float32)
    for down, across in _SHIFTS:
        window = _unit(pixels[:, 1 + down : SIDE - 3 + down, 1 + across : SIDE - 3 + across])
        np.maximum(best, centre @ window.T, out=best)
    return np.maximum(best, best.T)


def _unit(pixels: np.ndarray) -> np.ndarray:
    """Subtract the mean of each channel and scale each image to norm 1, float32 [n, E]."""
    centred = pixels - pixels.mean(axis=(1, 2), keepdims=True)
    rows = centred.reshape(len(pixels), -1)
    scaled: np.ndarray = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-6)
    return scaled


def _chains(distances: np.ndarray) -> np.ndarray:
    """Link each image to at most one successor at the smallest sum of distances; return the chain of each, int [n]."""
    n = len(distances)
    # The right half: an image without a successor costs as much as the longest permitted link.
    costs = np.concatenate([distances, np.full((n, n), LINKED)], axis=1)
    left, right = linear_sum_assignment(costs)
    linked = right < n
    linked[linked] = distances[left[linked], right[linked]] < LINKED
    links = coo_array((np.ones(linked.sum()), (left[linked], right[linked])), shape=(n, n))
    chains: np.ndarray = connected_components(links, directed=False)[1]
    return chains
