"""The number of independent units behind N images. Legend: N images, C sign tracks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.special import stdtrit

from safeml.errors import StageError


@dataclass(frozen=True, eq=False)
class Clustering:
    """What is known about images that show the same physical sign; nothing, where neither field is given.

    tracks: int [N] or None; equal numbers are frames of one sign. They win over a declared number.
    frames_per_sign: declared number of frames of one sign, >= 1; 1 declares independent images.
    """

    tracks: np.ndarray | None = None
    frames_per_sign: float | None = None

    def take(self, rows: np.ndarray) -> Clustering:
        """Return the clustering of the images in `rows` (bool [N] or int [M]); a declared number stays as declared."""
        return Clustering(None if self.tracks is None else self.tracks[rows], self.frames_per_sign)


UNKNOWN = Clustering()
PSEUDO_SIGNS = 3


@dataclass(frozen=True, eq=False)
class Clusters:
    """The sign tracks of N images, counted.

    kind: `tracks` (known), `declared` (a mean number of frames for each sign), `independent` or `unknown`.
    codes: int [N], 0..C-1, where the tracks are known.
    sizes: float [C], frames of each sign, where the tracks are known.
    frames: the declared frames of one sign, at most N.
    """

    kind: Literal["tracks", "declared", "independent", "unknown"]
    n: int
    codes: np.ndarray | None = None
    sizes: np.ndarray | None = None
    frames: float = 1.0

    @property
    def signs(self) -> float | None:
        """The number of independent units; None where nothing is known about them."""
        if self.kind == "unknown":
            return None
        return float(len(self.sizes)) if self.sizes is not None else self.n / self.frames

    @property
    def largest(self) -> float:
        """The frames of the largest sign track; where tracks are unknown, the declared frames of one sign."""
        return self.frames if self.sizes is None else float(self.sizes.max())

    def totals(self, values: np.ndarray) -> np.ndarray:
        """Sum of `values` (float [N]) over each sign: float [C]."""
        if self.codes is None or self.sizes is None:
            raise StageError(f"totals by sign were asked for, and the tracks are {self.kind}; give tracks.")
        return np.bincount(self.codes, weights=values, minlength=len(self.sizes))


def clusters_of(name: str, n: int, clustering: Clustering) -> Clusters:
    """Count the sign tracks of the `n` images that the metric `name` is computed on.

    Raises: StageError where the tracks do not fit `n`, or the declared number is impossible.
    """
    tracks, frames_per_sign = clustering.tracks, clustering.frames_per_sign
    if frames_per_sign is not None and not 1 <= frames_per_sign < float("inf"):
        raise StageError(f"{name}: frames_per_sign is {frames_per_sign}; expected a number of at least 1.")
    if tracks is not None:
        tracks = np.asarray(tracks)
        if tracks.shape != (n,) or not np.issubdtype(tracks.dtype, np.integer):
            raise StageError(
                f"{name}: tracks are {tracks.dtype} {list(tracks.shape)}; expected one whole number for each of {n} images."
            )
        _, codes, sizes = np.unique(tracks, return_inverse=True, return_counts=True)
        return Clusters("tracks", n, codes, sizes.astype(float))
    if frames_per_sign is None:
        return Clusters("unknown", n)
    if frames_per_sign == 1:
        return Clusters("independent", n)
    return Clusters("declared", n, frames=max(1.0, min(frames_per_sign, float(n))))


def design_effect(values: np.ndarray, clusters: Clusters, level: float = 0.95) -> float:
    """Return the design effect of the mean of `values` (float [N], 0..1): N divided by it is the effective sample size.

    A declared number of frames is the design effect itself, as if each sign were classified correctly or incorrectly as a
    whole. With known tracks, the between-sign variance of the ratio estimator is compared with the binomial variance
    (Korn and Graubard, 1998), with two cautions:

    * PSEUDO_SIGNS wholly wrong signs of the size M of the largest sign track are added to both variances. The plain
      estimate is too small whenever, by chance, no wholly wrong sign was drawn: a model at its limit then passes up to
      61 % of the time instead of 2.5 % (benchmarks/gate_error_rates.py). One pseudo-sign is not enough: scattered errors
      outweigh it, and more errors prove more. With three, the lower end follows the bound of Learned-Miller and Thomas
      (2019), which needs no model of the correlation (tests/oracle/test_statistics_oracle.py).
    * The ratio of t quantiles of Korn and Graubard widens the interval for few signs, but not beyond M.

    Without an error the design effect is M. It is at least 1, is 1 where every image is one sign, and is exactly m where
    sign tracks of m frames are classified correctly or incorrectly as a whole.

    References: E. L. Korn, B. I. Graubard, "Confidence intervals for proportions with small expected number of positive
    counts estimated from survey data", Survey Methodology, 1998; L. Kish, "Survey Sampling", 1965; E. Learned-Miller,
    P. S. Thomas, "A new confidence interval for the mean of a bounded random variable", arXiv 1905.06208, 2019.
    """
    if clusters.sizes is None or len(clusters.sizes) < 2:
        return clusters.largest
    return effect_of_totals(clusters.totals(values), clusters.sizes, level)


def effect_of_totals(totals: np.ndarray, sizes: np.ndarray, level: float = 0.95) -> float:
    """Return the design effect of sum(totals) / sum(sizes), as `design_effect` defines it.

    totals: float [C], sum of the values of each of at least two sign tracks, 0..sizes.
    sizes: float [C], frames of each sign track.
    """
    n, signs, largest = float(sizes.sum()), len(sizes), float(sizes.max())
    mean = float(totals.sum()) / n
    between_signs = float(((totals - mean * sizes) ** 2).sum())
    binomial = n * mean * (1 - mean)
    effect = (between_signs + PSEUDO_SIGNS * largest**2) / (binomial + PSEUDO_SIGNS * largest)
    tail = (1 + level) / 2
    few_signs = float(stdtrit(signs - 1, tail) / stdtrit(n - 1, tail)) ** 2
    return max(1.0, effect, min(effect * few_signs, largest))
