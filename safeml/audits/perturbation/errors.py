"""Errors of a regression model under corruptions, in the units of its targets. Legend: N images, A corruptions, S severities, T targets."""

from __future__ import annotations

import math

import numpy as np

from safeml.audits.measured import undefined_metrics
from safeml.audits.perturbation.measure import FOR_CLASSES, Measured
from safeml.corruptions.rows import CORRUPTIONS, SEVERITIES
from safeml.results import Column, Metric, Scalar, Table
from safeml.settings.targets import TargetSettings
from safeml.stages.base import TARGETS
from safeml.stages.perturbation import OF_CLASSES, OF_TARGETS, PERTURBATION, PerturbationSettings
from safeml.statistics import drawn_metric, resample_counts

MEAN, WORST, CELL = OF_TARGETS
SEVERAL = "the targets have different units; read the slice of one of them"
WORST_METHOD = "weakest: {}; high: the largest upper end of the {} cells, low: the largest lower end; {}"


def regression_metrics(measured: Measured, settings: PerturbationSettings, seed: int) -> list[Metric]:
    """Return the errors of a regression model; undefined metrics for what is defined for classes alone."""
    count = len(measured.sample)
    declared = PERTURBATION.records(settings)
    undefined = undefined_metrics((row for row in declared if row.name in OF_CLASSES), FOR_CLASSES, count)
    targets = measured.sample.targets
    assert targets is not None
    counts = resample_counts(count, measured.sample.clustering, seed, settings.bootstrap)
    metrics: list[Metric] = []
    single = len(targets.settings) == 1
    for column, target in enumerate(targets.settings):
        cells = _cells(measured, column, target, counts)
        summaries = [_mean(measured, column, target, counts), _worst(cells, target)]
        metrics += [metric.model_copy(update={"slice": f"{TARGETS}{target.name}"}) for metric in summaries]
        if single:
            metrics += [*summaries, *cells]
        elif column == 0:
            metrics += [_undefined(metric) for metric in (*summaries, *cells)]
    return [*metrics, *undefined]


def error_table(measured: Measured, column: int) -> Table:
    """List the mean absolute error of one target under each corruption at each severity, worst first."""
    assert measured.errors is not None
    assert measured.sample.targets is not None
    target = measured.sample.targets.settings[column]
    means = measured.errors[..., column].mean(axis=1)
    rows: list[list[Scalar]] = []
    for number in np.argsort(-means.mean(axis=1), kind="stable"):
        own = [float(value) for value in means[number]]
        cells: list[Scalar] = [
            round(value, 4) if math.isfinite(value) else None for value in (*own, sum(own) / len(own))
        ]
        rows.append([CORRUPTIONS[measured.names[number]].title, *cells])
    return Table(
        id=f"corruption-errors-{target.name}",
        title=f"Mean absolute error of {target.name} by corruption and severity, {target.unit}",
        columns=[
            Column(key="corruption", label="Corruption"),
            *(
                Column(key=f"s{severity}", label=f"Severity {severity}", kind="number")
                for severity in SEVERITIES
            ),
            Column(key="mean", label="Mean", kind="number"),
        ],
        rows=rows,
        caption="Worst first. A cell without a number holds a prediction that is not finite.",
    )


def _metric(
    measured: Measured, name: str, title: str, errors: np.ndarray, counts: np.ndarray, where: str = "all"
) -> Metric:
    """Return the mean of some errors (float64 [N]) with its bootstrap interval over signs."""
    if not np.isfinite(errors).all():
        reason = "a prediction is not finite"
        return Metric.undefined(
            name, title, reason, direction="down", unit="target", slice=where, n=len(errors)
        )
    draws = counts @ errors / counts.sum(axis=1) if len(counts) else np.zeros(0)
    return drawn_metric(
        name,
        title,
        float(errors.mean()),
        draws,
        len(errors),
        clustering=measured.sample.clustering,
        direction="down",
        unit="target",
        slice=where,
        bounds=(0.0, math.inf),
    )


def _mean(measured: Measured, column: int, target: TargetSettings, counts: np.ndarray) -> Metric:
    assert measured.errors is not None
    title = f"Mean absolute error of {target.name} over {len(measured.names)} corruptions at {len(SEVERITIES)} severities, {target.unit}"
    return _metric(measured, MEAN, title, measured.errors[..., column].mean(axis=(0, 2)), counts)


def _cells(measured: Measured, column: int, target: TargetSettings, counts: np.ndarray) -> list[Metric]:
    assert measured.errors is not None
    return [
        _metric(
            measured,
            CELL,
            f"Mean absolute error of {target.name} under {CORRUPTIONS[name].title.lower()}, severity {severity}, {target.unit}",
            measured.errors[row, :, place, column],
            counts,
            f"{name}-{severity}",
        )
        for row, name in enumerate(measured.names)
        for place, severity in enumerate(SEVERITIES)
    ]


def _worst(cells: list[Metric], target: TargetSettings) -> Metric:
    """Return the largest of the cells; the upper ends hold for each cell, so the largest holds for the largest cell."""
    title = f"Mean absolute error of {target.name} in the worst cell, {target.unit}"
    void = next((cell for cell in cells if cell.value is None), None)
    if void is not None:
        return Metric.undefined(
            WORST, title, f"{void.reason} ({void.slice})", direction="down", unit="target", n=void.n
        )
    worst = max(cells, key=lambda cell: cell.value or 0.0)
    highs = [cell.high for cell in cells if cell.high is not None]
    lows = [cell.low for cell in cells if cell.low is not None]
    complete = len(highs) == len(lows) == len(cells)
    return worst.model_copy(
        update={
            "name": WORST,
            "title": title,
            "slice": "all",
            "low": min(max(lows), worst.value or 0.0) if complete else None,
            "high": max(highs) if complete else None,
            "method": WORST_METHOD.format(worst.slice, len(cells), worst.method),
        }
    )


def _undefined(metric: Metric) -> Metric:
    """Return a metric of all targets together, which have no common unit."""
    return Metric.undefined(
        metric.name, metric.title, SEVERAL, direction="down", unit="target", slice=metric.slice, n=metric.n
    )
