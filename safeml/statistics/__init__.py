"""Intervals, paired comparisons and sample sizes for frames that are not independent.

The functions read arrays and return `Metric` records. They import numpy and scipy.special, and no framework.
"""

from safeml.statistics.bootstrap import bootstrap_metric, drawn_metric, resample_counts
from safeml.statistics.by_sign import proportion_by_sign_metric, unequal_tracks
from safeml.statistics.clusters import Clustering
from safeml.statistics.multiple import holm
from safeml.statistics.noninferiority import paired_noninferiority, signs_for_identical_models
from safeml.statistics.paired import paired_difference_metric
from safeml.statistics.planning import further_signs
from safeml.statistics.proportions import mean_metric, proportion_metric
from safeml.statistics.quantiles import quantile_metric

__all__ = [
    "Clustering",
    "bootstrap_metric",
    "drawn_metric",
    "further_signs",
    "holm",
    "mean_metric",
    "paired_difference_metric",
    "paired_noninferiority",
    "proportion_by_sign_metric",
    "proportion_metric",
    "quantile_metric",
    "resample_counts",
    "signs_for_identical_models",
    "unequal_tracks",
]
