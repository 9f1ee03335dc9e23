"""The metrics of the stage *regression error*. Legend: N images, T targets."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from safeml.audits.regression.measure import Measured
from safeml.audits.weakest import group_recall, user_groups, weakest_recall
from safeml.metrics.regression import (
    bias_error,
    mean_absolute_error,
    r2_score,
    root_mean_squared_error,
)
from safeml.results import Metric
from safeml.settings.targets import TargetSettings
from safeml.stages.base import TARGETS
from safeml.stages.regression import LEAST_SIGNS, PARTS, QUANTILES, RegressionSettings
from safeml.statistics import (
    bootstrap_metric,
    proportion_by_sign_metric,
    proportion_metric,
    quantile_metric,
)
from safeml.wording import counted, number

NO_TOLERANCE = "no tolerance is declared; set it in [[data.targets]]"
SEVERAL = "the targets have different units; read the slice of one of them, such as {}"
NO_BOUND = "none: the largest error of a sample bounds no other image"
MAGNITUDE = "largest and smallest size in the interval of the bias"
Statistic = Callable[[np.ndarray], float]


def all_metrics(measured: Measured, settings: RegressionSettings, seed: int) -> list[Metric]:
    """Return every metric of the stage."""
    return [*share_metrics(measured, settings), *error_metrics(measured, settings, seed)]


def share_metrics(measured: Measured, settings: RegressionSettings) -> list[Metric]:
    """Return the share of the predictions within the tolerance: of all images, by sign track, and of the weakest groups."""
    test, hits = measured.test, measured.hits
    names = {
        "within_tolerance": "Predictions within the tolerance",
        "within_tolerance_by_sign": "Predictions within the tolerance, by sign",
        "within_tolerance_worst_part": "Predictions within the tolerance, weakest part of the range",
        "within_tolerance_worst_group": "Predictions within the tolerance, weakest of your groups",
    }
    if hits is None:
        return [Metric.undefined(name, title, NO_TOLERANCE, n=len(test)) for name, title in names.items()]
    parts, groups = range_parts(measured, settings.parts), user_groups(test)
    metrics = [
        proportion_metric("within_tolerance", names["within_tolerance"], hits, clustering=test.clustering),
        proportion_by_sign_metric(
            "within_tolerance_by_sign",
            names["within_tolerance_by_sign"],
            hits,
            clustering=test.clustering,
        ),
    ]
    for name, of in (("within_tolerance_worst_part", parts), ("within_tolerance_worst_group", groups)):
        if of:
            metrics.append(weakest_recall(name, names[name], test, hits, of, LEAST_SIGNS))
    metrics += [
        group_recall(
            test,
            hits,
            member,
            f"Within the tolerance, {where.partition(':')[2]}",
            where,
            name="within_tolerance_of",
        )
        for where, member in {**parts, **groups}.items()
    ]
    return metrics


def error_metrics(measured: Measured, settings: RegressionSettings, seed: int) -> list[Metric]:
    """Return the errors of each target; with one target as the slice of all images, too."""
    metrics: list[Metric] = []
    single = len(measured.targets.settings) == 1
    for column, target in enumerate(measured.targets.settings):
        own = _of_target(measured, column, target, settings, seed)
        metrics += [metric.model_copy(update={"slice": f"{TARGETS}{target.name}"}) for metric in own]
        if single:
            metrics += own
        elif column == 0:
            reason = SEVERAL.format(f'"{TARGETS}{target.name}"')
            metrics += [
                Metric.undefined(
                    metric.name,
                    metric.title.rpartition(" of ")[0] or metric.title,
                    reason,
                    direction=metric.direction,
                    unit=metric.unit,
                    n=len(measured.test),
                )
                for metric in own
            ]
    return metrics


def _of_target(
    measured: Measured, column: int, target: TargetSettings, settings: RegressionSettings, seed: int
) -> list[Metric]:
    """Return the errors of one target, as the slice of all images."""
    errors, targets = measured.errors[:, column], measured.targets.values[:, column]
    test = measured.test
    of = f" of {target.name}, {target.unit}" if len(measured.targets.settings) > 1 else f", {target.unit}"
    resampled: dict[str, tuple[str, Statistic]] = {
        "rmse": ("RMSE", lambda rows: root_mean_squared_error(errors[rows])),
        "mae": ("Mean absolute error", lambda rows: mean_absolute_error(errors[rows])),
        "bias": ("Bias (mean error)", lambda rows: bias_error(errors[rows])),
    }
    ranks = {
        f"error_p{share}": (f"{share} % quantile of the absolute error", share / 100) for share in QUANTILES
    }
    void = int((~np.isfinite(errors)).sum())
    if void:
        reason = f"{counted(void, 'prediction')} of {number(len(errors))} are not finite"
        titles = {name: title + of for name, (title, _) in {**resampled, **ranks}.items()}
        titles |= {"bias_magnitude": f"Size of the bias{of}", "error_max": f"Largest absolute error{of}"}
        undefined = [
            Metric.undefined(name, title, reason, direction="down", unit="target", n=len(errors))
            for name, title in titles.items()
        ]
        return [
            *undefined,
            Metric.undefined("r2", f"R2 of {target.name}", reason, unit="ratio", n=len(errors)),
        ]

    def metric(name: str, title: str, statistic: Statistic, low: float = 0.0) -> Metric:
        return bootstrap_metric(
            name,
            title,
            statistic,
            len(errors),
            clustering=test.clustering,
            direction="down",
            unit="target",
            seed=seed,
            resamples=settings.bootstrap,
            bounds=(low, math.inf),
        )

    made = {
        name: metric(name, title + of, statistic, -math.inf if name == "bias" else 0.0)
        for name, (title, statistic) in resampled.items()
    }
    r2 = bootstrap_metric(
        "r2",
        f"R2 of {target.name}",
        lambda rows: r2_score(errors[rows], targets[rows]),
        len(errors),
        clustering=test.clustering,
        direction="up",
        unit="ratio",
        seed=seed,
        resamples=settings.bootstrap,
        bounds=(-math.inf, 1.0),
    )
    largest = Metric(
        name="error_max",
        title=f"Largest absolute error{of}",
        value=float(np.abs(errors).max()),
        method=NO_BOUND,
        n=len(errors),
        signs=made["mae"].signs,
        clustering=made["mae"].clustering,
        direction="down",
        unit="target",
    )
    return [
        *made.values(),
        magnitude(made["bias"], f"Size of the bias{of}"),
        *(
            quantile_metric(name, title + of, np.abs(errors), share, clustering=test.clustering)
            for name, (title, share) in ranks.items()
        ),
        largest,
        r2,
    ]


def magnitude(bias: Metric, title: str) -> Metric:
    """Return the absolute value of a signed metric, with the range of absolute values in its interval."""
    update: dict[str, object] = {"name": "bias_magnitude", "title": title}
    if bias.value is not None:
        update["value"] = abs(bias.value)
    if bias.low is not None and bias.high is not None:
        update["low"] = 0.0 if bias.low <= 0 <= bias.high else min(abs(bias.low), abs(bias.high))
        update["high"] = max(abs(bias.low), abs(bias.high))
        update["method"] = f"{MAGNITUDE}; {bias.method}"
    return bias.model_copy(update=update)


def range_parts(measured: Measured, count: int) -> dict[str, np.ndarray]:
    """Return the images (bool [N]) of each of `count` equal parts of the range of each target, as `part:LOW to HIGH UNIT`.

    Parts without an image are left out; a finding names them.
    """
    return {name: member for name, member in all_parts(measured, count).items() if member.any()}


def all_parts(measured: Measured, count: int) -> dict[str, np.ndarray]:
    """Return the images of each part of the range of each target, also of those without an image."""
    parts = {}
    for column, target in enumerate(measured.targets.settings):
        low, high = target.range
        edges = np.linspace(low, high, count + 1)
        place = np.clip(
            np.searchsorted(edges, measured.targets.values[:, column], side="right") - 1, 0, count - 1
        )
        of = f"{target.name} " if len(measured.targets.settings) > 1 else ""
        for part in range(count):
            name = f"{PARTS}{of}{edges[part]:.6g} to {edges[part + 1]:.6g} {target.unit}"
            parts[name] = place == part
    return parts
