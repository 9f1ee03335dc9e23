"""Copies that were planted are found, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest

from safeml.metrics.duplicates import (
    NO_COPY,
    earlier_copies,
    first_copies,
    pixel_digests,
    with_another_label,
)


@pytest.fixture
def noise() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (50, 16, 16, 3), dtype=np.uint8)


def test_planted_copies_are_found_at_their_first_place(noise: np.ndarray) -> None:
    others = np.concatenate([noise[10:20], noise[12:13]])
    found = first_copies(pixel_digests(noise), pixel_digests(others))
    assert found[10:20].tolist() == list(range(10))
    assert (np.delete(found, range(10, 20)) == NO_COPY).all()


def test_one_changed_pixel_is_no_copy(noise: np.ndarray) -> None:
    changed = noise.copy()
    changed[:, 3, 3, 0] ^= 1
    assert (first_copies(pixel_digests(noise), pixel_digests(changed)) == NO_COPY).all()


def test_equal_bytes_of_another_shape_are_no_copy() -> None:
    flat = np.zeros((1, 8, 32, 1), dtype=np.uint8)
    assert pixel_digests(flat)[0] != pixel_digests(flat.reshape(1, 16, 16, 1))[0]


def test_repeats_within_a_set_point_to_the_first(noise: np.ndarray) -> None:
    digests = pixel_digests(noise[[0, 1, 0, 0, 1]])
    assert earlier_copies(digests).tolist() == [NO_COPY, NO_COPY, 0, 0, 1]


def test_copies_with_another_label_are_all_marked(noise: np.ndarray) -> None:
    digests = pixel_digests(noise[[0, 1, 0, 1, 2]])
    assert with_another_label(digests, np.array([3, 4, 5, 4, 3])).tolist() == [
        True,
        False,
        True,
        False,
        False,
    ]
