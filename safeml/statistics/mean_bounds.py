"""Bounds of the mean of independent values in a known range, without a model of their distribution. Legend: C values."""

from __future__ import annotations

import math

import numpy as np
from scipy.special import betaincinv, stdtrit

DRAWS = 100_000
SEED = 0x1905


def upper_bound(
    values: np.ndarray, weights: np.ndarray, largest: float, error: float, draws: int = DRAWS
) -> float:
    """Return the upper bound of Learned-Miller and Thomas of the mean of C independent values, at most `largest`.

    values: float [V], different values, at most `largest`.
    weights: float [V], how many of the C observations have each value; they may be fractional.
    error: chance that the true mean exceeds the bound, 0..1; 0.05 for a one-sided 95 % bound.
    draws: of the simulated quantile, from a fixed seed; unused where only 0 and `largest` occur (then it is exact).

    With sorted observations x and x_(C+1) = largest, the bound is the (1 - error) quantile over ordered uniforms U of
    largest - sum_i U_(i) (x_(i+1) - x_(i)). Spacings of uniforms are exchangeable, so this is the quantile of the mean
    of the observations and of one more at `largest` under Dirichlet weights, which needs one gamma draw for each value.
    For observations of 0 and `largest` alone it is the bound of Clopper and Pearson. It never falls when a value rises.
    Its coverage was conjectured by its authors and confirmed in simulations, not proven.

    References: E. Learned-Miller, P. S. Thomas, "A new confidence interval for the mean of a bounded random variable",
    arXiv 1905.06208, 2019; M. Phan, P. S. Thomas, E. Learned-Miller, "Towards practical mean bounds for small samples",
    ICML, 2021; C. J. Clopper, E. S. Pearson, Biometrika, 1934.
    """
    present = weights > 0
    values, weights = values[present], weights[present]
    extreme = np.isclose(values, largest)
    if np.all(extreme | (values == 0)):
        at_largest = float(weights[extreme].sum())
        others = float(weights[~extreme].sum())
        return largest if others <= 0 else largest * float(betaincinv(at_largest + 1, others, 1 - error))
    rng = np.random.default_rng(SEED)
    total = np.zeros(draws)
    weighted = np.zeros(draws)
    for value, weight in zip([*values, largest], [*weights, 1.0], strict=True):
        gamma = rng.standard_gamma(weight, draws)
        total += gamma
        weighted += value * gamma
    return float(np.quantile(weighted / total, 1 - error, method="higher"))


def t_upper_bound(values: np.ndarray, weights: np.ndarray, largest: float, error: float) -> float:
    """Return the closed-form upper bound of the mean: a t statistic with one pseudo-observation at `largest`.

    values, weights, error: as in `upper_bound`.

    The bound is the largest mean m that the test of t = (mean(x*) - m) / (sqrt(sum((x* - m)^2)) / (C + 1)), with x* = x and one
    observation at `largest`, does not reject. `largest` where there are too few observations for the level.
    """
    count = float(weights.sum()) + 1
    first = float(weights @ values) + largest
    second = float(weights @ values**2) + largest**2
    squared = float(stdtrit(count - 1, error)) ** 2
    if count <= squared:
        return largest
    mean = first / count
    spread = mean**2 - (first**2 - squared * second) / (count * (count - squared))
    return min(largest, mean + math.sqrt(max(0.0, spread)))
