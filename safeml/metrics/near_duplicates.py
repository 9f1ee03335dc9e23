"""The same picture twice with small changes: shifted by a pixel, noisy, compressed again, brighter. Legend: N, M images, P pairs.

Candidates come from an embedding of a few pixels and from a hash. Each candidate is then compared by normalised cross-correlation
at small shifts, so that a candidate is never reported on the hash alone. All images are compared at one size, SIDE x SIDE.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from safeml.data.groups import luma
from safeml.metrics.duplicates import NO_COPY

SIDE = 32
# Smaller images have too few pixels for the hash.
LEAST_SIDE = 9
# Chosen on GTSRB training tracks; benchmarks/near_duplicates.py measures recall and false pairs.
SIMILAR = 0.99
# What is left of the difference after the best brightness and contrast, in grey levels of 255: dark signs before a bright sky are
# similar, and differ by more.
RESIDUAL = 8.0
CAST = 0.1
# Standard deviation of the grey values, of 255: below it, a correlation compares noise.
LEAST_CONTRAST = 2.0
NEAREST = 8
_CELLS = 8
_SHIFTS = [(down, across) for down in (0, 1, 2) for across in (0, 1, 2)]
_MIDDLE = _SHIFTS.index((1, 1))
_CENTRE = SIDE - 2
_BLOCK, _GROUP, _PAIRS = 512, 32, 512
# The embedding of a copy that is shifted by one pixel; a candidate with less is not compared.
_LEAST_EMBEDDING = 0.85
_ROTATIONS, _NEIGHBOURS = (0, 16, 32, 48), 2


@dataclass(frozen=True, eq=False)
class Prints:
    """What is compared of N images.

    grey: float16 [N, SIDE, SIDE], 0..255, slightly blurred.
    norms: float32 [N, 9], norm of each shifted window of `grey` around its mean.
    embedding: float32 [N, E], of norm 1.
    hashes: uint64 [N].
    cast: float32 [N, 3], log of the mean of each colour relative to their mean: the colour of the light.
    flat: bool [N], with too little contrast to be compared.
    """

    grey: np.ndarray
    norms: np.ndarray
    embedding: np.ndarray
    hashes: np.ndarray
    cast: np.ndarray
    flat: np.ndarray

    def __len__(self) -> int:
        return len(self.grey)


def prints(images: np.ndarray) -> Prints:
    """Reduce images to what is compared. images: uint8 [N, H, W, 1 or 3] with sides of at least LEAST_SIDE."""
    parts = [_prints(images[start : start + _BLOCK]) for start in range(0, len(images), _BLOCK)]
    return Prints(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


def nearest_copies(
    ones: Prints,
    others: Prints,
    rows: slice,
    same_set: bool = False,
    progress: Callable[[int], None] = lambda done: None,
) -> tuple[np.ndarray, np.ndarray]:
    """Find for each image of `ones` in `rows` the most similar near duplicate in `others`.

    same_set: both are one set, and an image is no copy of itself.
    Returns int64 [N] (index in `others`, or NO_COPY) and float32 [N] (correlation, 0 without a copy).
    """
    start, stop, _ = rows.indices(len(ones))
    best = np.full(stop - start, NO_COPY, np.int64)
    value = np.zeros(stop - start, np.float32)
    for first in range(start, stop, _BLOCK):
        part = np.arange(first, min(first + _BLOCK, stop))
        left, right = _candidates(ones, others, part, same_set)
        similar = correlation(ones, others, left, right)
        keep = are_copies(ones, others, left, right, similar)
        order = np.argsort(similar[keep], kind="stable")
        left, right, similar = left[keep][order], right[keep][order], similar[keep][order]
        best[left - start], value[left - start] = right, similar  # the last write of a row is its largest
        progress(int(part[-1]) + 1 - start)
    return best, value


def are_copies(
    ones: Prints, others: Prints, left: np.ndarray, right: np.ndarray, similar: np.ndarray
) -> np.ndarray:
    """Return which pairs are near duplicates, bool [P]; similar: float32 [P], their `correlation`."""
    contrast = np.maximum(ones.norms[left, _MIDDLE], others.norms[right, _MIDDLE]) / _CENTRE
    residual = np.sqrt(np.maximum(1 - similar**2, 0)) * contrast
    copies: np.ndarray = (similar >= SIMILAR) & (residual <= RESIDUAL)
    return copies


def correlation(ones: Prints, others: Prints, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Return the largest normalised cross-correlation over shifts of at most one pixel each way, float32 [P], -1..1.

    left, right: int [P], rows of `ones` and `others`.
    References: J. P. Lewis, "Fast normalized cross-correlation", Vision Interface (1995).
    """
    values = np.empty(len(left), np.float32)
    for start in range(0, len(left), _PAIRS):
        pair = slice(start, start + _PAIRS)
        centre = _normalised(ones.grey[left[pair], 1:-1, 1:-1].reshape(-1, _CENTRE**2).astype(np.float32))
        centre = centre.reshape(-1, _CENTRE, _CENTRE)
        moved, norms = others.grey[right[pair]].astype(np.float32), others.norms[right[pair]]
        products = [
            np.einsum("pij,pij->p", centre, moved[:, down : down + _CENTRE, across : across + _CENTRE])
            for down, across in _SHIFTS
        ]
        values[pair] = (np.stack(products, axis=1) / np.maximum(norms, 1e-6)).max(axis=1)
    return values


def difference_hash(cells: np.ndarray) -> np.ndarray:
    """64-bit difference hash, uint64 [N], of grey images averaged to float [N, 8, 9] cells.

    A bit says that a cell is darker than its right neighbour, so brightness and contrast cancel out. Source: C. Zauner,
    "Implementation and benchmarking of perceptual image hash functions", thesis, Upper Austria University of Applied Sciences
    (2010), for the family; the variant on differences is folklore.
    """
    bits = (cells[:, :, :-1] < cells[:, :, 1:]).reshape(len(cells), 64)
    hashes: np.ndarray = np.packbits(bits, axis=1).view(">u8")[:, 0].astype(np.uint64)
    return hashes


def averaged(grey: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resample grey images, float [N, H, W], to [N, height, width] by the area that each new pixel covers."""
    resampled: np.ndarray = _areas(height, grey.shape[1]) @ grey @ _areas(width, grey.shape[2]).T
    return resampled


def _areas(cells: int, size: int) -> np.ndarray:
    """float64 [cells, size]: the share of each of `size` pixels in each of `cells` equal stretches; rows add up to 1."""
    edges = np.arange(cells + 1) * (size / cells)
    pixels = np.arange(size)
    overlap = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
    weights: np.ndarray = np.maximum(overlap, 0) * (cells / size)
    return weights


def _prints(images: np.ndarray) -> tuple[np.ndarray, ...]:
    grey = luma(images)
    small = averaged(grey, SIDE, SIDE)
    flat = small.std(axis=(1, 2)) < LEAST_CONTRAST
    colours = np.log(images.reshape(len(images), -1, images.shape[3]).mean(axis=1) + 8.0)
    cast = np.broadcast_to(colours - colours.mean(axis=1, keepdims=True), (len(images), 3))
    cells = averaged(_blurred(_blurred(small)), _CELLS, _CELLS).reshape(len(images), -1)
    blurred = _blurred(small).astype(np.float16)
    windows = [blurred[:, down : down + _CENTRE, across : across + _CENTRE] for down, across in _SHIFTS]
    return (
        blurred,
        np.stack([window.std(axis=(1, 2), dtype=np.float32) for window in windows], axis=1) * _CENTRE,
        _normalised(cells).astype(np.float32),
        difference_hash(averaged(grey, 8, 9)),
        cast.astype(np.float32),
        flat,
    )


def _blurred(grey: np.ndarray) -> np.ndarray:
    """Average each pixel with its eight neighbours; noise and compression fall by more than the picture."""
    padded = np.pad(grey, ((0, 0), (1, 1), (1, 1)), mode="edge")
    rows = padded[:, :-2] + padded[:, 1:-1] + padded[:, 2:]
    blurred: np.ndarray = (rows[:, :, :-2] + rows[:, :, 1:-1] + rows[:, :, 2:]) / 9
    return blurred


def _normalised(values: np.ndarray) -> np.ndarray:
    """Subtract the mean of each row of [N, E], and scale it to norm 1; 0 where it is constant."""
    centred = values - values.mean(axis=1, keepdims=True)
    norms = np.linalg.norm(centred, axis=1, keepdims=True)
    scaled: np.ndarray = centred / np.maximum(norms, 1e-6)
    return scaled


def _candidates(
    ones: Prints, others: Prints, rows: np.ndarray, same_set: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Return the pairs (int [P], int [P]) of these rows that may be near duplicates, each once."""
    near = _nearest_embeddings(ones.embedding[rows], others.embedding, rows if same_set else None)
    left = [np.repeat(rows, near.shape[1]), *([rows] * (len(_ROTATIONS) * 2 * _NEIGHBOURS))]
    right = [near.ravel(), *_nearest_hashes(ones.hashes[rows], others.hashes)]
    pairs = np.unique(np.concatenate(left) * len(others) + np.concatenate(right))
    one, other = np.divmod(pairs, len(others))
    keep = ~ones.flat[one] & ~others.flat[other]
    keep &= np.abs(ones.cast[one] - others.cast[other]).max(axis=1) <= CAST
    keep &= np.einsum("pe,pe->p", ones.embedding[one], others.embedding[other]) >= _LEAST_EMBEDDING
    if same_set:
        keep &= one != other
    return one[keep], other[keep]


def _nearest_embeddings(ones: np.ndarray, others: np.ndarray, own: np.ndarray | None) -> np.ndarray:
    """Return the NEAREST rows of `others` [M, E] for each of `ones` [N, E], int [N, at most NEAREST].

    own: int [N], the row of `others` that is the image itself; None where it is not among them.
    """
    products = ones @ others.T
    if own is not None:
        products[np.arange(len(ones)), own] = -2
    count = min(NEAREST, len(others))
    # The largest entries lie in the groups with the largest maxima, so that only few groups are sorted.
    whole = len(others) // _GROUP * _GROUP
    if whole // _GROUP <= 2 * count:
        return np.argpartition(products, len(others) - count, axis=1)[:, -count:]
    groups = products[:, :whole].reshape(len(ones), -1, _GROUP).max(axis=2)
    best = np.argpartition(groups, groups.shape[1] - count, axis=1)[:, -count:]
    members = (best[:, :, None] * _GROUP + np.arange(_GROUP)).reshape(len(ones), -1)
    tail = np.broadcast_to(np.arange(whole, len(others)), (len(ones), len(others) - whole))
    members = np.concatenate([members, tail], axis=1)
    values = np.take_along_axis(products, members, axis=1)
    chosen = np.argpartition(values, values.shape[1] - count, axis=1)[:, -count:]
    nearest: np.ndarray = np.take_along_axis(members, chosen, axis=1)
    return nearest


def _nearest_hashes(ones: np.ndarray, others: np.ndarray) -> list[np.ndarray]:
    """Return neighbours of each of `ones` [N] in the sorted hashes `others` [M], each int [N]; sorted under rotations of the bits.

    Hashes that differ in one bit are neighbours under at least one rotation, where not many share their leading bits.
    """
    found = []
    for bits in _ROTATIONS:
        turned = _rotated(others, bits)
        order = np.argsort(turned, kind="stable")
        place = np.searchsorted(turned[order], _rotated(ones, bits))
        steps = range(-_NEIGHBOURS, _NEIGHBOURS)
        found += [order[np.clip(place + step, 0, len(others) - 1)] for step in steps]
    return found


def _rotated(hashes: np.ndarray, bits: int) -> np.ndarray:
    if bits == 0:
        return hashes
    rotated: np.ndarray = (hashes << np.uint64(bits)) | (hashes >> np.uint64(64 - bits))
    return rotated
