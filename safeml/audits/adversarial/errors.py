"""The largest errors of a regression model within each threat. Legend: N images, T targets, H W C pixels.

An attack finds a lower bound of the largest error: another attack may find a larger one. Each image counts the largest error of
the clean image, of its adversarial examples at a smaller epsilon of the same norm, and of the ascent at this epsilon.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from safeml.audits.adversarial.campaign import Campaign
from safeml.audits.adversarial.items import Items
from safeml.audits.slices import numbers
from safeml.classifiers.batches import until_it_fits
from safeml.data.targets import Targets
from safeml.metrics.perturbation import project
from safeml.metrics.regression import mean_absolute_error
from safeml.results import Curve, Metric, Series
from safeml.sealed import Arrays
from safeml.settings.targets import TargetSettings
from safeml.stages.base import TARGETS
from safeml.statistics import bootstrap_metric, quantile_metric
from safeml.threats import NORM_NAMES, Threat, threat_words
from safeml.wording import counted
from safeml.work import Cost

NO_BOUND = "none: the largest error found in a sample bounds no other image"
NO_UPPER = "none: {}, so larger errors may exist"
RESAMPLES = 200


@dataclass(frozen=True, eq=False)
class WorstErrors:
    """The largest absolute errors found, float64 [N, T] by threat; infinite where a prediction is not finite.

    clean: the same without an attack.
    """

    targets: Targets
    clean: np.ndarray
    by_threat: dict[Threat, np.ndarray]


def worst_errors(campaign: Campaign, targets: Targets) -> WorstErrors:
    """Climb the error of each image to both sides of each target, at each threat of the settings."""
    items, settings = campaign.items, campaign.settings
    clean = _errors(items, items.clean.images, targets, "clean-errors")
    found: dict[Threat, np.ndarray] = {}
    for norm in dict.fromkeys(threat.norm for threat in settings.threats):
        rising = sorted((t for t in settings.threats if t.norm == norm), key=lambda threat: threat.epsilon)
        largest = clean
        for threat in rising:
            for side in range(1, 2 * len(targets.settings) + 1):
                campaign.progress(f"largest error, {threat_words(threat)}", side, 2 * len(targets.settings))
                largest = np.maximum(largest, _ascended(items, targets, threat, side, settings.apgd_steps))
            found[threat] = largest
    return WorstErrors(targets, clean, found)


def _errors(items: Items, images: np.ndarray, targets: Targets, item: str) -> np.ndarray:
    """Return the absolute errors of images, float64 [N, T]."""

    def measured(rows: slice) -> Arrays:
        return {"errors": _absolute(items, images[rows], targets.values[rows])}

    columns = {"images": images, "targets": targets.values, "ids": numbers(items.sample)}
    form = {"errors": ("float64", (len(targets.settings),))}
    return items.slices.measure(item, columns, {}, form, measured)["errors"]


def _absolute(items: Items, images: np.ndarray, values: np.ndarray) -> np.ndarray:
    predicted = np.asarray(items.inputs.classifier.predict_logits(images), np.float64)
    errors = np.abs(predicted - values)
    return np.where(np.isfinite(errors), errors, np.inf)


def _ascended(items: Items, targets: Targets, threat: Threat, side: int, steps: int) -> np.ndarray:
    """Return the absolute errors of the images that the ascent to one side gives back, projected and predicted again."""
    clean, ids = items.clean, numbers(items.sample)

    def measured(rows: slice) -> Arrays:
        from safeml.attacks.ascent import ascend
        from safeml.attacks.base import Budget

        part = clean.take(rows)

        def attacked(batch: int) -> np.ndarray:
            budget = Budget(steps, 1, items.inputs.seed, batch)
            classifier = items.inputs.classifier
            return ascend(classifier, part.images.copy(), part.truths, threat, budget, ids[rows], side)  # type: ignore[arg-type]  # it has a gradient

        returned = until_it_fits(items.attacking, attacked)
        usable = np.where(np.isfinite(returned), returned, part.images)
        return {"errors": _absolute(items, project(part.images, usable, threat), targets.values[rows])}

    columns = {"images": clean.images, "targets": targets.values, "ids": ids}
    form = {"errors": ("float64", (len(targets.settings),))}
    parts = {
        "threat": threat.model_dump(mode="json"),
        "side": side,
        "steps": steps,
        "batch": items.attacking.first,
    }
    cost = Cost(steps, 1, True, threat.norm)
    return items.slices.measure(f"ascent-{threat.label}-{side}", columns, parts, form, measured, cost=cost)[
        "errors"
    ]


def error_metrics(
    campaign: Campaign, worst: WorstErrors | None, targets: Targets, why: str, seed: int
) -> list[Metric]:
    """Return mean, 95 % quantile and largest of the largest errors found, by threat and target.

    worst: None where the model gives no gradient.
    why: why an attack may have failed for other reasons than robustness, so that no interval is given; "" if it has not.
    """
    metrics = []
    single = len(targets.settings) == 1
    for threat in campaign.settings.threats:
        for column, target in enumerate(targets.settings):
            own = _of_target(campaign, worst, threat, column, target, why, seed)
            metrics += [metric.model_copy(update={"slice": f"{TARGETS}{target.name}"}) for metric in own]
            if single:
                metrics += own
            elif column == 0:
                reason = "the targets have different units; read the slice of one of them"
                metrics += [
                    Metric.undefined(metric.name, metric.title, reason, direction="down", unit="target")
                    for metric in own
                ]
    return metrics


def _of_target(
    campaign: Campaign,
    worst: WorstErrors | None,
    threat: Threat,
    column: int,
    target: TargetSettings,
    why: str,
    seed: int,
) -> list[Metric]:
    at = f"at {threat_words(threat)}, {target.unit}"
    titles = {
        f"worst_mae.{threat.label}": f"Mean of the largest absolute errors of {target.name} found {at}",
        f"worst_error_p95.{threat.label}": f"95 % quantile of the largest absolute errors of {target.name} found {at}",
        f"worst_error_max.{threat.label}": f"Largest absolute error of {target.name} found {at}",
    }
    mae, p95, largest = titles
    reason = "the model gives no gradient, and the largest error is not searched for by queries"
    if worst is not None:
        void = int((~np.isfinite(worst.by_threat[threat][:, column])).sum())
        reason = f"the prediction is not finite for {counted(void, 'image')}" if void else ""
    if worst is None or reason:
        return [
            Metric.undefined(name, title, reason, direction="down", unit="target")
            for name, title in titles.items()
        ]
    errors, clustering = worst.by_threat[threat][:, column], campaign.items.sample.clustering
    metrics = [
        bootstrap_metric(
            mae,
            titles[mae],
            lambda rows: mean_absolute_error(errors[rows]),
            len(errors),
            clustering=clustering,
            direction="down",
            unit="target",
            seed=seed,
            resamples=RESAMPLES,
            bounds=(0.0, np.inf),
        ),
        quantile_metric(p95, titles[p95], errors, 0.95, clustering=clustering),
    ]
    if why:
        metrics = [
            metric.model_copy(update={"low": None, "high": None, "method": NO_UPPER.format(why)})
            for metric in metrics
        ]
    top = metrics[1].model_copy(
        update={
            "name": largest,
            "title": titles[largest],
            "value": float(errors.max()),
            "low": None,
            "high": None,
            "method": NO_BOUND,
        }
    )
    return [*metrics, top]


def error_curves(worst: WorstErrors, seed: int) -> list[Curve]:
    """Draw the largest errors found against epsilon, one figure for each target."""
    curves = []
    for column, target in enumerate(worst.targets.settings):
        for norm in dict.fromkeys(threat.norm for threat in worst.by_threat):
            rising = sorted((t for t in worst.by_threat if t.norm == norm), key=lambda threat: threat.epsilon)
            scale = 255.0 if norm == "linf" else 1.0
            errors = [worst.clean[:, column], *(worst.by_threat[threat][:, column] for threat in rising)]
            if not all(np.isfinite(part).all() for part in errors):
                continue
            x = [0.0, *(threat.epsilon * scale for threat in rising)]
            series = [
                Series(name="mean", x=x, y=[float(part.mean()) for part in errors], role="main"),
                Series(
                    name="95 % quantile",
                    x=x,
                    y=[float(np.quantile(part, 0.95, method="inverted_cdf")) for part in errors],
                ),
            ]
            if target.tolerance is not None:
                series.append(
                    Series(name="tolerance", x=[x[0], x[-1]], y=[target.tolerance] * 2, role="bound")
                )
            curves.append(
                Curve(
                    id=f"worst-error-{target.name}-{norm}",
                    title=f"Largest absolute error of {target.name} found, {NORM_NAMES[norm]}",
                    x_label=f"epsilon{', in 1/255' if norm == 'linf' else ''} (0: clean)",
                    y_label=f"Absolute error, {target.unit}",
                    series=series,
                    caption="The largest error of each image that APGD found to either side; another attack may find a larger one.",
                )
            )
    return curves
