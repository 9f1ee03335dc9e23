"""Splits that do not separate frames of one physical sign. Legend: N images, K classes.

Frames of one sign are near duplicates, so a random split of images puts near duplicates of training images into the
test set and overstates accuracy (track leakage).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from safeml.data.dataset import ImageDataset
from safeml.errors import ConfigError, InputRefused


def split_by_track(dataset: ImageDataset, fractions: dict[str, float], seed: int) -> dict[str, ImageDataset]:
    """Split the images into disjoint sets of whole tracks, stratified by class.

    Within each class, tracks are shuffled and distributed in proportion to `fractions` (largest remainder). A class with
    at least as many tracks as splits is in every split. The shuffle of a class depends only on the seed and the track
    numbers of that class, so neither the order of images nor another class changes it.

    Args:
        dataset: with tracks, or with frames_per_sign == 1 (then each image is another sign).
        fractions: split name -> share of the tracks of each class, > 0; the shares add up to 1.
        seed: of the shuffle.

    Returns:
        split name -> its images, in source order.

    Raises:
        ConfigError: invalid fractions, an empty split, or unknown clustering.
        InputRefused: a track with images of two classes.
    """
    _check_fractions(fractions)
    names, tracks = list(fractions), _signs(dataset)
    numbers, first, of_image = np.unique(tracks, return_index=True, return_inverse=True)
    class_of_track = dataset.labels[first]
    mixed = dataset.labels != class_of_track[of_image]
    if mixed.any():
        row = int(np.flatnonzero(mixed)[0])
        raise InputRefused(
            f"{dataset.name}: track {tracks[row]} has images of two classes; a track is one physical sign."
        )
    split_of_track = np.empty(len(numbers), np.int64)
    for label in np.unique(class_of_track):
        members = np.flatnonzero(class_of_track == label)
        shuffled = np.random.default_rng([seed, int(label)]).permutation(members)
        split_of_track[shuffled] = np.repeat(
            np.arange(len(names)), share_out(len(members), list(fractions.values()))
        )
    split_of_image = split_of_track[of_image]
    splits: dict[str, ImageDataset] = {}
    for index, name in enumerate(names):
        rows = np.flatnonzero(split_of_image == index)
        if len(rows) == 0:
            raise ConfigError(
                f'{dataset.name}: the split "{name}" would be empty; there are too few tracks for {len(names)} splits.'
            )
        splits[name] = replace(dataset.take(rows), name=f"{dataset.name} ({name})")
    return splits


def split_by_image(dataset: ImageDataset, fraction: float, seed: int) -> tuple[ImageDataset, ImageDataset]:
    """Split single images at random, `fraction` of them in the second part. It leaks (see above); use it to measure that."""
    order = np.random.default_rng([seed, 0x1A]).permutation(len(dataset))
    held = max(1, round(fraction * len(dataset)))
    if held >= len(dataset):
        raise ConfigError(f"{dataset.name}: has {len(dataset)} images, too few to hold out {held}.")
    rest, chosen = np.sort(order[held:]), np.sort(order[:held])
    return (
        replace(dataset.take(rest), name=f"{dataset.name} (random train)"),
        replace(dataset.take(chosen), name=f"{dataset.name} (random valid)"),
    )


def pooled(first: ImageDataset, second: ImageDataset) -> ImageDataset:
    """Concatenate two data sets with their tracks. Raises ConfigError if classes or sizes differ."""
    if first.class_names != second.class_names or first.images.shape[1:] != second.images.shape[1:]:
        raise ConfigError(
            f"{first.name} and {second.name} differ in classes or image size; they cannot be pooled."
        )
    if first.targets is not None or second.targets is not None:
        raise ConfigError(
            f"{first.name} and {second.name} have targets of a regression; they cannot be pooled."
        )
    tracks = None
    if first.tracks is not None and second.tracks is not None:
        tracks = np.concatenate([first.tracks, second.tracks])
    return ImageDataset(
        name=f"{first.name} and {second.name}",
        images=np.concatenate([first.images, second.images]),
        labels=np.concatenate([first.labels, second.labels]),
        class_names=first.class_names,
        tracks=tracks,
    )


def share_out(count: int, fractions: list[float]) -> np.ndarray:
    """Distribute `count` in proportion to `fractions` in whole numbers, each at least 1 if `count` suffices.

    Largest-remainder method; ties go to the earlier split.

    >>> share_out(10, [0.7, 0.2, 0.1]).tolist()
    [7, 2, 1]
    >>> share_out(3, [0.9, 0.05, 0.05]).tolist()
    [1, 1, 1]
    """
    reserved = 1 if count >= len(fractions) else 0
    ideal = np.asarray(fractions) * count
    shares = np.maximum(np.floor(ideal + 1e-9).astype(np.int64), reserved)
    while shares.sum() > count:
        spare = np.where(shares > reserved, shares - ideal, -np.inf)
        shares[int(np.argmax(spare))] -= 1
    while shares.sum() < count:
        shares[int(np.argmax(ideal - shares))] += 1
    return shares


def _check_fractions(fractions: dict[str, float]) -> None:
    values = list(fractions.values())
    if len(values) < 2 or not all(0 < value < 1 for value in values) or abs(sum(values) - 1) > 1e-9:
        shown = ", ".join(f"{name} {value:g}" for name, value in fractions.items()) or "none"
        raise ConfigError(
            f"split fractions are {shown}; expected at least two positive shares that add up to 1."
        )


def _signs(dataset: ImageDataset) -> np.ndarray:
    """Return int64 [N]; equal numbers are frames of one sign."""
    if dataset.tracks is not None:
        return dataset.tracks
    if dataset.frames_per_sign == 1:
        return np.arange(len(dataset), dtype=np.int64)
    raise ConfigError(
        f"{dataset.name}: tracks are unknown, so frames of one sign could be in both splits; supply track ids, or set "
        "frames_per_sign = 1 if every image shows another sign."
    )
