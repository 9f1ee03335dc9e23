"""The amount of additional data that would decide an open gate."""

from __future__ import annotations

import math
from typing import Literal

from scipy.special import gammaincinv, ndtri

from safeml.results import Metric
from safeml.statistics.exact import clopper_pearson

MOST_SIGNS = 10_000_000


def further_signs(
    metric: Metric, threshold: float, op: Literal[">=", "<=", "=="], level: float | None = None
) -> int | None:
    """Return the number of additional sign tracks after which the interval lies on one side of the limit, if the value stays.

    The measured value is itself noise, so this number decides the gate with even odds. Proportions use the exact interval
    at the metric's design effect, and one-sided bounds of a mean shrink as in `_one_sided_width`; all other intervals
    shrink with the square root of the number of sign tracks.
    0: decided already. None: the value is on the limit, more than 10 million are needed, the gate asks for equality, or
    the metric has no interval or no number of signs.
    level: two-sided confidence level of the exact interval; that of the metric where not given.
    """
    value, low, high, signs = metric.value, metric.low, metric.high, metric.signs
    if op == "==" or value is None or low is None or high is None or not signs or value == threshold:
        return None
    level = metric.level if level is None else level
    towards_low = value > threshold
    distance = abs(value - threshold)
    half = value - low if towards_low else high - value
    losses = _whole_losses(half * signs, level) if metric.sides == 1 else None

    def decided(further: int) -> bool:
        if metric.unit == "proportion" and metric.design_effect is not None:
            size = metric.n / metric.design_effect * (1 + further / signs)
            ends = clopper_pearson(value, size, level)
            return ends[0] >= threshold if towards_low else ends[1] <= threshold
        if losses is not None:
            return half * _one_sided_width(losses, 1 + further / signs, level) <= distance
        return half * math.sqrt(signs / (signs + further)) <= distance

    if decided(0):
        return 0
    few, enough = 0, 1
    while not decided(enough):
        few, enough = enough, 2 * enough
        if few > MOST_SIGNS:
            return None
    while enough - few > 1:
        middle = (few + enough) // 2
        few, enough = (few, middle) if decided(middle) else (middle, enough)
    return enough if enough <= MOST_SIGNS else None


def _whole_losses(width: float, level: float) -> float:
    """Return how many sign tracks lost as a whole give a one-sided bound of this width, in sign tracks; at least 0.

    With k such tracks the bound of `mean_bounds` is that of Clopper and Pearson, and of many tracks the Poisson bound: its
    width is the `level` quantile of the gamma distribution with shape k + 1, minus k.
    """
    few, many = 0.0, 1.0
    while _poisson_width(many, level) < width:
        many *= 2
    for _ in range(60):
        middle = (few + many) / 2
        few, many = (middle, many) if _poisson_width(middle, level) < width else (few, middle)
    return few


def _poisson_width(losses: float, level: float) -> float:
    return float(gammaincinv(losses + 1, level)) - losses


def _one_sided_width(losses: float, times: float, level: float) -> float:
    """Return the width of a one-sided bound with `times` as many sign tracks and losses, as a share of its width now.

    Without a loss it shrinks with the number of sign tracks, with many losses with its square root.
    """
    return _poisson_width(losses * times, level) / (times * _poisson_width(losses, level))


def standard_error(metric: Metric) -> float | None:
    """Return the standard error of the value, in its unit; None without an interval.

    A proportion with a design effect has the binomial one at n / DEFF, 0 without an error; any other value has that of a
    normal interval of the same width.
    """
    if metric.value is None or metric.low is None or metric.high is None:
        return None
    if metric.unit == "proportion" and metric.design_effect is not None and metric.n:
        variance = max(0.0, metric.value * (1 - metric.value))
        return math.sqrt(variance * metric.design_effect / metric.n)
    below = metric.level if metric.sides == 1 else (1 + metric.level) / 2
    return (metric.high - metric.low) / (2 * float(ndtri(below)))
