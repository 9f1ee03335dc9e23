"""Findings that say what to do next, each with the number that it rests on. Legend: N images, A corruptions, S severities."""

from __future__ import annotations

import numpy as np

from safeml.audits.perturbation.measure import Measured
from safeml.audits.perturbation.shift import overconfident
from safeml.audits.weakest import joint_level
from safeml.corruptions.rows import CORRUPTIONS, SEVERITIES
from safeml.monitors.conformal import sets
from safeml.results import Finding, Metric
from safeml.stages.perturbation import CONFIDENT, SET_LEVEL
from safeml.statistics import proportion_metric
from safeml.wording import counted, limit_percent, percent

# What a training set or a camera can do against each group.
REMEDIES = {
    "Noise": "Add noise of this kind to the training images, or reduce the noise of the camera.",
    "Blur": "Add blurred images to the training set, or shorten the exposure.",
    "Weather": "Collect images in such weather, and add this corruption to the augmentation.",
    "Digital": "Train on images of the codec and the picture settings of the camera in use.",
    "Road weather": "Collect images in such weather and light, and add this corruption to the augmentation.",
    "Dirt and cover": "Cover parts of the training images at random, and reject images of a dirty lens.",
    "Camera": "Train on images of the camera in use, at its exposure and its picture settings.",
    "View": "Add rotated, turned and distant signs to the training set.",
}


def costliest_group(measured: Measured) -> list[Finding]:
    """Name the group of corruptions whose errors lower the mean accuracy most, in points of the mean accuracy."""
    lost = measured.clean_hits.mean() - measured.hits.mean(axis=(1, 2))
    groups = [CORRUPTIONS[name].group for name in measured.names]
    costs = {
        group: float(sum(part for part, own in zip(lost, groups, strict=True) if own == group)) / len(lost)
        for group in dict.fromkeys(groups)
    }
    group, cost = max(costs.items(), key=lambda entry: entry[1])
    if cost <= 0 or len(costs) < 2:
        return []
    whole = sum(costs.values())
    return [
        Finding(
            code="costliest-group",
            severity="info",
            message=f"{group} costs {percent(cost)} of the {percent(whole)} that the mean accuracy is below the clean accuracy: more "
            "than any other group of corruptions.",
            remedy=REMEDIES[group],
            evidence={"group": group, "cost": round(cost, 6)},
        )
    ]


def lost_coverage(measured: Measured, metrics: list[Metric]) -> list[Finding]:
    """Report the corruption under which conformal sets of clean images cover least, where they cover less than their level.

    The interval of the weakest cell accounts for its selection among all cells (Bonferroni).
    """
    cells = [
        metric for metric in metrics if metric.name == "corruption_set_coverage" and metric.value is not None
    ]
    threshold = measured.threshold.value
    if not cells or threshold is None:
        return []
    worst = min(cells, key=lambda metric: metric.value or 0.0)
    name, severity = worst.slice.rsplit("-", 1)
    losses = measured.losses[measured.names.index(name), :, SEVERITIES.index(int(severity))]
    wide = proportion_metric(
        worst.name,
        worst.title,
        sets(losses, measured.ties, threshold),
        clustering=measured.sample.clustering,
        level=joint_level(len(cells)),
    )
    if wide.high is None or wide.high >= SET_LEVEL / 100:
        return []
    return [
        Finding(
            code="set-coverage-under-shift",
            severity="warning",
            message=f"{worst.title}: {percent(worst.value)} of the images, not {SET_LEVEL} %. The threshold holds for clean images only.",
            remedy="Let a monitor detect such images and refuse an answer, or calibrate the sets on images with the corruptions of the field.",
            evidence={"slice": worst.slice, "coverage": worst.value},
        )
    ]


def overconfidence(measured: Measured) -> list[Finding]:
    """Report the corruption with the largest share of overconfident errors."""
    errors = overconfident(measured)
    if not errors.any():
        return []
    shares = errors.mean(axis=1)
    row, column = np.unravel_index(int(shares.argmax()), shares.shape)
    name = measured.names[int(row)]
    return [
        Finding(
            code="overconfident-errors",
            severity="warning",
            message=f"{counted(int(errors.sum()), 'prediction')} of {errors.size:,} are incorrect with a confidence of at least "
            f"{limit_percent(CONFIDENT)}; the share is largest under {CORRUPTIONS[name].title.lower()}, severity {SEVERITIES[int(column)]}: "
            f"{percent(float(shares[row, column]))}.",
            remedy=f"Do not act on the confidence alone under such conditions. {REMEDIES[CORRUPTIONS[name].group]} Scaling of the logits "
            "(`safeml calibrate`) lowers the confidence of correct predictions too.",
            evidence={
                "predictions": int(errors.sum()),
                "corruption": name,
                "severity": SEVERITIES[int(column)],
            },
        )
    ]
