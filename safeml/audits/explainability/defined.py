"""Metrics of values that are defined for some images, and reasons why they are not. Legend: M images."""

from __future__ import annotations

import numpy as np

from safeml.data.dataset import ImageDataset
from safeml.results import Direction, Metric, Unit
from safeml.stages.explainability import ExplainabilitySettings
from safeml.statistics import bootstrap_metric

NO_BOXES = "the data have no boxes of the signs"
WHOLE = "the boxes cover whole images, so that there are no surroundings"
NO_MAP = "no map points anywhere: the gradient or the change of the logit is the same for all pixels"
NO_OTHER = "all images are of one class, so that no image of another class can give its surroundings"
ONE_CLASS = "the model has one class"
UNREACHABLE = "the weights of the model cannot be reached"
WORST_LIFT = "Attribution on the sign against its share of the image, worst admissible method"


def mean_of(
    name: str,
    title: str,
    values: np.ndarray,
    data: ImageDataset,
    where: str,
    seed: int,
    settings: ExplainabilitySettings,
    direction: Direction,
    bounds: tuple[float, float],
    unit: Unit = "ratio",
) -> Metric:
    """Return the mean of the values that are defined, with its bootstrap interval over sign tracks. values: float [M] of `data`."""
    known = np.isfinite(values)
    if not known.any():
        return undefined(name, title, "it is defined for no image", where, direction, unit, len(values))
    own = values[known]
    return bootstrap_metric(
        name,
        title,
        lambda rows: float(own[rows].mean()),
        len(own),
        clustering=data.clustering.take(known),
        direction=direction,
        unit=unit,
        seed=seed,
        resamples=settings.bootstrap,
        slice=where,
        bounds=bounds,
    )


def undefined(
    name: str,
    title: str,
    reason: str,
    where: str,
    direction: Direction,
    unit: Unit = "proportion",
    n: int = 0,
) -> Metric:
    return Metric.undefined(name, title, reason, direction=direction, unit=unit, slice=where, n=n)
