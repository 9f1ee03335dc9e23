"""A split of the data, as leakage compares it with others."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from safeml.audits.base import AuditInputs
from safeml.data.dataset import ImageDataset
from safeml.metrics.duplicates import pixel_digests


@dataclass(frozen=True, eq=False)
class Split:
    """A split with its role and the digest of each image (ASCII [N])."""

    role: str
    data: ImageDataset
    digests: np.ndarray

    def place(self, index: int) -> tuple[str, int, str]:
        """Return the role, the number in the source and the class name of an image."""
        number = index if self.data.ids is None else int(self.data.ids[index])
        return self.role, number, self.data.class_names[int(self.data.labels[index])]


def splits_of(inputs: AuditInputs) -> list[Split]:
    """Return the splits of an audit with the digests of their images, the test set first."""
    given = [("test", inputs.test), ("train", inputs.train), ("valid", inputs.valid)]
    splits = []
    for step, (role, data) in enumerate(given):
        inputs.progress("digest of every image", step, len(given))
        if data is not None:
            splits.append(Split(role, data, pixel_digests(data.images)))
    inputs.progress("digest of every image", len(given), len(given))
    return splits
