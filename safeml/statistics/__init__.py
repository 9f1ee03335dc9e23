"""Intervals, paired comparisons and sample sizes for frames that are not independent.

Here live small functions of arrays that return `Metric` records. numpy and scipy.special may be imported, frameworks may not.
"""

from safeml.statistics.bootstrap import bootstrap_metric
from safeml.statistics.multiple import holm
from safeml.statistics.paired import paired_difference_metric
from safeml.statistics.planning import further_signs
from safeml.statistics.proportions import mean_metric, proportion_metric

__all__ = [
    "bootstrap_metric",
    "further_signs",
    "holm",
    "mean_metric",
    "paired_difference_metric",
    "proportion_metric",
]
