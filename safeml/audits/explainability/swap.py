"""Images with other surroundings: everything outside the box of the sign is replaced. Legend: N images, H W C pixels."""

from __future__ import annotations

import numpy as np

from safeml.data.dataset import ImageDataset

# The purpose of these random numbers, beside the seed and the image's id.
DONORS = 41
# Images that are drawn for each image; the one that shows least of its own sign is taken.
CANDIDATES = 16
GREY = 128
FORMS = ("swapped", "grey", "removed")


def donors(data: ImageDataset, ids: np.ndarray, inside: np.ndarray, seed: int) -> np.ndarray:
    """Return for each image the row of another one that gives its surroundings, int64 [N]; -1 where there is none.

    ids: int64 [N]. inside: bool [N, H, W], the box of each sign.

    The donor has another class, so that surroundings which go with a class are separated from it; with one class in all images
    there is none. Of some random candidates, the one is taken whose own sign is hidden best by the box.
    """
    rows = np.full(len(data), -1, np.int64)
    for row, (identity, label) in enumerate(zip(ids, data.labels, strict=True)):
        others = np.flatnonzero(data.labels != label)
        if not len(others):
            continue
        # Drawn from the order of the ids, so that the rows of another sample give the same donors for the same images.
        others = others[np.argsort(ids[others], kind="stable")]
        rng = np.random.default_rng([seed, DONORS, int(identity)])
        drawn = others[rng.integers(len(others), size=CANDIDATES)]
        visible = (inside[drawn] & ~inside[row]).sum(axis=(1, 2))
        rows[row] = drawn[int(visible.argmin())]
    return rows


def changed_surroundings(
    images: np.ndarray, inside: np.ndarray, surroundings: np.ndarray, form: str
) -> np.ndarray:
    """Return the images in one form of FORMS, uint8 [N, H, W, C].

    images, surroundings: uint8 [N, H, W, C], 0..255. inside: bool [N, H, W].

    swapped: the sign before the surroundings of another image. grey: the sign on grey. removed: the surroundings alone, with a
    grey box.
    """
    box = inside[..., None]
    grey = np.full_like(images, GREY)
    if form == "removed":
        return np.where(box, grey, images)
    return np.where(box, images, surroundings if form == "swapped" else grey)
