"""Several tests at once."""

from __future__ import annotations

from collections.abc import Sequence


def holm(p_values: Sequence[float], alpha: float = 0.05) -> list[bool]:
    """Which hypotheses are rejected while the chance of any false rejection stays at most `alpha`.

    An undefined p-value (NaN) is never rejected, and counts as one of the tests.

    References: S. Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of
    Statistics, 1979.
    """
    ranked = sorted(range(len(p_values)), key=lambda i: p_values[i] if p_values[i] == p_values[i] else 2.0)
    rejected = [False] * len(p_values)
    for rank, i in enumerate(ranked):
        if not p_values[i] <= alpha / (len(p_values) - rank):
            break
        rejected[i] = True
    return rejected
