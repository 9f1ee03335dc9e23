"""The lift: how much of a map lies on the sign, against the share of the image that the sign covers. Legend: N images, P probe images."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from safeml.audits.explainability.defined import NO_BOXES, NO_MAP, UNREACHABLE, WHOLE, WORST_LIFT, undefined
from safeml.audits.explainability.measured import Maps, Measured
from safeml.audits.weakest import LEVEL, joint_level, weakest_of
from safeml.results import Metric
from safeml.stages.explainability import ExplainabilitySettings
from safeml.statistics import bootstrap_metric, drawn_metric, resample_counts

NAME = "saliency_lift"
NO_METHOD = "no attribution method is admissible"


def lift_metric(
    measured: Measured,
    maps: Maps,
    own: Metric,
    settings: ExplainabilitySettings,
    seed: int,
    where: str,
    member: np.ndarray | None = None,
) -> Metric:
    """Return the lift of one method: the mean share of the energy on the sign, divided by the mean share of the pixels.

    own: the `preference` of the method. Where it is above 1, the lift is divided by it: many methods prefer high contrast, which
        signs have.
    member: bool [N], the images; by default all. An image whose map points nowhere counts as no energy on the sign.

    Undefined where no image has a map, without boxes, and where the boxes leave no surroundings: then every map would give 1.
    """
    [metric] = _lifts(measured, [maps], {maps.name: own}, settings, seed, where, member, LEVEL)
    return metric


def preference(measured: Measured, maps: Maps, settings: ExplainabilitySettings, seed: int) -> Metric:
    """Return the lift of a method on models with all weights shuffled, the largest of several, over the probe images.

    It is computed as the lift of the model: an image whose map points nowhere counts as no energy on the sign.
    Undefined without boxes, and where the weights cannot be reached.
    """
    name, title = "method_preference", f"Lift on the sign with shuffled weights, {maps.row.title}"
    if measured.probe_area is None:
        return undefined(name, title, NO_BOXES, maps.name, "down", "ratio")
    if not maps.alone.shape[1]:
        return undefined(name, title, maps.reason or UNREACHABLE, maps.name, "down", "ratio")
    used = measured.probe_area < 1
    if not used.any():
        return undefined(name, title, WHOLE, maps.name, "down", "ratio")
    shares = np.nan_to_num(maps.alone[used])
    energy, area = shares[:, int(shares.mean(axis=0).argmax())], measured.probe_area[used]
    return bootstrap_metric(
        name,
        title,
        lambda rows: float(energy[rows].mean() / area[rows].mean()),
        len(energy),
        clustering=measured.probe.clustering.take(used),
        direction="down",
        unit="ratio",
        seed=seed,
        resamples=settings.bootstrap,
        slice=maps.name,
        bounds=(0.0, math.inf),
    )


def worst_lift(
    measured: Measured,
    admissible: list[Maps],
    preferences: Mapping[str, Metric],
    settings: ExplainabilitySettings,
    seed: int,
) -> list[Metric]:
    """Return the lift of the worst admissible method, over all images and for each class.

    preferences: by the name of the method.
    """
    count = len(measured.sample)
    if measured.area is None:
        return [undefined(NAME, WORST_LIFT, NO_BOXES, "all", "up", "ratio", count)]
    if not admissible:
        return [undefined(NAME, WORST_LIFT, NO_METHOD, "all", "up", "ratio", count)]

    def worst(where: str, title: str, member: np.ndarray | None = None) -> Metric:
        own, wide = (
            _lifts(measured, admissible, preferences, settings, seed, where, member, level)
            for level in (LEVEL, joint_level(len(admissible)))
        )
        missing = [metric for metric in own if metric.value is None]
        if missing:
            return undefined(NAME, title, missing[0].reason, where, "up", "ratio", missing[0].n)
        return weakest_of(NAME, title, own, wide, len(own), "methods").model_copy(update={"slice": where})

    labels = measured.sample.labels
    return [
        worst("all", WORST_LIFT),
        *(
            worst(f"class:{name}", f"{WORST_LIFT}, {name}", np.asarray(labels == label))
            for label, name in enumerate(measured.sample.class_names)
            if (labels == label).any()
        ),
    ]


def plain_lift(measured: Measured, maps: Maps, member: np.ndarray) -> float | None:
    """Return the lift of one method on some images as it is measured, without an interval; None where it is undefined.

    member: bool [N].
    """
    if measured.area is None or maps.reason or not maps.mapped[member & (measured.area < 1)].any():
        return None
    used = member & (measured.area < 1)
    return float(np.nan_to_num(maps.inside[used]).mean() / measured.area[used].mean())


def _lifts(
    measured: Measured,
    methods: list[Maps],
    preferences: Mapping[str, Metric],
    settings: ExplainabilitySettings,
    seed: int,
    where: str,
    member: np.ndarray | None,
    level: float,
) -> list[Metric]:
    """Return the lift of each method; all are computed on the same resamples."""
    titles = [f"Attribution on the sign against its share of the image, {maps.row.title}" for maps in methods]
    if measured.area is None:
        return [undefined(NAME, title, NO_BOXES, where, "up", "ratio") for title in titles]
    used = (measured.area < 1) if member is None else member & (measured.area < 1)
    count = int(used.sum())
    if not count:
        return [undefined(NAME, title, WHOLE, where, "up", "ratio") for title in titles]
    clustering, area = measured.sample.clustering.take(used), measured.area[used]
    counts = resample_counts(count, clustering, seed, settings.bootstrap)
    made = []
    for maps, title in zip(methods, titles, strict=True):
        if not maps.mapped[used].any():
            made.append(undefined(NAME, title, NO_MAP, where, "up", "ratio", count))
            continue
        energy = np.nan_to_num(maps.inside[used])
        metric = drawn_metric(
            NAME,
            title,
            float(energy.mean() / area.mean()),
            counts @ energy / (counts @ area),
            count,
            clustering=clustering,
            direction="up",
            unit="ratio",
            level=level,
            slice=where,
            bounds=(0.0, math.inf),
        )
        made.append(_divided(metric, preferences[maps.name]))
    return made


def _divided(lift: Metric, own: Metric) -> Metric:
    """Return a lift divided by the preference of the method where that is above 1; each end by the end that is worse for it."""
    if lift.value is None or own.value is None:
        return lift

    def by(end: float | None) -> float:
        known = own.value if end is None else end
        return 1.0 if known is None else max(1.0, known)

    return lift.model_copy(
        update={
            "value": lift.value / by(own.value),
            "low": None if lift.low is None else lift.low / by(own.high),
            "high": None if lift.high is None else lift.high / by(own.low),
            "method": f"{lift.method}; divided by the lift with shuffled weights where that is above 1",
        }
    )
