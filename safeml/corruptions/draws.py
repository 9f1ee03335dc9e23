"""Random numbers of each image, independent of order, batch and severity. Legend: N images."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import numpy as np

MASK = (1 << 64) - 1


class Draws:
    """Random numbers of N images for one corruption, from Philox counters.

    The key is (seed, corruption), the counter is (draw, stream, image id). So the numbers of an image depend on nothing else,
    and all severities of a corruption share them. Each call opens the next stream: call in a fixed order.

    Source: J. K. Salmon, M. A. Moraes, R. O. Dror, D. E. Shaw, "Parallel random numbers: as easy as 1, 2, 3", 2011.
    """

    def __init__(self, seed: int, corruption: str, ids: np.ndarray) -> None:
        """ids: int64 [N], one number per image."""
        name = int.from_bytes(hashlib.sha256(corruption.encode()).digest()[:8], "little")
        self._bits = np.random.Philox(key=np.array([seed & MASK, name], np.uint64))
        self._generator = np.random.Generator(self._bits)
        self._state = self._bits.state
        self._ids = [int(number) & MASK for number in ids]
        self._streams = 0

    def __len__(self) -> int:
        return len(self._ids)

    def normal(self, *shape: int) -> np.ndarray:
        """Return standard normal numbers, float32 [N, *shape]."""
        return self._rows(shape, np.float32, lambda g, row, _: g.standard_normal(dtype=np.float32, out=row))

    def uniform(self, *shape: int) -> np.ndarray:
        """Return uniform numbers in [0, 1), float32 [N, *shape]."""
        return self._rows(shape, np.float32, lambda g, row, _: g.random(dtype=np.float32, out=row))

    def integers(self, low: int, high: int, *shape: int) -> np.ndarray:
        """Return whole numbers in low..high - 1, int8 [N, *shape]."""

        def fill(generator: np.random.Generator, row: np.ndarray, _: int) -> None:
            row[...] = generator.integers(low, high, size=row.shape, dtype=np.int8)

        return self._rows(shape, np.int8, fill)

    def poisson(self, means: np.ndarray) -> np.ndarray:
        """Return Poisson counts with these means. means: float [N, ...], >= 0. Returns float32 of that shape."""

        def fill(generator: np.random.Generator, row: np.ndarray, number: int) -> None:
            row[...] = generator.poisson(means[number])

        return self._rows(means.shape[1:], np.float32, fill)

    def _rows(
        self,
        shape: tuple[int, ...],
        dtype: type,
        fill: Callable[[np.random.Generator, np.ndarray, int], object],
    ) -> np.ndarray:
        rows: np.ndarray = np.empty((len(self._ids), *shape), dtype)
        counter = self._state["state"]["counter"]
        for number, image in enumerate(self._ids):
            counter[:] = (0, 0, self._streams, image)
            self._bits.state = self._state
            fill(self._generator, rows[number], number)
        self._streams += 1
        return rows
