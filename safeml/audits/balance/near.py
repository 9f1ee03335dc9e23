"""Candidates for near duplicates between two splits, as counts and as pictures.

A difference hash proposes pairs; the pictures let a person decide, because many pairs are different signs of one class.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np

from safeml.audits.balance.split import Split
from safeml.audits.gallery import panel
from safeml.metrics.duplicates import (
    MAX_COMPARISONS,
    NEAR_DISTANCE,
    NO_COPY,
    difference_hash,
    first_copies,
    near_copies,
)
from safeml.results import Column, Gallery, GalleryItem, Scalar, Table
from safeml.wording import counted

HASH_SIZE = 9
PICTURED = 12


@dataclass(frozen=True, eq=False)
class Near:
    """The candidates between two splits.

    images, copies: int [C], rows of `one` and of `two`, byte-identical pairs left out; None if the splits were not compared.
    """

    one: Split
    two: Split
    images: np.ndarray | None
    copies: np.ndarray | None

    @property
    def pair(self) -> str:
        """Name both splits."""
        return f"{self.one.role} and {self.two.role}"


def near_pairs(splits: list[Split]) -> list[Near]:
    """Compare every two splits. Too many pairs, and images under HASH_SIZE pixels, are not compared."""
    sizes = [min(split.data.images.shape[1:3]) for split in splits]
    hashes = [
        difference_hash(split.data.images) if size >= HASH_SIZE else None
        for split, size in zip(splits, sizes, strict=True)
    ]
    pairs = []
    for (one, one_hash), (two, two_hash) in combinations(zip(splits, hashes, strict=True), 2):
        if one_hash is None or two_hash is None or len(one_hash) * len(two_hash) > MAX_COMPARISONS:
            pairs.append(Near(one, two, None, None))
            continue
        nearest = near_copies(one_hash, two_hash)
        rows = np.flatnonzero((nearest != NO_COPY) & (first_copies(one.digests, two.digests) == NO_COPY))
        pairs.append(Near(one, two, rows, nearest[rows]))
    return pairs


def near_table(pairs: list[Near]) -> Table:
    """Count the images with a near duplicate in another split."""
    rows: list[list[Scalar]] = []
    for near in pairs:
        if near.images is None or near.copies is None:
            rows.append([near.one.role, near.two.role, None, None])
            continue
        same = near.one.data.labels[near.images] == near.two.data.labels[near.copies]
        rows.append([near.one.role, near.two.role, len(near.images), int(same.sum())])
    return Table(
        id="near-copies",
        title="Candidates for near duplicates",
        columns=[
            Column(key="split", label="Images of"),
            Column(key="other", label="near duplicate in"),
            Column(key="near", label="Candidates", kind="number"),
            Column(key="same", label="of which same class", kind="number"),
        ],
        rows=rows,
        caption=f"Images whose 64-bit difference hash differs in at most {NEAR_DISTANCE} bits; identical images are excluded. "
        "Inspect each candidate; the hash is not proof of a copy.",
    )


def near_gallery(pairs: list[Near]) -> Gallery | None:
    """Picture the candidates whose pixels differ least; None without candidates."""
    ranked = sorted(
        (
            (_difference(near, int(image), int(copy)), order, int(image), int(copy))
            for order, near in enumerate(pairs)
            if near.images is not None and near.copies is not None
            for image, copy in zip(near.images, near.copies, strict=True)
        ),
    )
    items = [_item(pairs[order], image, copy, by) for by, order, image, copy in ranked[:PICTURED]]
    if not items:
        return None
    return Gallery(
        id="near-copies-pictures",
        title="Candidates for near duplicates, smallest difference first",
        items=items,
        caption=f"{len(items)} of {counted(len(ranked), 'candidate')}. Two frames of one sign are a leak; two signs of one class are not.",
    )


def _difference(near: Near, image: int, copy: int) -> float:
    """Return the mean absolute difference of the grey values, 0..255; infinite for images of two shapes."""
    one, two = near.one.data.images[image], near.two.data.images[copy]
    if one.shape != two.shape:
        return float("inf")
    return float(np.abs(one.astype(np.float32) - two.astype(np.float32)).mean())


def _item(near: Near, image: int, copy: int, difference: float) -> GalleryItem:
    here, there = near.one.place(image), near.two.place(copy)
    apart = "of different size" if difference == float("inf") else f"mean difference {difference:.1f} of 255"
    return GalleryItem(
        panels=[
            panel(f"{here[0]} #{here[1]}", near.one.data.images[image]),
            panel(f"{there[0]} #{there[1]}", near.two.data.images[copy]),
        ],
        true_name=here[2],
        predicted_name="" if here[2] == there[2] else there[2],
        note=apart,
    )
