"""Findings that say what the attacks show and what to do next, each with the number that it rests on."""

from __future__ import annotations

from typing import Any

from safeml.audits.base import AuditInputs
from safeml.audits.privacy.sides import Sides
from safeml.results import Finding, Metric
from safeml.wording import interval, limit_percent, number, percent

# No standard sets it. A smaller advantage is worth no other training.
WORTH_A_REMEDY = 0.05
WORTH_AN_AUC = 0.55
REMEDY = (
    "Reduce memorisation: more augmentation, weight decay, label smoothing or earlier stopping, a smaller network, or more signs. Training with "
    "differential privacy bounds every such attack; safeml does not offer it."
)


def leak(metric: Metric, gap: float) -> list[Finding]:
    """Report a proven leak. metric: the strongest attack; gap: accuracy of members minus that of non-members."""
    if metric.low is None or metric.low <= 0 or (metric.value or 0.0) < WORTH_A_REMEDY:
        return []
    return [
        Finding(
            code="membership-leak",
            severity="warning",
            message=f"The outputs reveal training images: the strongest attack has an advantage of {percent(metric.value)}, "
            f"95 % interval {interval(metric.low, metric.high)}. The accuracy of members is {100 * gap:.1f} points above that of non-members.",
            remedy=REMEDY,
            evidence={"advantage": metric.value, "accuracy_gap": round(gap, 6)},
        )
    ]


def shift(blind: Metric, over: Metric) -> list[Finding]:
    """Report members and non-members that differ in their pixels, and attacks that are no better than that."""
    findings = []
    # Without an interval, because the sign tracks are not known or every resample is the same, the value decides.
    differ = blind.value is not None and (blind.low or blind.value) > (
        0.5 if blind.low is not None else WORTH_AN_AUC
    )
    if differ:
        findings.append(
            Finding(
                code="splits-differ",
                severity="warning",
                message=f"Training and test images differ: a classifier that sees only light, colour and sharpness and never asks the model has an AUC of "
                f"{blind.value:.3f}. Part of what the attacks find may be this difference and not membership.",
                remedy="Split signs at random into training and test images of one source, then measure again; or set non_members to images of the source of the training images.",
                evidence={"auc": blind.value},
            )
        )
    if over.low is not None and over.low <= 0:
        findings.append(
            Finding(
                code="no-better-than-blind",
                severity="info",
                message="The strongest attack does not beat the blind baseline: its AUC is above that of the baseline by "
                f"{number(over.value)}, 95 % interval {interval(over.low, over.high, unit='ratio')}. The result may show the difference of the data sets and not memorisation.",
                evidence={"difference": over.value},
            )
        )
    return findings


def control(name: str, title: str, metric: Metric, planted: float, least: float) -> Finding:
    """Report an attack that misses a planted leak."""
    return Finding(
        code=f"control-failed-{name}",
        severity="serious",
        message=f"{title}: of a planted leak of {limit_percent(planted)} it finds {percent(metric.value)}, less than {limit_percent(least)}. Its metrics are undefined, because its failure on the model "
        "would be no evidence.",
        remedy="Measure more sign tracks, or check whether the outputs of the model differ between images.",
        evidence={"found": metric.value, "planted": planted},
    )


def training_data(inputs: AuditInputs) -> list[Finding]:
    """Compare the training images of the settings with those of `training.json`."""
    stated: Any = (inputs.manifest or {}).get("train", {}).get("fingerprint")
    if inputs.train is None or stated is None or stated == inputs.train.fingerprint:
        return []
    return [
        Finding(
            code="other-training-data",
            severity="serious",
            message="The images of [data.train] are not those that training.json names, so the members of this stage may not be members, and a leak of the true training images is not measured.",
            remedy="Set [data.train] to the images that the model was trained on.",
            evidence={"images": len(inputs.train)},
        )
    ]


def not_by_sign(sides: Sides) -> list[Finding]:
    """Report calibration and evaluation images that may show the same signs."""
    if sides.by_sign:
        return []
    return [
        Finding(
            code="halves-share-signs",
            severity="info",
            message="The sign tracks of one side are not known, so frames of one sign may be in the calibration and in the evaluation. This can make a threshold attack look "
            "slightly stronger than it is; the black-box attack is not run, because it would recognise the signs.",
            remedy='Supply track ids, give [data.valid] with track ids, or set non_members = "valid".',
        )
    ]
