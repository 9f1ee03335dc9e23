"""Distances of two samples by their empirical distribution functions, exact where values repeat.

Legend: n values of the first sample, m of the second, M = n + m, D columns (features or permutations), each by itself. F and G are the
distribution functions of the two samples, H that of both together.
"""

import numpy as np

from .errors import MonitorRefused


class Pooled:
    """Both samples sorted together, column by column.

    values: float64 [M, D], ascending.
    start, end: int64 [M, D], or [M, 1] where no value repeats: first and last row of the group of equal values that a row belongs to.
    first, second: float64 [M, D], how many values of each sample are at most the value of a row.
    n, m: int, sizes of the samples.
    """

    def __init__(self, values: np.ndarray, of_first: np.ndarray, ties: bool = True) -> None:
        """Sort nothing: `values` are sorted, and `of_first` (bool [M, D]) tells which are of the first sample.

        ties: False leaves out the groups of equal values. An integral over the values is the same to the last bit, because equal
        values have no width between them; a sum or a maximum over them is not.
        """
        rows, columns = len(values), max(values.shape[1], of_first.shape[1])
        self.values = values
        places = np.arange(rows)[:, None]
        new = values[1:] != values[:-1] if ties else None
        self.tied = new is not None and not bool(new.all())
        counts = np.cumsum(of_first, axis=0, dtype=np.float64)
        self.n = int(counts[-1, 0])
        self.m = rows - self.n
        if new is None or not self.tied:
            self.start = self.end = places
            self.first = counts
        else:
            edge = np.ones((1, values.shape[1]), bool)
            start = np.where(np.concatenate([edge, new]), places, 0)
            end = np.where(np.concatenate([new, edge]), places, rows)
            shape = (rows, columns)
            self.start = np.broadcast_to(np.maximum.accumulate(start, axis=0), shape)
            self.end = np.broadcast_to(np.minimum.accumulate(end[::-1], axis=0)[::-1], shape)
            self.first = np.take_along_axis(counts, self.end, axis=0)
        self.second = self.end + 1 - self.first

    def gap(self) -> np.ndarray:
        """Return F - G at each value, float64 [M, D]."""
        return np.asarray(self.first / self.n - self.second / self.m)

    def widths(self) -> np.ndarray:
        """Return the distance of each value to the next, float64 [M - 1, D]."""
        return np.asarray(np.diff(self.values, axis=0))


def pooled(first: np.ndarray, second: np.ndarray, ties: bool = True) -> Pooled:
    """Sort two samples together.

    first: float [n] or [n, D], finite. second: float [m] or [m, D], finite. ties: see `Pooled`.
    Raises MonitorRefused for an empty sample, different columns or a value that is not finite.
    """
    sides = [np.asarray(values, dtype=np.float64) for values in (first, second)]
    sides = [values[:, None] if values.ndim == 1 else values for values in sides]
    if any(values.ndim != 2 or not len(values) for values in sides) or sides[0].shape[1] != sides[1].shape[1]:
        raise MonitorRefused(
            f"the samples are {list(np.shape(first))} and {list(np.shape(second))}; expected at least one row each and the same columns."
        )
    both = np.concatenate(sides)
    if not np.isfinite(both).all():
        raise MonitorRefused("a sample holds a value that is not finite; expected finite values.")
    # A stable sort is fastest where a sample is sorted already, as a reference is.
    order = np.argsort(both.T, axis=1, kind="stable")
    ordered = both.T[np.arange(both.shape[1])[:, None], order]
    return Pooled(np.ascontiguousarray(ordered.T), np.ascontiguousarray((order < len(sides[0])).T), ties)


def kolmogorov_smirnov(samples: Pooled) -> np.ndarray:
    """Return the largest |F - G|, float64 [D], 0..1."""
    return np.asarray(np.abs(samples.gap()).max(axis=0))


def kuiper(samples: Pooled) -> np.ndarray:
    """Return the largest F - G plus the largest G - F, float64 [D], 0..1.

    Reference: N. H. Kuiper, "Tests concerning random points on a circle", 1960.
    """
    gap = samples.gap()
    return np.asarray(np.maximum(gap.max(axis=0), 0) + np.maximum(-gap.min(axis=0), 0))


def cramer_von_mises(samples: Pooled) -> np.ndarray:
    """Return n m / M^2 times the sum of (F - G)^2 over all values of both samples, float64 [D], at least 0.

    Reference: T. W. Anderson, "On the distribution of the two-sample Cramer-von Mises criterion", 1962.
    """
    n, m = samples.n, samples.m
    return np.asarray(n * m / float(n + m) ** 2 * (samples.gap() ** 2).sum(axis=0))


def anderson_darling(samples: Pooled) -> np.ndarray:
    """Return the two-sample statistic A^2 with midranks, float64 [D], at least 0; 0 where all values are equal.

    Reference: F. W. Scholz, M. A. Stephens, "K-sample Anderson-Darling tests", 1987 (equation 7, for ties).
    """
    n, m = samples.n, samples.m
    total = float(n + m)
    size = samples.end - samples.start + 1
    below = samples.start + size / 2.0
    if samples.tied:
        before = np.where(
            samples.start > 0,
            np.take_along_axis(samples.first, np.maximum(samples.start - 1, 0), axis=0),
            0.0,
        )
    else:
        before = np.concatenate([np.zeros((1, samples.first.shape[1])), samples.first[:-1]])
    middle = (before + samples.first) / 2.0
    weight = below * (total - below) - total * size / 4.0
    # The deviations of the two samples differ in sign alone, so 1/n + 1/m covers both.
    squares = (total * middle - n * below) ** 2
    terms = np.divide(squares, weight, out=np.zeros(squares.shape), where=weight > 0)
    return np.asarray((total - 1) / total**2 * (1.0 / n + 1.0 / m) * terms.sum(axis=0))


def wasserstein(samples: Pooled) -> np.ndarray:
    """Return the integral of |F - G|, float64 [D], in the unit of the values."""
    return np.asarray((np.abs(samples.gap()[:-1]) * samples.widths()).sum(axis=0))


def energy_distance(samples: Pooled) -> np.ndarray:
    """Return the square root of twice the integral of (F - G)^2, float64 [D].

    Reference: G. J. Szekely, M. L. Rizzo, "Energy statistics: a class of statistics based on distances", 2013.
    """
    return np.asarray(np.sqrt(2 * (samples.gap()[:-1] ** 2 * samples.widths()).sum(axis=0)))


def dts(samples: Pooled) -> np.ndarray:
    """Return the integral of |F - G| / sqrt(H (1 - H)), float64 [D], in the unit of the values.

    Reference: C. Dowd, "A new ECDF two-sample test statistic", arXiv 2007.01360, 2020 (here without the constant factor).
    """
    total = float(samples.n + samples.m)
    share = (samples.end[:-1] + 1) / total
    weight = np.sqrt(np.maximum(share * (1 - share), 1.0 / total**2))
    return np.asarray((np.abs(samples.gap()[:-1]) / weight * samples.widths()).sum(axis=0))


DISTANCES = {
    "kolmogorov_smirnov": kolmogorov_smirnov,
    "kuiper": kuiper,
    "cramer_von_mises": cramer_von_mises,
    "anderson_darling": anderson_darling,
    "wasserstein": wasserstein,
    "energy": energy_distance,
    "dts": dts,
}
# Integrals over the values, for which ties need no treatment.
INTEGRALS = ("wasserstein", "energy", "dts")
NAMES = {
    "kolmogorov_smirnov": "Kolmogorov-Smirnov",
    "kuiper": "Kuiper",
    "cramer_von_mises": "Cramer-von Mises",
    "anderson_darling": "Anderson-Darling",
    "wasserstein": "Wasserstein",
    "energy": "energy",
    "dts": "DTS",
}


def distance(name: str, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the distance `name` of `DISTANCES` of two samples, float64 [D]; see `pooled` for the arguments."""
    if name not in DISTANCES:
        raise MonitorRefused(
            'the distance is "{}"; expected one of {}.'.format(name, ", ".join(sorted(DISTANCES)))
        )
    return np.asarray(DISTANCES[name](pooled(first, second, ties=name not in INTEGRALS)))


def permutation_p(
    name: str, first: np.ndarray, second: np.ndarray, draws: int, seed: int, tracks: tuple = ()
) -> float:
    """Return the p-value of the distance of two samples of one feature, 1 / (draws + 1)..1; it cannot be 0.

    first: float [n]. second: float [m].
    draws: random divisions of both together into samples of the same sizes.
    tracks: the sign track of each value, int [n] and int [m]; whole tracks are then divided, as many to each side as there
        are. Without them the values must be independent, which frames of one sign are not.

    The observed division counts as one of the draws, so the level is exact.
    Reference: B. Phipson, G. K. Smyth, "Permutation p-values should never be zero", 2010.
    """
    one, two = np.asarray(first, np.float64).ravel(), np.asarray(second, np.float64).ravel()
    samples = pooled(one, two)
    rng = np.random.default_rng(seed)
    both = np.concatenate([one, two])
    order = np.argsort(both, kind="mergesort")
    if tracks:
        codes = np.unique(np.concatenate([np.asarray(t) for t in tracks]), return_inverse=True)[1].ravel()
        ours = np.unique(codes[: len(one)])
        if len(codes) != len(both) or np.isin(codes[len(one) :], ours).any():
            raise MonitorRefused(
                "the tracks do not fit; expected one for each value, and none on both sides."
            )
        count, side = int(codes.max()) + 1, len(ours)
    else:
        codes, count, side = np.arange(len(both)), len(both), len(one)
    observed = float(distance(name, one, two)[0])
    least = observed - 1e-12 * max(1.0, abs(observed))
    reached = 0
    for begin in range(0, draws, 256):
        size = min(256, draws - begin)
        ranks = np.argsort(rng.random((count, size)), axis=0)
        drawn = np.zeros((count, size), bool)
        np.put_along_axis(drawn, ranks[:side], True, axis=0)
        of_first = drawn[codes[order]]
        if tracks:  # tracks differ in length, and so do the samples
            values = np.array(
                [float(DISTANCES[name](Pooled(samples.values, of_first[:, [d]]))[0]) for d in range(size)]
            )
        else:
            values = DISTANCES[name](Pooled(samples.values, of_first))
        reached += int((values >= least).sum())
    return (1.0 + reached) / (1.0 + draws)
