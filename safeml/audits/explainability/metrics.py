"""The metrics of the stage. Legend: N images, P probe images, L levels."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from safeml.audits.explainability.defined import (
    NO_BOXES,
    NO_MAP,
    NO_OTHER,
    mean_of,
    undefined,
)
from safeml.audits.explainability.lift import lift_metric, preference, worst_lift
from safeml.audits.explainability.measured import Maps, Measured
from safeml.audits.explainability.sanity import Sanity, judge, sanity_metrics
from safeml.corruptions.rows import CORRUPTIONS
from safeml.data.dataset import ImageDataset
from safeml.results import Direction, Metric, Unit
from safeml.stages.explainability import CONTROLS, NOISE, ExplainabilitySettings
from safeml.statistics import bootstrap_metric, paired_difference_metric, proportion_metric


def all_metrics(
    measured: Measured, settings: ExplainabilitySettings, seed: int
) -> tuple[list[Metric], dict[str, Sanity]]:
    """Return every metric of the stage, and the sanity of each method by its name."""
    sanity = {maps.name: judge(measured, maps, settings, seed) for maps in measured.methods}
    admissible = [maps for maps in measured.methods if not sanity[maps.name].problem]
    metrics = [
        proportion_metric(
            "clean_accuracy_explainability_sample",
            "Clean accuracy of the explained images",
            measured.correct,
            clustering=measured.sample.clustering,
        ),
        Metric.count(
            "admissible_methods",
            "Admissible attribution methods",
            len(admissible),
            len(measured.methods),
            direction="up",
        ),
    ]
    preferences = {maps.name: preference(measured, maps, settings, seed) for maps in measured.methods}
    for maps in measured.methods:
        own, judged = preferences[maps.name], sanity[maps.name]
        metrics += [*sanity_metrics(measured, maps, judged), own]
        metrics += _method_metrics(measured, maps, own, judged.problem, settings, seed)
    worst = worst_lift(measured, admissible, preferences, settings, seed)
    return [
        *metrics,
        *worst,
        *surroundings_metrics(measured),
        _completeness(measured, settings, seed),
    ], sanity


def surroundings_metrics(measured: Measured) -> list[Metric]:
    """Return the accuracy that is lost with other surroundings, and the accuracy on the surroundings alone."""
    sample = measured.sample
    titles = {
        "background_swap_loss": "Accuracy lost with the surroundings of another image",
        "background_grey_loss": "Accuracy lost with grey surroundings",
    }
    removed = "Accuracy on the surroundings alone, with a grey box instead of the sign"
    if measured.surroundings is None or measured.donated is None:
        return [
            *(
                undefined(name, title, NO_BOXES, "all", "down", n=len(sample))
                for name, title in titles.items()
            ),
            undefined("sign_removed_accuracy", removed, NO_BOXES, "all", "down", n=len(sample)),
        ]
    donated = measured.donated
    if donated.any():
        swapped = paired_difference_metric(
            "background_swap_loss",
            titles["background_swap_loss"],
            measured.correct[donated],
            measured.surroundings["swapped"][donated],
            clustering=sample.clustering.take(donated),
        )
    else:
        swapped = undefined(
            "background_swap_loss", titles["background_swap_loss"], NO_OTHER, "all", "down", n=len(sample)
        )
    return [
        swapped,
        paired_difference_metric(
            "background_grey_loss",
            titles["background_grey_loss"],
            measured.correct,
            measured.surroundings["grey"],
            clustering=sample.clustering,
        ),
        proportion_metric(
            "sign_removed_accuracy",
            removed,
            measured.surroundings["removed"],
            clustering=sample.clustering,
            direction="down",
        ),
    ]


@dataclass(frozen=True, eq=False)
class _Mean:
    """A mean over images. values: float [M] of the images of `data`; NaN where it is undefined. reason: why it is not measured."""

    name: str
    title: str
    where: str
    values: np.ndarray
    data: ImageDataset
    direction: Direction = "up"
    bounds: tuple[float, float] = (0.0, 1.0)
    unit: Unit = "proportion"
    reason: str = ""


def _means(measured: Measured, maps: Maps) -> list[_Mean]:
    """Return what is averaged over the images of one method."""
    sample, name, title = measured.sample, maps.name, maps.row.title
    no_boxes = NO_BOXES if measured.area is None else ""
    means = [
        _Mean(
            "sign_iou",
            f"Overlap of the map with the sign (IoU), {title}",
            name,
            maps.iou,
            sample,
            reason=no_boxes,
        ),
        _Mean("insertion_auc", f"Insertion AUC, {title}", name, maps.insertion, sample),
        _Mean("deletion_auc", f"Deletion AUC, {title}", name, maps.deletion, sample, "down"),
    ]
    for control in CONTROLS:
        insertion, deletion = measured.controls[control]
        own = maps.insertion - maps.deletion if not maps.reason else np.full(len(sample), np.nan)
        where = f"{name}-{control}"
        gain = own - (insertion - deletion)
        means.append(
            _Mean(
                "faithfulness_gain", _against(title, control), where, gain, sample, "up", (-2.0, 2.0), "ratio"
            )
        )
    for column, form in enumerate((NOISE, *measured.corruptions)):
        values = maps.changed[:, column] if not maps.reason else np.zeros(0)
        where = f"{name}-{form}"
        means.append(
            _Mean(
                "map_stability",
                _under(title, form),
                where,
                values,
                measured.probe,
                "up",
                (-1.0, 1.0),
                "ratio",
            )
        )
    return means


def _method_metrics(
    measured: Measured, maps: Maps, own: Metric, problem: str, settings: ExplainabilitySettings, seed: int
) -> list[Metric]:
    """Return what is measured on the maps of one method; undefined where the method is not admissible.

    own: the `preference` of the method. problem: as in `Sanity`.
    """
    sample, name, means = measured.sample, maps.name, _means(measured, maps)
    titles = {
        "saliency_lift": f"Attribution on the sign against its share of the image, {maps.row.title}",
        "pointing_game": f"Pointing game, {maps.row.title}",
    }
    reason = problem if maps.reason or problem in ("", NO_MAP) else f"the method is not admissible: {problem}"
    if reason:
        return [
            undefined("saliency_lift", titles["saliency_lift"], reason, name, "up", "ratio", len(sample)),
            undefined("pointing_game", titles["pointing_game"], reason, name, "up", n=len(sample)),
            *(undefined(m.name, m.title, reason, m.where, m.direction, m.unit, len(m.data)) for m in means),
        ]
    if measured.area is None:
        pointing = undefined("pointing_game", titles["pointing_game"], NO_BOXES, name, "up", n=len(sample))
    else:
        pointing = proportion_metric(
            "pointing_game", titles["pointing_game"], maps.hits, clustering=sample.clustering, slice=name
        )
    return [
        lift_metric(measured, maps, own, settings, seed, name),
        pointing,
        *(
            undefined(m.name, m.title, m.reason, m.where, m.direction, m.unit, len(m.data))
            if m.reason
            else mean_of(
                m.name, m.title, m.values, m.data, m.where, seed, settings, m.direction, m.bounds, m.unit
            )
            for m in means
        ),
    ]


def _completeness(measured: Measured, settings: ExplainabilitySettings, seed: int) -> Metric:
    title = "Error of the completeness of integrated gradients, median, as a share of the change of the logit"
    errors = [
        maps.error[np.isfinite(maps.error)]
        for maps in measured.methods
        if maps.name == "integrated_gradients" and not maps.reason
    ]
    if not errors or not len(errors[0]):
        return undefined(
            "completeness_error", title, "integrated gradients were not measured", "all", "down", "ratio"
        )
    values = errors[0]
    known = np.isfinite(next(maps.error for maps in measured.methods if maps.name == "integrated_gradients"))
    return bootstrap_metric(
        "completeness_error",
        title,
        lambda rows: float(np.median(values[rows])),
        len(values),
        clustering=measured.sample.clustering.take(known),
        direction="down",
        unit="ratio",
        seed=seed,
        resamples=settings.bootstrap,
        bounds=(0.0, math.inf),
    )


def _against(title: str, control: str) -> str:
    words = {"random": "a random map", "centre": "a map of the centre"}[control]
    return f"Insertion minus deletion AUC against {words}, {title}"


def _under(title: str, form: str) -> str:
    words = "small noise" if form == NOISE else CORRUPTIONS[form].title.lower()
    return f"Similarity of the maps under {words}, {title}"
