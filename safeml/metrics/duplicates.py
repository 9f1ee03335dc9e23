"""The same picture twice. Legend: N, M images of two sets, H W C pixels.

Byte-identical pixels are a fact. A small perceptual hash finds candidates for near copies: a small distance is a reason to
compare the images, not a proof.
"""

from __future__ import annotations

import hashlib

import numpy as np

NO_COPY = -1
NEAR_DISTANCE = 2
MAX_COMPARISONS = 600_000_000
_CHUNK = 64


def pixel_digests(images: np.ndarray) -> np.ndarray:
    """sha256 of each image's shape and pixels, ASCII [N]; images: uint8 [N, H, W, C]."""
    shape = repr(images.shape[1:]).encode()
    return np.array([hashlib.sha256(shape + image.tobytes()).hexdigest() for image in images], dtype="S64")


def first_copies(digests: np.ndarray, others: np.ndarray) -> np.ndarray:
    """For each of `digests` [N] the first index in `others` [M] with equal pixels, or NO_COPY; int64 [N]."""
    values, first = np.unique(others, return_index=True)
    place = np.minimum(np.searchsorted(values, digests), len(values) - 1)
    return np.where(values[place] == digests, first[place], NO_COPY).astype(np.int64)


def earlier_copies(digests: np.ndarray) -> np.ndarray:
    """For each of `digests` [N] the first index of the same set with equal pixels, or NO_COPY for the first itself."""
    first = first_copies(digests, digests)
    return np.where(first == np.arange(len(digests)), NO_COPY, first)


def with_another_label(digests: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """bool [N]: the pixels of the image also have a different label in the set (int [N])."""
    _, inverse = np.unique(digests, return_inverse=True)
    lowest = np.full(inverse.max() + 1, np.iinfo(np.int64).max)
    highest = np.full(inverse.max() + 1, np.iinfo(np.int64).min)
    np.minimum.at(lowest, inverse, labels)
    np.maximum.at(highest, inverse, labels)
    conflict: np.ndarray = (lowest != highest)[inverse]
    return conflict


def difference_hash(images: np.ndarray) -> np.ndarray:
    """64-bit difference hash of each image, uint64 [N]; images: uint8 [N, H, W, C] with H >= 8, W >= 9.

    The grey image is averaged down to 8 x 9 cells; a bit says that a cell is darker than its right neighbour. Brightness
    and contrast cancel out. Source: C. Zauner, "Implementation and benchmarking of perceptual image hash functions",
    thesis, Upper Austria University of Applied Sciences (2010), for the family; the variant on differences is folklore.
    """
    rows = _averaging(8, images.shape[1])
    columns = _averaging(9, images.shape[2]).T
    hashes = np.empty(len(images), dtype=np.uint64)
    for start in range(0, len(images), _CHUNK):
        part = images[start : start + _CHUNK]
        cells = rows @ part.sum(axis=3, dtype=np.float32) @ columns
        bits = (cells[:, :, :-1] < cells[:, :, 1:]).reshape(len(part), 64)
        hashes[start : start + _CHUNK] = np.packbits(bits, axis=1).view(">u8")[:, 0]
    return hashes


def near_copies(hashes: np.ndarray, others: np.ndarray, distance: int = NEAR_DISTANCE) -> np.ndarray:
    """For each of `hashes` uint64 [N] the nearest index in `others` [M] within `distance` differing bits, or NO_COPY.

    Compares all N x M pairs; the caller keeps N x M at or below MAX_COMPARISONS.
    """
    nearest = np.full(len(hashes), NO_COPY, dtype=np.int64)
    for start in range(0, len(hashes), _CHUNK):
        part = hashes[start : start + _CHUNK]
        bits = np.bitwise_count(part[:, None] ^ others[None, :])
        best = bits.argmin(axis=1)
        near = bits[np.arange(len(part)), best] <= distance
        nearest[start : start + _CHUNK] = np.where(near, best, NO_COPY)
    return nearest


def _averaging(cells: int, size: int) -> np.ndarray:
    """float32 [cells, size] that averages `size` pixels into `cells` stretches, of sizes that differ by at most one."""
    cell_of_pixel = np.arange(size) * cells // size
    members = (np.arange(cells)[:, None] == cell_of_pixel).astype(np.float32)
    weights: np.ndarray = members / members.sum(axis=1, keepdims=True)
    return weights
