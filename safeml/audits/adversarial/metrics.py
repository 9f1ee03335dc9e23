"""The numbers of the adversarial audit. Legend: N images."""

from __future__ import annotations

import numpy as np

from safeml.attacks.rows import ROWS, TRANSFER
from safeml.audits.adversarial.campaign import Campaign
from safeml.audits.adversarial.figures import left_after
from safeml.audits.adversarial.masking import Check
from safeml.audits.adversarial.transfer import Transfer
from safeml.results import Metric
from safeml.statistics import proportion_metric
from safeml.threats import threat_words

NO_GRADIENT = "the model gives no gradient, and attacks without it bound nothing"
NOBODY_RIGHT = "no image is classified correctly, so there is nothing to attack"
MASKED = "upper bound only: signs of gradient masking"
WEAK = "lower bound only: the surrogate is weak, or was not broken itself"
QUERIES_ALONE = "upper bound only: attacked by queries alone"


def metrics_of(campaign: Campaign, checks: list[Check], transferred: Transfer | None = None) -> list[Metric]:
    """Robust accuracy at each threat, and what is left after each attack in its order; success rates; masking flags.

    Under a raised flag an attack may have failed for a bad reason: the intervals reach down to nothing then, and no gate
    can pass on them. So they do without a gradient, where queries alone were tried.
    """
    blind = campaign.blind
    sample, clean = campaign.items.sample, campaign.items.clean
    masked = any(check.raised for check in checks)

    def accuracy(name: str, title: str, hits: np.ndarray) -> Metric:
        found = proportion_metric(name, title, hits, clustering=sample.clustering)
        why = MASKED if masked else QUERIES_ALONE if blind else ""
        return (
            found.model_copy(update={"low": 0.0, "method": why}) if why and found.low is not None else found
        )

    name, title = "clean_accuracy_attacked_sample", "Clean accuracy of the attacked images"
    metrics = [proportion_metric(name, title, clean.right, clustering=sample.clustering)]
    for threat in campaign.settings.threats:
        name = f"robust_accuracy.{threat.label}"
        title = f"Robust accuracy at {threat_words(threat)}, worst case"
        metrics.append(
            Metric.undefined(name, title, NO_GRADIENT)
            if blind
            else accuracy(name, title, campaign.left(threat))
        )
        for attack, hits in left_after(campaign, threat).items():
            title = f"Accuracy left after {ROWS[attack].title} at {threat_words(threat)}"
            metrics.append(accuracy(f"{name}.{attack}", title, hits))
    metrics.append(_success_rate(campaign, masked, blind))
    if transferred is not None:
        metrics.append(_transfer_success(campaign, transferred))
    return [*metrics, _masking_flags(checks, blind)]


def _success_rate(campaign: Campaign, masked: bool, blind: bool) -> Metric:
    sample, right, main = campaign.items.sample, campaign.items.clean.right, campaign.main
    name = f"attack_success_rate.{main.label}"
    title = f"Attack success rate at {threat_words(main)}, worst case"
    if blind or not right.any():
        return Metric.undefined(name, title, NO_GRADIENT if blind else NOBODY_RIGHT, direction="down")
    found = proportion_metric(
        name,
        title,
        ~campaign.left(main)[right],
        clustering=sample.clustering.take(right),
        direction="down",
    )
    return (
        found.model_copy(update={"high": 1.0, "method": MASKED})
        if masked and found.high is not None
        else found
    )


def _transfer_success(campaign: Campaign, transferred: Transfer) -> Metric:
    """Of the images that are right when clean. A surrogate that is worth nothing bounds nothing from above."""
    sample, right, main = campaign.items.sample, campaign.items.clean.right, campaign.main
    name = f"transfer_success.{main.label}"
    title = f"Success of images made on {transferred.surrogate}, {threat_words(main)}"
    if not right.any():
        return Metric.undefined(name, title, NOBODY_RIGHT, direction="down")
    found = proportion_metric(
        name,
        title,
        campaign.hits[TRANSFER, main][right],
        clustering=sample.clustering.take(right),
        direction="down",
    )
    weak = transferred.unfit or any(volley.threat == main for volley in transferred.unbroken)
    return (
        found.model_copy(update={"high": 1.0, "method": WEAK}) if weak and found.high is not None else found
    )


def _masking_flags(checks: list[Check], blind: bool) -> Metric:
    name, title = "masking_flags", "Signs of gradient masking"
    if not checks:
        reason = NO_GRADIENT if blind else "no image is classified correctly, so no attack could fail"
        return Metric.undefined(name, title, reason, direction="down", unit="count")
    raised = float(sum(check.raised for check in checks))
    return Metric.count(name, title, raised, len(checks), method="count")
