"""The exact band of a conformal set's coverage on a test set. Legend: n images for calibration, m for testing."""

from __future__ import annotations

import numpy as np
from scipy.special import betaln, gammaln


def coverage_band(images: int, rank: int, tested: int, level: float = 0.95) -> tuple[float, float]:
    """Return the ends of the band in which the share of covered test images lies with at least the probability `level`.

    images: n.
    rank: of the threshold among the n scores, 1..n.
    tested: m, independent images (sign tracks).

    With continuous scores the coverage of one threshold is Beta(rank, n + 1 - rank), so the count of covered images is
    beta-binomial. Each end leaves out at most half of 1 - level.

    Reference: V. Vovk, "Conditional validity of inductive conformal predictors", 2012.
    """
    first, second = float(rank), float(images + 1 - rank)
    count = np.arange(tested + 1)
    logs = gammaln(tested + 1) - gammaln(count + 1) - gammaln(tested - count + 1)
    logs = logs + betaln(count + first, tested - count + second) - betaln(first, second)
    below = np.cumsum(np.exp(logs))
    tail = (1 - level) / 2
    low = int(np.searchsorted(below, tail, side="right"))
    high = int(np.searchsorted(below, 1 - tail, side="left"))
    return min(low, tested) / tested, min(high, tested) / tested
