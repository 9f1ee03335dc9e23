"""How well each score separates incorrect predictions and images from outside. Legend: N images, R resamples."""

from __future__ import annotations

import numpy as np

from safeml.audits.monitors.measure import Measured
from safeml.audits.monitors.numbers import FROM, IN, Numbers, values_of, why_not
from safeml.audits.monitors.outputs import Judged
from safeml.metrics.detection import auroc_draws, auroc_score, detection_rates, threshold_at_95
from safeml.results import Metric
from safeml.stages.monitors import (
    ATTACKED,
    BASELINE,
    CLEAN,
    COMPARED,
    RANDOM,
    SHIFTED,
    MonitorsSettings,
)
from safeml.statistics import (
    Clustering,
    drawn_metric,
    proportion_metric,
    resample_counts,
)


def error_metrics(numbers: Numbers, measured: Measured, settings: MonitorsSettings, seed: int) -> None:
    """Measure how each score separates incorrect from correct predictions; the incorrect ones are positive."""
    for where in (CLEAN, SHIFTED, *((ATTACKED,) if settings.attacked_images else ())):
        part = measured.judged.get(where)
        if part is None:
            _missing_errors(numbers, where, measured.not_measured[where])
            continue
        reject, counts = (
            ~part.hits,
            resample_counts(len(part.labels), part.clustering, seed, settings.resamples),
        )
        reason = ""
        if reject.all() or not reject.any():
            reason = f"the model classifies {'none' if reject.all() else 'all'} of the {IN[where]} correctly"
        baseline = np.zeros(0)
        for name, title in COMPARED.items():
            values = values_of(measured.fitted, name, part.outputs, seed)
            key, words = f"error_auroc.{name}", f"AUROC of incorrect predictions, {title}, {IN[where]}"
            gain, said = f"error_auroc_gain.{name}", f"AUROC above maximum probability, {title}, {IN[where]}"
            gains = name not in (BASELINE, RANDOM) and where != ATTACKED
            if values is None or reason:
                why = reason or why_not(measured)
                numbers.metrics.append(Metric.undefined(key, words, why, slice=where, n=len(part.labels)))
                if gains:
                    numbers.metrics.append(Metric.undefined(gain, said, why, slice=where, n=len(part.labels)))
                continue
            numbers.rates[where, name] = detection_rates(values, reject)
            draws = auroc_draws(values, reject, counts)
            numbers.metrics.append(_auroc(key, words, auroc_score(values, reject), draws, part, where))
            if name == BASELINE:
                baseline = draws
            elif gains:
                value = numbers.rates[where, name]["auroc"] - numbers.rates[where, BASELINE]["auroc"]
                numbers.metrics.append(_auroc(gain, said, value, draws - baseline, part, where, least=-1.0))


def _missing_errors(numbers: Numbers, where: str, reason: str) -> None:
    for name, title in COMPARED.items():
        words = f"AUROC of incorrect predictions, {title}, {IN[where]}"
        numbers.metrics.append(Metric.undefined(f"error_auroc.{name}", words, reason, slice=where))
        if name not in (BASELINE, RANDOM) and where != ATTACKED:
            said = f"AUROC above maximum probability, {title}, {IN[where]}"
            numbers.metrics.append(Metric.undefined(f"error_auroc_gain.{name}", said, reason, slice=where))


def _auroc(
    name: str, title: str, value: float, draws: np.ndarray, part: Judged, where: str, least: float = 0.0
) -> Metric:
    """Return the metric; without an interval where some resamples hold no incorrect prediction, so that no gate passes."""
    void = int((~np.isfinite(draws)).sum())
    metric = drawn_metric(
        name,
        title,
        value,
        np.full(len(draws), value) if void else draws,
        len(part.labels),
        clustering=part.clustering,
        direction="up",
        unit="proportion",
        slice=where,
        bounds=(least, 1.0),
    )
    if not void:
        return metric
    why = f"none: {void} of {len(draws)} resamples hold no incorrect or no correct prediction"
    return metric.model_copy(update={"low": None, "high": None, "method": why})


def outside_metrics(numbers: Numbers, measured: Measured, settings: MonitorsSettings, seed: int) -> None:
    """Measure how each score separates images from outside (positive) from all clean test images."""
    clean = measured.judged[CLEAN]
    own = resample_counts(len(clean.labels), clean.clustering, seed, settings.resamples)
    for where, part in measured.outside.items():
        count = 0 if part.outputs is None else len(part.outputs)
        known = part.clustering.tracks is not None or part.clustering.frames_per_sign is not None
        theirs = (
            resample_counts(count, part.clustering, seed + 1, settings.resamples)
            if count
            else np.zeros((0, 0))
        )
        paired = known and len(own) and len(own) == len(theirs)
        counts = np.concatenate([own, theirs], axis=1) if paired else np.zeros((0, 0))
        reject = np.arange(len(clean.labels) + count) >= len(clean.labels)
        for name, title in COMPARED.items():
            words = f"AUROC of {FROM[where]}, {title}"
            said = f"{FROM[where].capitalize()} trusted at 95 % of clean images, {title}"
            inside = values_of(measured.fitted, name, clean.outputs, seed)
            beyond = (
                None if part.outputs is None else values_of(measured.fitted, name, part.outputs, seed + 1)
            )
            if inside is None or beyond is None:
                why = part.reason or why_not(measured)
                numbers.metrics.append(
                    Metric.undefined(f"ood_auroc.{name}", words, why, slice=where, n=count)
                )
                numbers.metrics.append(
                    Metric.undefined(
                        f"ood_fpr_at_95.{name}", said, why, direction="down", slice=where, n=count
                    )
                )
                continue
            values = np.concatenate([inside, beyond])
            rates = detection_rates(values, reject)
            numbers.rates[where, name] = rates
            draws = auroc_draws(values, reject, counts) if paired else np.zeros(0)
            numbers.metrics.append(
                drawn_metric(
                    f"ood_auroc.{name}",
                    words,
                    rates["auroc"],
                    draws,
                    len(clean.labels),
                    clustering=clean.clustering if paired else Clustering(),
                    direction="up",
                    unit="proportion",
                    slice=where,
                    bounds=(0.0, 1.0),
                )
            )
            numbers.metrics.append(
                proportion_metric(
                    f"ood_fpr_at_95.{name}",
                    said,
                    beyond >= threshold_at_95(inside),
                    clustering=part.clustering,
                    direction="down",
                    slice=where,
                )
            )
