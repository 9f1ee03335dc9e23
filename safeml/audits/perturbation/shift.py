"""Calibration under shift: ECE, NLL and the coverage of clean conformal sets under each corruption.

Legend: N images, A corruptions, S severities, R resamples.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from safeml.audits.calibration.metrics import not_below_accuracy
from safeml.audits.perturbation.measure import Measured
from safeml.corruptions.rows import CORRUPTIONS, SEVERITIES
from safeml.metrics.calibration.binned import ece_error, equal_mass, fill, resampled_ece
from safeml.monitors.conformal import sets
from safeml.results import Metric
from safeml.stages.perturbation import CONFIDENT, SET_LEVEL, PerturbationSettings
from safeml.statistics import drawn_metric, mean_metric, proportion_metric, resample_counts
from safeml.wording import limit_percent

MEAN = "mean over corruptions and severities"
ECE = "ECE, 15 equal-mass bins"
NLL = "Negative log-likelihood"
COVERAGE = f"Coverage of LAC sets at {SET_LEVEL} %, calibrated on clean images"
OVERCONFIDENT = f"Incorrect with a confidence of at least {limit_percent(CONFIDENT)}"


@dataclass(frozen=True)
class Cell:
    """One corruption at one severity: its slice, its title, and its place in arrays [A, N, S]."""

    where: str
    title: str
    row: int
    column: int


def cells(measured: Measured) -> Iterator[Cell]:
    """Return each corruption at each severity, in the order of names and severities."""
    for row, name in enumerate(measured.names):
        for column, severity in enumerate(SEVERITIES):
            title = f"{CORRUPTIONS[name].title.lower()}, severity {severity}"
            yield Cell(f"{name}-{severity}", title, row, column)


def shift_metrics(
    measured: Measured, settings: PerturbationSettings, accuracies: list[Metric], seed: int
) -> list[Metric]:
    """Return ECE, NLL and set coverage of each cell and their means, and the share of overconfident errors.

    accuracies: of the stage; an interval of the ECE is at least as wide as that of the accuracy of the same images.

    A cell with logits that are not finite leaves its metrics and the means undefined.
    """
    known = {metric.slice: metric for metric in accuracies if metric.name == "corruption_accuracy"}
    mean = next(
        metric for metric in accuracies if (metric.name, metric.slice) == ("corruption_accuracy_mean", "all")
    )
    counts = resample_counts(len(measured.sample), measured.sample.clustering, seed, settings.bootstrap)
    return [
        *_errors(measured, counts, known, mean),
        *_losses(measured, counts),
        *_coverages(measured),
        _overconfident(measured),
    ]


def overconfident(measured: Measured) -> np.ndarray:
    """Return which predictions are incorrect with a confidence of at least CONFIDENT, bool [A, N, S]."""
    return np.asarray(~measured.hits & (measured.confidence >= CONFIDENT))


def _errors(
    measured: Measured, counts: np.ndarray, accuracies: dict[str, Metric], mean: Metric
) -> list[Metric]:
    metrics, values, draws = [], [], []
    for cell in cells(measured):
        title = f"ECE under {cell.title}"
        confidence = measured.confidence[cell.row, :, cell.column]
        if not np.isfinite(confidence).all():
            metrics.append(_void("corruption_ece", title, measured, cell.where))
            continue
        hits = measured.hits[cell.row, :, cell.column]
        bins = equal_mass(confidence)
        values.append(ece_error(fill(bins, confidence, hits)))
        draws.append(resampled_ece(bins, confidence, hits, counts))
        metric = _drawn("corruption_ece", title, values[-1], draws[-1], measured, cell.where, 1.0)
        metrics.append(not_below_accuracy(metric, accuracies[cell.where]))
    title = f"{ECE}: {MEAN}"
    if len(values) < len(metrics):
        return [_void("corruption_ece_mean", title, measured), *metrics]
    whole = _drawn(
        "corruption_ece_mean", title, float(np.mean(values)), np.mean(draws, axis=0), measured, "all", 1.0
    )
    return [not_below_accuracy(whole, mean), *metrics]


def _losses(measured: Measured, counts: np.ndarray) -> list[Metric]:
    weights = np.maximum(counts.sum(axis=1), 1)[:, None]
    metrics, values, draws = [], [], []
    for row, name in enumerate(measured.names):
        losses = measured.losses[row]
        drawn = counts @ losses / weights
        for column, severity in enumerate(SEVERITIES):
            title = f"{NLL} under {CORRUPTIONS[name].title.lower()}, severity {severity}"
            where = f"{name}-{severity}"
            value = float(losses[:, column].mean())
            if not np.isfinite(value):
                metrics.append(_void("corruption_nll", title, measured, where, "ratio"))
                continue
            values.append(value)
            draws.append(drawn[:, column])
            metrics.append(_drawn("corruption_nll", title, value, draws[-1], measured, where, np.inf))
    title = f"{NLL}: {MEAN}"
    if len(values) < len(metrics):
        return [_void("corruption_nll_mean", title, measured, "all", "ratio"), *metrics]
    mean, drawn = float(np.mean(values)), np.mean(draws, axis=0)
    return [_drawn("corruption_nll_mean", title, mean, drawn, measured, "all", np.inf), *metrics]


def _coverages(measured: Measured) -> list[Metric]:
    threshold, reason, n = measured.threshold.value, measured.threshold.reason, len(measured.sample)
    title = f"{COVERAGE}: {MEAN}"
    void = not np.isfinite(measured.losses).all()
    if threshold is None:
        return [
            Metric.undefined("corruption_set_coverage_mean", title, reason, n=n),
            *(
                Metric.undefined(
                    "corruption_set_coverage",
                    f"Set coverage under {cell.title}",
                    reason,
                    slice=cell.where,
                    n=n,
                )
                for cell in cells(measured)
            ),
        ]
    inside = sets(measured.losses, measured.ties[None, :, None], threshold)
    metrics = [
        _void("corruption_set_coverage_mean", title, measured, direction="up")
        if void
        else mean_metric(
            "corruption_set_coverage_mean",
            title,
            inside.mean(axis=(0, 2)),
            upper=1.0,
            clustering=measured.sample.clustering,
            direction="up",
            unit="proportion",
        )
    ]
    for cell in cells(measured):
        own = f"Set coverage under {cell.title}"
        if not np.isfinite(measured.losses[cell.row, :, cell.column]).all():
            metrics.append(_void("corruption_set_coverage", own, measured, cell.where, direction="up"))
            continue
        metrics.append(
            proportion_metric(
                "corruption_set_coverage",
                own,
                inside[cell.row, :, cell.column],
                clustering=measured.sample.clustering,
                slice=cell.where,
            )
        )
    return metrics


def _overconfident(measured: Measured) -> Metric:
    name, title = "overconfident_errors", f"{OVERCONFIDENT}, {MEAN}"
    if not np.isfinite(measured.confidence).all():
        return _void(name, title, measured)
    return mean_metric(
        name,
        title,
        overconfident(measured).mean(axis=(0, 2)),
        upper=1.0,
        clustering=measured.sample.clustering,
        direction="down",
        unit="proportion",
    )


def _drawn(
    name: str, title: str, value: float, draws: np.ndarray, measured: Measured, where: str, upper: float
) -> Metric:
    return drawn_metric(
        name,
        title,
        value,
        draws,
        len(measured.sample),
        clustering=measured.sample.clustering,
        direction="down",
        unit="proportion" if upper == 1.0 else "ratio",
        slice=where,
        bounds=(0.0, upper),
    )


def _void(
    name: str,
    title: str,
    measured: Measured,
    where: str = "all",
    unit: str = "proportion",
    direction: str = "down",
) -> Metric:
    return Metric.undefined(
        name,
        title,
        "the logits of some images are not finite",
        direction="up" if direction == "up" else "down",
        unit="ratio" if unit == "ratio" else "proportion",
        slice=where,
        n=len(measured.sample),
    )
