"""A reference sample that many buffers are compared with: sorted once, so that a distance costs little more than the buffer.

The values are those of `safeml.monitors.distances`: Kolmogorov-Smirnov and Kuiper up to the rounding of one division, Cramer-von Mises and
Anderson-Darling up to 1e-12 of themselves, the integrals (Wasserstein, energy, DTS) up to 1e-12 of the range of the values.

Legend: m values of the reference, n of the buffer, M = m + n, D columns, each by itself; C of them at a time. F and G are the distribution functions of reference
and buffer, i and j the numbers of their values up to a point.
"""

from typing import Any, Callable, Optional

import numpy as np

from . import distances
from .errors import MonitorRefused


class Reference:
    """A sorted reference.

    values: float [m] or [m, D], finite.
    Raises MonitorRefused for an empty reference or a value that is not finite.
    """

    def __init__(self, values: np.ndarray) -> None:
        rows = np.asarray(values, np.float64)
        rows = rows[:, None] if rows.ndim == 1 else rows
        if rows.ndim != 2 or not rows.size or not np.isfinite(rows).all():
            raise MonitorRefused(
                f"the reference is {list(np.shape(values))}; expected finite values [m, D] of at least one row."
            )
        # + 0.0: -0.0 and 0.0 are one value, in every order of comparison.
        self.rows = np.sort(rows.T, axis=1) + 0.0
        self.columns, self.m = self.rows.shape
        # Complex numbers are ordered by their real part first, so one search finds the places in all columns.
        self.keys = _keys(self.rows, np.arange(self.columns))
        self.flat = self.rows.ravel()
        self.widths = np.diff(self.rows, axis=1)
        self.repeats = np.asarray((self.widths <= 0).any(axis=1))

    def distance(self, name: str, sample: np.ndarray) -> np.ndarray:
        """Return the distance `name` of `distances.DISTANCES` to a buffer, float64 [D].

        sample: float [n] or [n, D], finite.
        Raises MonitorRefused for an unknown name, other columns, an empty buffer or a value that is not finite.
        """
        if name not in COMPUTED:
            raise MonitorRefused(
                'the distance is "{}"; expected one of {}.'.format(name, ", ".join(sorted(COMPUTED)))
            )
        rows = np.asarray(sample, np.float64)
        rows = rows[:, None] if rows.ndim == 1 else rows
        if rows.ndim != 2 or not len(rows) or rows.shape[1] != self.columns:
            raise MonitorRefused(
                f"the buffer is {list(np.shape(sample))}; expected at least one row of {self.columns} columns."
            )
        if not np.isfinite(rows).all():
            raise MonitorRefused("the buffer holds a value that is not finite; expected finite values.")
        ordered, columns = np.sort(rows.T, axis=1), np.arange(self.columns)
        placed = Placed(ordered, self.places(columns, ordered))
        return np.asarray(COMPUTED[name](Columns(self, columns), placed))

    def places(self, columns: np.ndarray, values: np.ndarray, below: bool = False) -> np.ndarray:
        """Return how many values of its column are at most each value (with `below`, below it), int64 [C, n].

        columns: int64 [C]. values: float64 [C, n].
        """
        ranks = np.searchsorted(self.keys, _keys(values, columns), side="left" if below else "right")
        return np.asarray(ranks.reshape(values.shape) - columns[:, None] * self.m)


class Columns:
    """Columns of a reference, each compared with a buffer; a column may occur more than once.

    index: int64 [C], 0..D-1.
    """

    def __init__(self, reference: Reference, index: np.ndarray) -> None:
        self.reference, self.index = reference, index
        self.columns, self.m, self.flat = len(index), reference.m, reference.flat
        self.first = index[:, None] * self.m

    def rows(self) -> np.ndarray:
        """Return the values, float64 [C, m], ascending."""
        return np.asarray(self.reference.rows[self.index])

    def widths(self) -> np.ndarray:
        """Return the distance of each value to the next, float64 [C, m - 1]."""
        return np.asarray(self.reference.widths[self.index])

    def repeats(self) -> bool:
        """Return whether a value of a column occurs twice."""
        return bool(self.reference.repeats[self.index].any())


class Placed:
    """A buffer in the order of its reference.

    rows: float64 [C, n], ascending, finite. right: int64 [C, n], how many values of the reference are at most each.
    sizes: float64 [C, 1], how many values of each row count; the rest is infinite, with the place m. None for all. Integrals alone take it.
    """

    def __init__(self, rows: np.ndarray, right: np.ndarray, sizes: Optional[np.ndarray] = None) -> None:
        self.rows, self.right = rows, right
        self.room = rows.shape[1]
        self.n = self.room if sizes is None else sizes  # type: Any

    def left(self, columns: Columns) -> np.ndarray:
        """Return how many values of the reference are below each value of the buffer, int64 [C, n]; `right` itself where none is equal."""
        # Where there is none at or below a value, the smallest is above it, and they differ.
        last = columns.flat[columns.first + np.maximum(self.right - 1, 0)]
        if not (last == self.rows).any():
            return self.right
        return columns.reference.places(columns.index, self.rows, below=True)

    def has_repeats(self) -> bool:
        """Return whether a value of the buffer occurs twice."""
        return not bool((self.rows[:, 1:] > self.rows[:, :-1]).all())

    def below(self, columns: Columns) -> np.ndarray:
        """Return how many values of the buffer have a place below 1, 2, ..., m, float64 [C, m]."""
        shape = (columns.columns, columns.m + 1)
        flat = (self.right + np.arange(shape[0])[:, None] * shape[1]).ravel()
        counts = np.bincount(flat, minlength=shape[0] * shape[1]).cumsum().reshape(shape)
        # The sum goes on from column to column, and each has all its values.
        return np.asarray(counts[:, :-1] - self.room * np.arange(float(shape[0]))[:, None])

    def ties(self, columns: Columns) -> bool:
        """Return whether a value occurs twice, in the reference, in the buffer or in both."""
        return columns.repeats() or self.has_repeats() or self.left(columns) is not self.right


def _keys(rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Return (column, value) of each value as complex numbers, complex128 [C * n]; rows: float64 [C, n], columns: int64 [C]."""
    keys = np.empty(rows.shape, np.complex128)
    keys.real = columns[:, None]
    keys.imag = rows
    return np.asarray(keys.reshape(-1))


def _ends(columns: Columns, placed: Placed) -> tuple:
    """Return the largest F - G and the largest G - F at the values, float64 [D] each, at least 0.

    Between two values of the buffer G is constant and F rises: the extremes are at a value of the buffer and just below one.
    """
    rows, n, m = placed.rows, placed.n, columns.m
    count = np.arange(1.0, n + 1)
    at, below = placed.right / m - count / n, placed.left(columns) / m - (count - 1) / n
    if placed.has_repeats():
        # Only the last of equal values has all of them up to it, and only the first has none of them below it.
        new = rows[:, 1:] > rows[:, :-1]
        edge = np.ones((len(rows), 1), bool)
        at = np.where(np.concatenate([new, edge], axis=1), at, 0.0)
        below = np.where(np.concatenate([edge, new], axis=1), below, 0.0)
    return (
        np.maximum(below.max(axis=1), np.maximum(at.max(axis=1), 0.0)),
        np.maximum(-at.min(axis=1), np.maximum(-below.min(axis=1), 0.0)),
    )


def _kolmogorov_smirnov(columns: Columns, placed: Placed) -> np.ndarray:
    return np.asarray(np.maximum(*_ends(columns, placed)))


def _kuiper(columns: Columns, placed: Placed) -> np.ndarray:
    above, under = _ends(columns, placed)
    return np.asarray(above + under)


def _pooled(name: str) -> Callable:
    """Return the distance by sorting both samples together, for values that repeat."""
    return lambda columns, placed: distances.DISTANCES[name](
        distances.pooled(columns.rows().T, placed.rows.T)
    )


def _cramer_von_mises(columns: Columns, placed: Placed) -> np.ndarray:
    if placed.ties(columns):
        return np.asarray(_pooled("cramer_von_mises")(columns, placed))
    n, m = placed.n, columns.m
    of_reference = _squared_gap(np.arange(1.0, m + 1), placed.below(columns), m, n)
    of_buffer = _squared_gap(placed.right, np.arange(1.0, n + 1), m, n)
    total = of_reference.sum(axis=1) + of_buffer.sum(axis=1)
    return np.asarray(total / (float(n + m) ** 2 * n * m))


def _anderson_darling(columns: Columns, placed: Placed) -> np.ndarray:
    if placed.ties(columns):
        return np.asarray(_pooled("anderson_darling")(columns, placed))
    n, m = placed.n, columns.m
    total = float(n + m)
    own, other = np.arange(0.5, m), np.arange(0.5, n)
    total_squares = _weighted(m, total, own, own + placed.below(columns))
    total_squares += _weighted(m, total, placed.right, placed.right + other)
    return np.asarray((total - 1) / total**2 * (1.0 / n + 1.0 / m) * total_squares)


def _weighted(m: int, total: float, middle: np.ndarray, below: np.ndarray) -> np.ndarray:
    """Return the sum of the squared deviations over their weights, float64 [D]; see `distances.anderson_darling`."""
    deviation = total * middle - m * below
    weight = below * (total - below) - total / 4.0
    return np.asarray(
        np.divide(deviation * deviation, weight, out=np.zeros(below.shape), where=weight > 0).sum(axis=1)
    )


def _integral(height: Callable, unit: Callable) -> Callable:
    """Return the distance that is the integral of a height between the values.

    height: (i, j, m, n) -> float64, in whole numbers as far as it can be. unit: (m, n) -> what one of it is worth, float64 [1 or C].
    From value i of the reference to the next, i is fixed; each value of the buffer between them raises j for the rest of the way.
    """

    def computed(columns: Columns, placed: Placed) -> np.ndarray:
        n, m = placed.n, columns.m
        total = np.zeros(columns.columns)
        if m > 1:
            before = placed.below(columns)[:, :-1]
            total += np.einsum("dm,dm->d", height(np.arange(1.0, m), before, m, n), columns.widths())
        places = np.arange(placed.room)
        heights = height(placed.right, places + np.arange(2.0)[:, None, None], m, n)
        widths = columns.flat[columns.first + np.minimum(placed.right, m - 1)] - placed.rows
        if isinstance(n, np.ndarray):
            widths[places >= n] = 0.0
        total += np.einsum("dn,dn->d", heights[1] - heights[0], widths)
        return np.asarray(np.maximum(total, 0.0) * unit(float(m), np.ravel(n).astype(np.float64)))

    return computed


def _gap(i: np.ndarray, j: np.ndarray, m: int, n: Any) -> np.ndarray:
    """Return n m |F - G|, which is a whole number."""
    gap = i * np.float64(n) - j * float(m)
    return np.asarray(np.abs(gap, out=gap))


def _squared_gap(i: np.ndarray, j: np.ndarray, m: int, n: Any) -> np.ndarray:
    gap = i * np.float64(n) - j * float(m)
    gap *= gap
    return gap


def _weighted_gap(i: np.ndarray, j: np.ndarray, m: int, n: Any) -> np.ndarray:
    """Return n m |F - G| / (M sqrt(H (1 - H)))."""
    both = i + j
    weight = both * (np.float64(m + n) - both)
    np.sqrt(np.maximum(weight, 1.0, out=weight), out=weight)
    return np.asarray(_gap(i, j, m, n) / weight)


_energy_squared = _integral(_squared_gap, lambda m, n: 2 / (m * n) ** 2)


def _energy(columns: Columns, placed: Placed) -> np.ndarray:
    return np.asarray(np.sqrt(_energy_squared(columns, placed)))


COMPUTED = {
    "kolmogorov_smirnov": _kolmogorov_smirnov,
    "kuiper": _kuiper,
    "cramer_von_mises": _cramer_von_mises,
    "anderson_darling": _anderson_darling,
    "wasserstein": _integral(_gap, lambda m, n: 1 / (m * n)),
    "energy": _energy,
    "dts": _integral(_weighted_gap, lambda m, n: (m + n) / (m * n)),
}
