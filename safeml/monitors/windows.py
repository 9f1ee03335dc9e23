"""The references of all predicted classes, and the last frames of each class in the order of its reference.

Legend: N frames, K classes, D columns, Q quantiles, n frames of a buffer.
"""

from collections import deque
from typing import Optional

import numpy as np

from .distances import INTEGRALS
from .reference import COMPUTED, Columns, Placed, Reference

# Distances that sort both samples together where a value occurs twice, which rounds otherwise than the way without.
BY_TIES = ("cramer_von_mises", "anderson_darling")
# Windows of frames that one class has room for; the last window goes to the front when the room is full.
ROOM = 2


class ClassReferences:
    """The references of all classes that have one, side by side as the columns of one.

    arrays: of `fit_reference`.
    columns: int64 [K, D], the columns of each class; of no use for a class without a reference.
    """

    def __init__(self, arrays: dict) -> None:
        known = np.asarray(arrays["reference_known"], bool)
        place = np.where(known, np.cumsum(known) - 1, -1)
        self.mean = arrays["reference_mean"].astype(np.float64)
        self.spread = arrays["reference_spread"].astype(np.float64)
        self.width = self.mean.shape[1]
        self.columns = place[:, None] * self.width + np.arange(self.width)
        quantiles = arrays["reference"][known]
        rows = quantiles.transpose(1, 0, 2).reshape(quantiles.shape[1], -1)
        self.reference = Reference(rows) if known.any() else None

    def placed(self, predicted: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """Return what a buffer holds of frames: standardised columns, and how many values of the reference are at most each, float64 [N, 2, D].

        predicted: int64 [N], of classes with a reference. columns: float64 [N, D], finite.
        """
        held = np.empty((len(columns), 2, self.width))
        # What is not finite has no place; such a row is never compared.
        held[:, 0] = (columns - self.mean[predicted]) / self.spread[predicted]
        index = self.columns[predicted].ravel()
        held[:, 1] = self._reference().places(index, held[:, 0].reshape(-1, 1)).reshape(columns.shape)
        return held

    def empty(self, count: int, n: int) -> np.ndarray:
        """Return buffers without a frame, for `distances`, float64 [count, 2, D, n]: infinite values, after all others in the reference."""
        held = np.empty((count, 2, self.width, n))
        held[:, 0], held[:, 1] = np.inf, 0.0 if self.reference is None else self.reference.m
        return held

    def distances(self, name: str, predicted: np.ndarray, held: np.ndarray, sizes: np.ndarray) -> np.ndarray:
        """Return the largest distance over the columns between each buffer and the reference of its class, float64 [N].

        name: of the distance, a key of `DISTANCES`. predicted: int64 [N].
        held: float64 [N, 2, D, n], of `empty`, where the first frames of each buffer are of `placed`. sizes: int64 [N], 1..n, of the buffers.
        A buffer gets the same distance, to the bit, alone and among others: each is as long as the longest one may be.
        """
        if name in INTEGRALS:
            rest = np.arange(held.shape[3]) >= sizes[:, None]
            if rest.any():
                held = np.where(
                    rest[:, None, None], np.array([np.inf, self._reference().m])[:, None, None], held
                )
            return self._together(name, predicted, held, np.repeat(sizes, self.width)[:, None] * 1.0)
        distances = np.empty(len(held))
        for size in set(sizes.tolist()):
            rows = np.flatnonzero(sizes == size)
            distances[rows] = self._together(name, predicted[rows], held[rows, :, :, :size], None)
        return distances

    def _together(
        self, name: str, predicted: np.ndarray, held: np.ndarray, sizes: Optional[np.ndarray]
    ) -> np.ndarray:
        count, n = len(held), held.shape[3]
        # A larger value has no smaller place, so values and places can be sorted each by itself.
        ordered = np.sort(held, axis=3)
        index = self.columns[predicted].ravel()
        columns = Columns(self._reference(), index)
        right = ordered[:, 1].reshape(len(index), n).astype(np.int64)
        placed = Placed(ordered[:, 0].reshape(len(index), n), right, sizes)
        if count > 1 and name in BY_TIES and placed.ties(columns):
            parts = [slice(row, row + 1) for row in range(count)]
            return np.concatenate([self._together(name, predicted[part], held[part], None) for part in parts])
        return np.asarray(COMPUTED[name](columns, placed).reshape(count, self.width).max(axis=1))

    def _reference(self) -> Reference:
        assert self.reference is not None  # no frame of a class without a reference comes here
        return self.reference


class Windows:
    """The last frames of each class; its memory is bounded.

    classes: K. window: most frames of a buffer. width: D.
    """

    def __init__(self, classes: int, window: int, width: int) -> None:
        self.window = window
        self.times = [deque(maxlen=window) for _ in range(classes)]  # type: list
        # All at the start, so that memory does not grow with the classes that are predicted.
        self.room = np.zeros((classes, 2, width, ROOM * window))
        self.ends = [0] * classes

    def add(self, k: int, time: float, held: np.ndarray, time_out: float) -> int:
        """Add a frame of class `k`, after those left that are older than `time_out` seconds; return how many there are. held: float64 [2, D]."""
        times, end = self.times[k], self.ends[k]
        while times and time - times[0] > time_out:
            times.popleft()
        times.append(time)
        room = self.room[k]
        if end == room.shape[2]:
            end = self.window - 1
            room[:, :, :end] = room[:, :, room.shape[2] - end :]
        room[:, :, end] = held
        self.ends[k] = end + 1
        return len(times)

    def last(self, k: int) -> np.ndarray:
        """Return the frames of the buffer of class `k`, a view of float64 [2, D, n]."""
        end = self.ends[k]
        return self.room[k, :, :, end - len(self.times[k]) : end]
