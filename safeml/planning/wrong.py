"""Which images are wrong when so many signs are wrong as a whole. Legend: N images, C signs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from safeml.data.dataset import ImageDataset


@dataclass(frozen=True, eq=False)
class Signs:
    """The signs of some images of a data set, the largest first: what is allowed of them is allowed of any others.

    rows: int64 [M], the images, sign by sign. ends: int64 [C], how many of `rows` the first 1, 2, ..., C signs have.
    """

    images: int
    rows: np.ndarray
    ends: np.ndarray
    unit: Literal["sign", "image"]

    @property
    def count(self) -> int:
        return len(self.ends)

    def wrong(self, signs: int) -> np.ndarray:
        """bool [N]: the images of the first `signs` signs."""
        mask = np.zeros(self.images, dtype=bool)
        mask[self.rows[: self.ends[signs - 1]] if signs else []] = True
        return mask

    def scattered(self, signs: int) -> np.ndarray:
        """bool [N]: one image of each of the first `signs` signs."""
        mask = np.zeros(self.images, dtype=bool)
        mask[self.rows[np.concatenate([[0], self.ends[:-1]])[:signs]]] = True
        return mask


def signs_of(dataset: ImageDataset, member: np.ndarray) -> Signs:
    """The signs among the images in `member` (bool [N]): by tracks, else the declared number of frames each, else images."""
    chosen = np.flatnonzero(member)
    if dataset.tracks is not None:
        _, codes, sizes = np.unique(dataset.tracks[chosen], return_inverse=True, return_counts=True)
        rows = chosen[np.lexsort((codes, -sizes[codes]))]
        return Signs(len(dataset), rows, np.cumsum(-np.sort(-sizes)), "sign")
    frames = dataset.frames_per_sign or 1.0
    count = max(1, round(len(chosen) / frames))
    ends = np.minimum(np.rint(np.arange(1, count + 1) * frames).astype(np.int64), len(chosen))
    return Signs(len(dataset), chosen, ends, "image" if frames == 1 else "sign")
