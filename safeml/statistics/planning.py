"""How much more data would settle an open gate."""

from __future__ import annotations

import math
from typing import Literal

from safeml.results import Metric
from safeml.statistics.exact import clopper_pearson

MOST_SIGNS = 10_000_000


def further_signs(
    metric: Metric, threshold: float, op: Literal[">=", "<=", "=="], level: float | None = None
) -> int | None:
    """Further signs after which the whole interval would lie on one side of the limit if the value stayed.

    Proportions are searched with the exact interval, at the metric's own design effect; all other intervals are taken to
    shrink with the square root of the number of signs. 0: settled already. None: the value is on the limit, so no number
    settles it; more than 10 million are needed; the gate asks for equality; or the metric tells neither interval nor signs.
    level: two-sided confidence level of the exact interval; the metric's own where not given.
    """
    value, low, high, signs = metric.value, metric.low, metric.high, metric.signs
    if op == "==" or value is None or low is None or high is None or not signs or value == threshold:
        return None
    level = metric.level if level is None else level
    towards_low = value > threshold
    distance = abs(value - threshold)
    half = value - low if towards_low else high - value

    def settled(further: int) -> bool:
        if metric.unit == "proportion" and metric.design_effect is not None:
            size = metric.n / metric.design_effect * (1 + further / signs)
            ends = clopper_pearson(value, size, level)
            return ends[0] >= threshold if towards_low else ends[1] <= threshold
        return half * math.sqrt(signs / (signs + further)) <= distance

    if settled(0):
        return 0
    few, enough = 0, 1
    while not settled(enough):
        few, enough = enough, 2 * enough
        if few > MOST_SIGNS:
            return None
    while enough - few > 1:
        middle = (few + enough) // 2
        few, enough = (few, middle) if settled(middle) else (middle, enough)
    return enough if enough <= MOST_SIGNS else None
