"""Copies that were planted are found, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest

from safeml.metrics.duplicates import (
    NO_COPY,
    difference_hash,
    earlier_copies,
    first_copies,
    near_copies,
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


def test_the_difference_hash_does_not_see_brightness_but_a_mirror() -> None:
    ramp = np.tile(np.arange(0, 180, 10, dtype=np.uint8), (16, 1))[None, :, :, None]
    assert difference_hash(ramp)[0] == np.uint64(2**64 - 1)
    assert difference_hash(ramp + np.uint8(40))[0] == difference_hash(ramp)[0]
    assert difference_hash(ramp[:, :, ::-1])[0] == np.uint64(0)


def test_near_copies_agree_with_counting_bits_by_hand() -> None:
    rng = np.random.default_rng(2)
    others = rng.integers(0, 2**63, 300, dtype=np.uint64)
    flips = np.array([0, 1, 2, 3, 4] * 40, dtype=np.uint64)
    hashes = others[:200] ^ ((np.uint64(1) << flips) - np.uint64(1))  # `flips` bits differ
    found = near_copies(hashes, others, distance=2)
    for row, (mine, index) in enumerate(zip(hashes.tolist(), found.tolist(), strict=True)):
        least = min((mine ^ other).bit_count() for other in others.tolist())
        assert (index != NO_COPY) == (least <= 2)
        assert index == (row if flips[row] <= 2 else NO_COPY)
