"""The metrics of the stage. Legend: N images, A corruptions, S severities, P grid points."""

from __future__ import annotations

import numpy as np

from safeml.audits.perturbation.errors import regression_metrics
from safeml.audits.perturbation.measure import Measured
from safeml.audits.perturbation.shift import shift_metrics
from safeml.audits.weakest import LEVEL, joint_level, weakest_of
from safeml.corruptions.rows import CORRUPTIONS, SEVERITIES
from safeml.results import Metric
from safeml.stages.perturbation import PerturbationSettings
from safeml.statistics import bootstrap_metric, mean_metric, proportion_metric

NO_ERROR = (
    "the baseline is the clean error of this model, which is 0; set baseline_error in [stages.perturbation]"
)
NO_INTERVAL = "none: some resamples hold no clean error, so the ratio has no bound; measure more images"


def all_metrics(measured: Measured, settings: PerturbationSettings, seed: int) -> list[Metric]:
    """Return every metric of the stage."""
    clustering = measured.sample.clustering
    accuracies = [
        proportion_metric(
            "clean_accuracy_perturbation_sample",
            "Clean accuracy of the corrupted images",
            measured.clean_hits,
            clustering=clustering,
        ),
        mean_metric(
            "corruption_accuracy_mean",
            f"Mean accuracy over {len(measured.names)} corruptions at {len(SEVERITIES)} severities",
            measured.hits.mean(axis=(0, 2)),
            upper=1.0,
            clustering=clustering,
            direction="up",
            unit="proportion",
        ),
        worst_metric(measured),
        *(corruption_metric(measured, number) for number in range(len(measured.names))),
        *(severity_metric(measured, column) for column in range(len(SEVERITIES))),
        *cell_metrics(measured),
        *corruption_errors(measured, settings, seed),
        grid_metric(measured),
    ]
    if measured.errors is not None:
        return [*accuracies, *regression_metrics(measured, settings, seed)]
    return [*accuracies, measured.flips, *shift_metrics(measured, settings, accuracies, seed)]


def grid_metric(measured: Measured) -> Metric:
    """Return the accuracy at every point of the grid; undefined where the unchanged image is its only point."""
    count = len(measured.points)
    title = f"Accuracy in the worst of {count} small changes"
    if count < 2:
        reason = "the grid of a regression changes light and focus alone, and brightness and blur are 0"
        return Metric.undefined("grid_accuracy_worst", title, reason, n=len(measured.sample))
    return proportion_metric(
        "grid_accuracy_worst", title, measured.grid_hits, clustering=measured.sample.clustering
    )


def corruption_metric(measured: Measured, number: int, level: float = LEVEL) -> Metric:
    """Return the mean accuracy over the severities of one corruption."""
    name = measured.names[number]
    return mean_metric(
        "corruption_accuracy",
        f"Accuracy under {CORRUPTIONS[name].title.lower()}",
        measured.hits[number].mean(axis=1),
        upper=1.0,
        clustering=measured.sample.clustering,
        direction="up",
        unit="proportion",
        slice=name,
        level=level,
    )


def severity_metric(measured: Measured, column: int) -> Metric:
    """Return the mean accuracy over the corruptions at one severity."""
    return mean_metric(
        "corruption_accuracy_mean",
        f"Accuracy at severity {SEVERITIES[column]}, mean over {len(measured.names)} corruptions",
        measured.hits[:, :, column].mean(axis=0),
        upper=1.0,
        clustering=measured.sample.clustering,
        direction="up",
        unit="proportion",
        slice=f"severity-{SEVERITIES[column]}",
    )


def cell_metrics(measured: Measured) -> list[Metric]:
    """Return the accuracy of each corruption at each severity, in the order of names and severities."""
    return [
        proportion_metric(
            "corruption_accuracy",
            f"Accuracy under {CORRUPTIONS[name].title.lower()}, severity {severity}",
            hits[:, column],
            clustering=measured.sample.clustering,
            slice=f"{name}-{severity}",
        )
        for name, hits in zip(measured.names, measured.hits, strict=True)
        for column, severity in enumerate(SEVERITIES)
    ]


def worst_metric(measured: Measured) -> Metric:
    """Return the mean accuracy over the severities of the weakest corruption; its interval accounts for the selection."""
    count = len(measured.names)
    own = [corruption_metric(measured, number) for number in range(count)]
    wide = [corruption_metric(measured, number, joint_level(count)) for number in range(count)]
    return weakest_of(
        "corruption_accuracy_worst", "Accuracy under the worst corruption", own, wide, count, "corruptions"
    )


def corruption_errors(measured: Measured, settings: PerturbationSettings, seed: int) -> list[Metric]:
    """Return mCE and relative mCE: the mean error and its increase over the clean error, each divided by the baseline.

    Hendrycks and Dietterich (2019) divide by the errors of AlexNet, which has no meaning for traffic signs. Here the baseline is
    `baseline_error`, or else the clean error of the measured model.
    """
    errors = 1 - measured.hits.mean(axis=(0, 2))
    clean = (~measured.clean_hits).astype(float)
    declared = settings.baseline_error
    stated = (
        "the clean error of this model"
        if declared is None
        else f"the declared baseline error of {declared:g}"
    )

    def baseline(rows: np.ndarray) -> float:
        value = float(clean[rows].mean()) if declared is None else declared
        return value or float("nan")

    metrics = []
    for name, title, part in (
        ("mce", f"Mean corruption error (mCE) over {stated}", errors),
        ("relative_mce", f"Relative mCE: increase of the error over {stated}", errors - clean),
    ):
        if declared is None and not clean.any():
            metrics.append(Metric.undefined(name, title, NO_ERROR, direction="down", unit="ratio"))
            continue

        def ratio(rows: np.ndarray, part: np.ndarray = part) -> float:
            return float(part[rows].mean()) / baseline(rows)

        metric = bootstrap_metric(
            name,
            title,
            ratio,
            len(errors),
            clustering=measured.sample.clustering,
            direction="down",
            unit="ratio",
            seed=seed,
            resamples=settings.bootstrap,
        )
        if metric.value is None:
            value = ratio(np.arange(len(errors)))
            metric = metric.model_copy(
                update={"value": value, "status": "ok", "reason": "", "method": NO_INTERVAL}
            )
        metrics.append(metric)
    return metrics
