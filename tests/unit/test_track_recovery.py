"""Sign tracks from pixels: rendered approaches are recovered, and the measure of agreement is a closed form."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from safeml.data.rendered import render
from safeml.metrics.track_recovery import agreement, pair_counts, recovered_tracks


def test_the_agreement_counts_pairs() -> None:
    rng = np.random.default_rng(1)
    proposed, recorded = rng.integers(0, 5, 40), rng.integers(0, 6, 40)
    pairs = list(combinations(range(40), 2))
    mine = {p for p in pairs if proposed[p[0]] == proposed[p[1]]}
    theirs = {p for p in pairs if recorded[p[0]] == recorded[p[1]]}
    found = agreement(proposed, recorded)
    assert found.precision == pytest.approx(len(mine & theirs) / len(mine))
    assert found.recall == pytest.approx(len(mine & theirs) / len(theirs))
    assert (found.proposed, found.recorded) == (5, 6)
    both, in_mine, in_theirs = pair_counts(proposed, recorded)
    assert (both.sum(), in_mine.sum(), in_theirs.sum()) == (
        2 * len(mine & theirs),
        2 * len(mine),
        2 * len(theirs),
    )


def test_equal_tracks_agree_and_single_images_have_no_pairs() -> None:
    tracks = np.repeat(np.arange(4), 3)
    found = agreement(tracks + 100, tracks)
    assert (found.precision, found.recall) == (1, 1)
    assert np.isnan(agreement(np.arange(12), tracks).precision)


def test_an_approaching_camera_gives_one_track() -> None:
    """Three signs of one class in another light each, seen at growing sizes, in random order."""
    signs = render(30, seed=2, size=32, frames_per_sign=1).images
    rng = np.random.default_rng(0)
    images, sizes, recorded = [], [], []
    for sign, place in enumerate((3, 11, 20)):
        for frame in range(8):
            noise = rng.normal(0, 2, signs[place].shape)
            images.append(np.clip(signs[place] * (0.9 + 0.01 * frame) + noise, 0, 255).astype(np.uint8))
            sizes.append(20.0 + 4 * frame)
            recorded.append(sign)
    order = rng.permutation(len(images))
    tracks = recovered_tracks(np.stack(images)[order], np.zeros(24, int), np.array(sizes)[order], 7)
    found = agreement(tracks, np.array(recorded)[order])
    assert (found.precision, found.recall, found.proposed) == (1, 1, 3)


def test_images_of_two_classes_are_never_linked() -> None:
    images = np.repeat(render(1, seed=2, size=32).images, 6, axis=0)
    labels = np.array([0, 1, 0, 1, 2, 2])
    tracks = recovered_tracks(images, labels, None, 7)
    assert len(np.unique(tracks)) == 3
    for label in range(3):
        assert len(set(tracks[labels == label])) == 1


def test_one_image_a_class_is_one_track_each() -> None:
    images = render(5, seed=2, size=32).images
    assert sorted(recovered_tracks(images, np.arange(5), None, 7)) == [0, 1, 2, 3, 4]
