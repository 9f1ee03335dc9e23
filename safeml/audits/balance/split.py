"""A split of the data, as leakage compares it with others."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from safeml.data.dataset import ImageDataset


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
