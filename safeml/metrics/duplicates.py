"""Byte-identical images. Legend: N, M images of two sets, H W C pixels."""

from __future__ import annotations

import hashlib

import numpy as np

NO_COPY = -1


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
