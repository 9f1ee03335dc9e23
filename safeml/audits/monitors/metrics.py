"""The metrics of the stage from its outputs. Legend: N images, R resamples, T sign tracks."""

from __future__ import annotations

import numpy as np

from safeml.audits.monitors.adversary import adversary_metrics
from safeml.audits.monitors.carried import carried_arrays
from safeml.audits.monitors.measure import Measured
from safeml.audits.monitors.numbers import FROM, IN, Numbers
from safeml.audits.monitors.outputs import Judged
from safeml.audits.monitors.ranks import error_metrics, outside_metrics
from safeml.audits.monitors.streams import alarm_metrics, estimate_metrics, fusion_metrics, stream_metrics
from safeml.data.dataset import ImageDataset
from safeml.metrics.hazard import cost_matrix
from safeml.monitors.conformal import class_scores, sets
from safeml.monitors.state import size_of
from safeml.results import Metric
from safeml.stages.monitors import (
    CLEAN,
    SET_LEVEL,
    SHIFTED,
    MonitorsSettings,
    attacked_names,
)
from safeml.statistics import (
    mean_metric,
    proportion_metric,
)


def numbers_of(measured: Measured, settings: MonitorsSettings, seed: int) -> Numbers:
    """Compute every metric of the stage."""
    numbers = Numbers()
    error_metrics(numbers, measured, settings, seed)
    outside_metrics(numbers, measured, settings, seed)
    decisions(numbers, measured, settings)
    adversary_metrics(numbers, measured, settings)
    alarm_metrics(numbers, measured, settings)
    stream_metrics(numbers, measured, seed)
    fusion_metrics(numbers, measured)
    estimate_metrics(numbers, measured, settings, seed)
    set_metrics(numbers, measured, seed)
    arrays = carried_arrays(measured.fitted)
    numbers.metrics.append(
        Metric.count("state_bytes", "Bytes of the monitor's arrays", size_of(arrays), len(arrays))
    )
    return numbers


def set_metrics(numbers: Numbers, measured: Measured, seed: int) -> None:
    """Measure the conformal sets that the device computes, on the clean test images in their order.

    An image whose outputs are not finite has no set: it is not covered, and no class is excluded.
    """
    part, threshold = measured.judged[CLEAN], measured.fitted.sets
    titles = (
        ("set_coverage", f"Images whose class is in the conformal set, {SET_LEVEL} %"),
        ("set_size", f"Classes in the conformal set, {SET_LEVEL} %"),
    )
    if threshold is None:
        reason = measured.material.reason or f"too few validation signs for sets at {SET_LEVEL} %"
        numbers.metrics.append(Metric.undefined(*titles[0], reason))
        numbers.metrics.append(Metric.undefined(*titles[1], reason, direction="down", unit="ratio"))
        return
    logits, K = part.outputs.logits, part.outputs.logits.shape[1]
    inside = np.ones((len(logits), K), bool)
    rows = np.flatnonzero(part.outputs.finite)
    ties = np.random.default_rng(seed).random((len(rows), K))
    inside[rows] = sets(class_scores("lac", logits[rows], np.zeros(len(rows))), ties, threshold)
    covered = inside[np.arange(len(logits)), part.labels] & part.outputs.finite
    numbers.metrics += [
        proportion_metric(*titles[0], covered, clustering=part.clustering),
        mean_metric(
            *titles[1],
            inside.sum(axis=1).astype(float),
            upper=float(K),
            clustering=part.clustering,
            direction="down",
            unit="ratio",
        ),
    ]


def decisions(numbers: Numbers, measured: Measured, settings: MonitorsSettings) -> None:
    """Measure what the deployed monitor rejects and what it leaves, at its calibrated threshold."""
    fitted = measured.fitted
    for where, slice in ((CLEAN, "all"), (SHIFTED, SHIFTED)):
        part = measured.judged.get(where)
        trusted = None if part is None else fitted.trusted(part.outputs)
        if where == CLEAN:
            numbers.trusted = trusted
        if part is None or trusted is None:
            reason = fitted.reason if part is not None else measured.not_measured[where]
            numbers.metrics += undefined_decisions(where, slice, reason)
        else:
            numbers.metrics += decision_metrics(part, trusted, measured.sample, where, slice)
    for where in (CLEAN, SHIFTED, *attacked_names(settings)):
        part = measured.judged.get(where)
        title = f"Incorrect predictions rejected, {IN[where]}"
        trusted = None if part is None else fitted.trusted(part.outputs)
        if part is None or trusted is None:
            reason = measured.not_measured.get(where, fitted.reason)
            numbers.metrics.append(Metric.undefined("errors_stopped", title, reason, slice=where))
            continue
        errors = ~part.hits
        numbers.metrics.append(
            proportion_metric(
                "errors_stopped",
                title,
                ~trusted[errors],
                clustering=part.clustering.take(errors),
                slice=where,
            )
        )
    for where, beyond in measured.outside.items():
        title = f"{FROM[where].capitalize()} rejected"
        trusted = None if beyond.outputs is None else fitted.trusted(beyond.outputs)
        if trusted is None:
            numbers.metrics.append(
                Metric.undefined("ood_stopped", title, beyond.reason or fitted.reason, slice=where)
            )
            continue
        numbers.metrics.append(
            proportion_metric("ood_stopped", title, ~trusted, clustering=beyond.clustering, slice=where)
        )


def decision_metrics(
    part: Judged, trusted: np.ndarray, sample: ImageDataset, where: str, slice: str
) -> list[Metric]:
    """Return residual hazard, safety gain and availability.

    trusted: bool [N]. A prediction that is not finite costs as the worst mistake for its class, and no monitor trusts it.

    Reference: J. Guerin et al., "Unifying evaluation of machine learning safety monitors", 2022.
    """
    costs = cost_matrix(sample.class_names, sample.costs)
    hits = part.hits
    price = np.where(hits, 0.0, costs[part.labels, part.outputs.predicted])
    lost = ~np.isfinite(part.outputs.logits).all(axis=1)
    price[lost] = costs[part.labels[lost]].max(axis=1)
    words = IN[where]
    return [
        mean_metric(
            "residual_hazard",
            f"Hazard of trusted incorrect predictions, {words}",
            price * trusted,
            upper=1.0,
            clustering=part.clustering,
            direction="down",
            unit="proportion",
            slice=slice,
        ),
        mean_metric(
            "safety_gain",
            f"Hazard removed by the monitor, {words}",
            price * ~trusted,
            upper=1.0,
            clustering=part.clustering,
            direction="up",
            unit="proportion",
            slice=slice,
        ),
        proportion_metric(
            "availability",
            f"Correct predictions trusted, {words}",
            trusted[hits],
            clustering=part.clustering.take(hits),
            slice=slice,
        ),
    ]


def undefined_decisions(where: str, slice: str, reason: str) -> list[Metric]:
    """Return the metrics of `decision_metrics` without a value."""
    words = IN[where]
    return [
        Metric.undefined("residual_hazard", f"Hazard of trusted incorrect predictions, {words}", reason, direction="down", slice=slice),
        Metric.undefined("safety_gain", f"Hazard removed by the monitor, {words}", reason, slice=slice),
        Metric.undefined("availability", f"Correct predictions trusted, {words}", reason, slice=slice),
    ]  # fmt: skip
