"""Robust accuracy that is only an upper bound: the lower end of each of its intervals is 0."""

from __future__ import annotations

from safeml.audits.adversarial.check import MaskingCheck
from safeml.results import Metric

MASKED = "upper bound only: a gradient-masking check failed"
QUERIES_ALONE = "upper bound only: attacked by queries only"


def only_upper_bound(checks: list[MaskingCheck], blind: bool = False) -> str:
    """Say why measured robust accuracy is only an upper bound, so that every interval of it starts at 0; "" if it does not."""
    return MASKED if any(check.failed for check in checks) else QUERIES_ALONE if blind else ""


def from_zero(metric: Metric, why: str) -> Metric:
    """Return `metric` with 0 as its lower end and `why` as its method; unchanged without a reason or an interval."""
    return metric.model_copy(update={"low": 0.0, "method": why}) if why and metric.low is not None else metric
