"""The metrics of the adversarial audit. Legend: N images."""

from __future__ import annotations

from safeml.attacks.rows import ROWS, TRANSFER
from safeml.audits.adversarial.accuracy import SPARED, low_end, robust_metric
from safeml.audits.adversarial.campaign import Campaign
from safeml.audits.adversarial.check import MaskingCheck
from safeml.audits.adversarial.figures import survivors_after
from safeml.audits.adversarial.transfer import Transfer
from safeml.audits.adversarial.upper_bound import MASKED, from_zero, only_upper_bound
from safeml.results import Metric
from safeml.statistics import proportion_metric
from safeml.threats import threat_words

NO_GRADIENT = (
    "the model gives no gradient, and attacks by queries only are too weak to estimate robust accuracy"
)
NONE_CORRECT = "no image is classified correctly, so there is nothing to attack"
UNPROVEN = "none: {count} of {total} gradient-masking checks could not detect masking ({why})"
WEAK = "lower bound only: the surrogate is inaccurate, or the attack failed on the surrogate"


def metrics_of(
    campaign: Campaign, checks: list[MaskingCheck], transferred: Transfer | None = None
) -> list[Metric]:
    """Compute robust accuracy at each threat and after each attack, success rates and the number of failed masking checks.

    If a masking check fails, or if the model gives no gradient, the attacks may have failed for reasons other than
    robustness. The lower end of each interval is then 0, so that no gate can pass on it.
    """
    blind = campaign.blind
    sample, clean = campaign.items.sample, campaign.items.clean
    why = only_upper_bound(checks, blind)

    name, title = "clean_accuracy_attacked_sample", "Clean accuracy of the attacked images"
    metrics = [proportion_metric(name, title, clean.right, clustering=sample.clustering)]
    for threat in campaign.settings.threats:
        name = f"robust_accuracy.{threat.label}"
        title = f"Robust accuracy at {threat_words(threat)}, worst case"
        metrics.append(
            Metric.undefined(name, title, NO_GRADIENT)
            if blind
            else robust_metric(campaign, name, title, campaign.survivors(threat), threat, why)
        )
        for attack, hits in survivors_after(campaign, threat).items():
            title = f"Accuracy after {ROWS[attack].title} at {threat_words(threat)}"
            spared = ROWS[attack].short is not None
            metrics.append(
                robust_metric(campaign, f"{name}.{attack}", title, hits, threat, why)
                if spared
                else from_zero(
                    proportion_metric(f"{name}.{attack}", title, hits, clustering=sample.clustering), why
                )
            )
    metrics.append(_success_rate(campaign, why == MASKED, blind))
    if transferred is not None:
        metrics.append(_transfer_success(campaign, transferred))
    return [*metrics, _masking_flags(checks, blind)]


def _success_rate(campaign: Campaign, masked: bool, blind: bool) -> Metric:
    sample, right, main = campaign.items.sample, campaign.items.clean.right, campaign.main
    name = f"attack_success_rate.{main.label}"
    title = f"Attack success rate at {threat_words(main)}, worst case"
    if blind or not right.any():
        return Metric.undefined(name, title, NO_GRADIENT if blind else NONE_CORRECT, direction="down")
    metric = proportion_metric(
        name,
        title,
        ~campaign.survivors(main)[right],
        clustering=sample.clustering.take(right),
        direction="down",
    )
    if masked and metric.high is not None:
        return metric.model_copy(update={"high": 1.0, "method": MASKED})
    low = low_end(campaign, campaign.survivors(main), main, metric, right, sample.clustering.take(right))
    return metric if low is None else metric.model_copy(update={"high": 1.0 - low, "method": SPARED})


def _transfer_success(campaign: Campaign, transferred: Transfer) -> Metric:
    """Compute the success rate on correctly classified images; an unfit surrogate gives no upper bound."""
    sample, right, main = campaign.items.sample, campaign.items.clean.right, campaign.main
    name = f"transfer_success.{main.label}"
    title = f"Success of adversarial examples crafted on {transferred.surrogate}, {threat_words(main)}"
    if not right.any():
        return Metric.undefined(name, title, NONE_CORRECT, direction="down")
    metric = proportion_metric(
        name,
        title,
        campaign.hits[TRANSFER, main][right],
        clustering=sample.clustering.take(right),
        direction="down",
    )
    weak = transferred.unfit or any(result.threat == main for result in transferred.unbroken)
    return (
        metric.model_copy(update={"high": 1.0, "method": WEAK})
        if weak and metric.high is not None
        else metric
    )


def _masking_flags(checks: list[MaskingCheck], blind: bool) -> Metric:
    name, title = "masking_flags", "Failed gradient-masking checks"
    if not checks:
        reason = NO_GRADIENT if blind else "no image is classified correctly, so there is nothing to check"
        return Metric.undefined(name, title, reason, direction="down", unit="count")
    failed = sum(check.failed for check in checks)
    metric = Metric.count(name, title, float(failed), len(checks), method="count")
    unproven = [check.unproven for check in checks if check.state == "not proven"]
    if failed or not unproven:
        return metric
    # Without an interval no gate passes: no failed check is no evidence where a check has no power.
    why = UNPROVEN.format(count=len(unproven), total=len(checks), why="; ".join(dict.fromkeys(unproven)))
    return metric.model_copy(update={"low": None, "high": None, "method": why})
