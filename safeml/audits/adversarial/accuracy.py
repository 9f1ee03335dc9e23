"""Robust accuracy with its interval: its low end counts what spared attacks can hide. Legend: N images."""

from __future__ import annotations

import numpy as np

from safeml.audits.adversarial.campaign import Campaign
from safeml.audits.adversarial.spending import SAMPLING_LEVEL, credit
from safeml.audits.adversarial.upper_bound import from_zero
from safeml.results import Metric
from safeml.statistics import mean_metric, proportion_metric
from safeml.statistics.clusters import Clustering
from safeml.statistics.exact import clopper_pearson
from safeml.threats import Threat

SPARED = "Clopper-Pearson at n/DEFF; the low end counts what spared attacks can hide"


def robust_metric(
    campaign: Campaign, name: str, title: str, survivors: np.ndarray, threat: Threat, why: str = ""
) -> Metric:
    """Return the share of `survivors` (bool [N]) of the attacks at a threat.

    why: why it is only an upper bound, so that its interval starts at 0; "" if it is not.
    """
    clustering = campaign.items.sample.clustering
    metric = proportion_metric(name, title, survivors, clustering=clustering)
    if why:
        return from_zero(metric, why)
    low = low_end(campaign, survivors, threat, metric, np.ones(len(survivors), bool), clustering)
    return metric if low is None else metric.model_copy(update={"low": low, "method": SPARED})


def low_end(
    campaign: Campaign,
    survivors: np.ndarray,
    threat: Threat,
    metric: Metric,
    among: np.ndarray,
    clustering: Clustering,
) -> float | None:
    """Return the low end of the share of survivors among some images; None where no attack was spared, or without an interval.

    The mean of the credits is a share with at most the true one, hidden images excepted; see `spending`. The design effect is
    the larger one of the survivors and of their credits.

    survivors, among: bool [N].
    metric: the share of survivors, or of the others, among them.
    clustering: of the images of `among`.
    """
    savings = campaign.savings_at(threat)
    if not savings or metric.design_effect is None:
        return None
    values = credit(survivors, savings)[among]
    counted = mean_metric(
        metric.name, "", values, upper=1.0, clustering=clustering, direction="up", unit="proportion"
    )
    effect = max(metric.design_effect, counted.design_effect or 1.0)
    return clopper_pearson(float(values.mean()), len(values) / effect, SAMPLING_LEVEL)[0]
