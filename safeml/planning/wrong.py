"""Images that are misclassified if whole signs are misclassified. Legend: N images, C signs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from safeml.data.dataset import ImageDataset


@dataclass(frozen=True, eq=False)
class Signs:
    """The sign tracks of some images, largest first: a number permitted for these is permitted for any others.

    rows: int64 [M], the images, track by track.
    ends: int64 [C], number of `rows` in the first 1, 2, ..., C tracks.
    """

    images: int
    rows: np.ndarray
    ends: np.ndarray
    unit: Literal["sign", "image"]

    @property
    def count(self) -> int:
        return len(self.ends)

    def wrong(self, signs: int) -> np.ndarray:
        """Return the images of the first `signs` tracks, bool [N]."""
        mask = np.zeros(self.images, dtype=bool)
        mask[self.rows[: self.ends[signs - 1]] if signs else []] = True
        return mask


def signs_of(dataset: ImageDataset, member: np.ndarray) -> Signs:
    """Group the images in `member` (bool [N]) by track, else by the declared number of frames, else singly."""
    chosen = np.flatnonzero(member)
    if dataset.tracks is not None:
        _, codes, sizes = np.unique(dataset.tracks[chosen], return_inverse=True, return_counts=True)
        rows = chosen[np.lexsort((codes, -sizes[codes]))]
        return Signs(len(dataset), rows, np.cumsum(-np.sort(-sizes)), "sign")
    frames = dataset.frames_per_sign or 1.0
    count = max(1, round(len(chosen) / frames))
    ends = np.minimum(np.rint(np.arange(1, count + 1) * frames).astype(np.int64), len(chosen))
    return Signs(len(dataset), chosen, ends, "image" if frames == 1 else "sign")
