"""No sign on both sides, no class left out, and the same split for the same seed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from safeml.data.dataset import ImageDataset
from safeml.data.splits import share_out, split_by_track
from safeml.errors import ConfigError, InputRefused

FRACTIONS = {"train": 0.7, "valid": 0.1, "test": 0.2}


def signs(tracks_of_class: list[int], frames: int, order: np.random.Generator | None = None) -> ImageDataset:
    """`tracks_of_class[k]` tracks of `frames` images of class k, shuffled by `order`."""
    label_of_track = np.repeat(np.arange(len(tracks_of_class)), tracks_of_class)
    rows = np.repeat(np.arange(len(label_of_track)), frames)
    if order is not None:
        rows = order.permutation(rows)
    return ImageDataset(
        name="signs",
        images=np.zeros((len(rows), 1, 1, 3), np.uint8),
        labels=label_of_track[rows],
        class_names=tuple(f"class {k}" for k in range(len(tracks_of_class))),
        tracks=rows * 17,
    )


@settings(max_examples=100)
@given(
    tracks_of_class=st.lists(st.integers(3, 30), min_size=1, max_size=6),
    frames=st.integers(1, 5),
    seed=st.integers(0, 2**32 - 1),
)
def test_every_image_once_no_sign_twice_every_class_everywhere(tracks_of_class, frames, seed):
    dataset = signs(tracks_of_class, frames, np.random.default_rng(seed))
    splits = split_by_track(dataset, FRACTIONS, seed)
    ids = np.concatenate([split.ids for split in splits.values()])  # type: ignore[arg-type]
    assert np.array_equal(np.sort(ids), np.arange(len(dataset)))
    seen = [set(split.tracks.tolist()) for split in splits.values()]  # type: ignore[union-attr]
    assert sum(map(len, seen)) == len(set.union(*seen)) == sum(tracks_of_class)
    for split in splits.values():
        assert set(split.labels.tolist()) == set(range(len(tracks_of_class)))


@settings(max_examples=200, deadline=None)
@given(count=st.integers(0, 500), weights=st.lists(st.floats(0.01, 1), min_size=2, max_size=6))
def test_shares_add_up_and_stay_within_one_of_proportional(count, weights):
    fractions = [weight / sum(weights) for weight in weights]
    shares = share_out(count, fractions)
    assert shares.sum() == count
    assert shares.min() >= (1 if count >= len(fractions) else 0)
    if all(fraction * count >= 1 for fraction in fractions):
        assert np.abs(shares - np.array(fractions) * count).max() < 1 + 1e-6


def test_the_split_depends_on_the_seed_and_not_on_the_order_of_images():
    first = split_by_track(signs([20, 20], 3), FRACTIONS, seed=1)
    shuffled = split_by_track(signs([20, 20], 3, np.random.default_rng(5)), FRACTIONS, seed=1)
    other = split_by_track(signs([20, 20], 3), FRACTIONS, seed=2)
    assert set(first["test"].tracks) == set(shuffled["test"].tracks)  # type: ignore[arg-type]
    assert set(first["test"].tracks) != set(other["test"].tracks)  # type: ignore[arg-type]
    assert first["train"].name == "signs (train)"


def test_independent_images_may_be_split_but_unknown_clustering_may_not():
    images = np.zeros((10, 1, 1, 3), np.uint8)
    labels = np.repeat([0, 1], 5)
    independent = ImageDataset("x", images, labels, ("a", "b"), frames_per_sign=1)
    assert {
        name: len(split) for name, split in split_by_track(independent, {"a": 0.6, "b": 0.4}, 0).items()
    } == {"a": 6, "b": 4}
    for frames_per_sign in (None, 30.0):
        with pytest.raises(ConfigError, match="frames of one sign could be in both splits"):
            split_by_track(
                ImageDataset("x", images, labels, ("a", "b"), frames_per_sign=frames_per_sign), FRACTIONS, 0
            )


@pytest.mark.parametrize(
    "fractions", [{}, {"a": 1.0}, {"a": 0.5, "b": 0.6}, {"a": 1.5, "b": -0.5}, {"a": float("nan"), "b": 0.5}]
)
def test_bad_fractions_are_refused(fractions):
    with pytest.raises(ConfigError, match="add up to 1"):
        split_by_track(signs([5], 2), fractions, 0)


def test_an_empty_split_and_a_track_of_two_classes_are_refused():
    with pytest.raises(ConfigError, match="would be empty"):
        split_by_track(signs([1], 5), FRACTIONS, 0)
    mixed = ImageDataset(
        "x", np.zeros((2, 1, 1, 3), np.uint8), np.array([0, 1]), ("a", "b"), tracks=np.array([4, 4])
    )
    with pytest.raises(InputRefused, match="track 4 has images of two classes"):
        split_by_track(mixed, {"a": 0.5, "b": 0.5}, 0)
