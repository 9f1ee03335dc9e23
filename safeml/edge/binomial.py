"""Exact confidence bounds of a proportion, in the standard library (C. Clopper, E. Pearson, The use of confidence or fiducial limits, 1934)."""

import math

LEVEL = 0.95
STEPS = 60


def upper_bound(count: int, total: int, level: float = LEVEL) -> float:
    """Return the upper end of the two-sided exact interval of count / total; 1.0 where total is 0.

    count, total: 0 <= count <= total. level: of the interval, so that the bound is exceeded with probability (1 - level) / 2.
    """
    if not 0 <= count <= total:
        raise ValueError(f"{count} of {total} is no proportion; expected 0 <= count <= total.")
    if count == total:
        return 1.0
    tail = (1 - level) / 2
    low, high = count / total, 1.0
    for _ in range(STEPS):
        middle = (low + high) / 2
        if _at_most(count, total, middle) > tail:
            low = middle
        else:
            high = middle
    return high


def _at_most(count: int, total: int, p: float) -> float:
    """Return P(X <= count) of a binomial variable; its terms are added from the largest one downwards."""
    if p >= 1:
        return 0.0
    if p <= 0:
        return 1.0
    # count / total <= p here, so that the terms decrease from `count` to 0
    term = math.exp(
        math.lgamma(total + 1)
        - math.lgamma(count + 1)
        - math.lgamma(total - count + 1)
        + count * math.log(p)
        + (total - count) * math.log1p(-p)
    )
    terms = [term]
    odds = (1 - p) / p
    for k in range(count, 0, -1):
        term *= k / (total - k + 1) * odds
        terms.append(term)
        if term < terms[0] * 1e-18:
            break
    return math.fsum(terms)
