"""The exact binomial interval at an effective, possibly fractional, sample size."""

from __future__ import annotations

from scipy.special import betaincinv


def clopper_pearson(proportion: float, size: float, level: float = 0.95) -> tuple[float, float]:
    """Two-sided Clopper-Pearson interval of a proportion in 0..1 observed on `size` > 0 independent units.

    Each tail holds (1 - level) / 2. `size` may be fractional (an effective sample size): the beta quantiles that give the
    exact interval at whole numbers continue it smoothly.

    References: C. J. Clopper, E. S. Pearson, "The use of confidence or fiducial limits illustrated in the case of the
    binomial", Biometrika, 1934.
    """
    tail = (1 - level) / 2
    hits = proportion * size
    misses = (1 - proportion) * size
    low = 0.0 if proportion <= 0 else float(betaincinv(hits, misses + 1, tail))
    high = 1.0 if proportion >= 1 else float(betaincinv(hits + 1, misses, 1 - tail))
    return low, high
