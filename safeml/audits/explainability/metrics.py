"""The metrics of the stage. Legend: N images, P probe images, L levels."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from safeml.audits.explainability.measured import Maps, Measured
from safeml.audits.weakest import LEVEL, joint_level, weakest_of
from safeml.corruptions.rows import CORRUPTIONS
from safeml.data.dataset import ImageDataset
from safeml.results import Direction, Metric, Unit
from safeml.stages.explainability import CONTROLS, NOISE, ExplainabilitySettings
from safeml.statistics import bootstrap_metric, paired_difference_metric, proportion_metric

NO_BOXES = "the data have no boxes of the signs"
WHOLE = "the boxes cover whole images, so that there are no surroundings"
NO_MAP = "no map points anywhere: the gradient or the change of the logit is the same for all pixels"
NO_OTHER = "all images are of one class, so that no image of another class can give its surroundings"
ONE_CLASS = "the model has one class"
UNREACHABLE = "the weights of the model cannot be reached"
WORST_LIFT = "Attribution on the sign against its share of the image, worst admissible method"
# Of the probe images, a sanity check needs this share with both maps.
ENOUGH = 0.5


@dataclass(frozen=True)
class Sanity:
    """Whether the maps of a method depend on the model.

    weights: similarity with the maps of a model whose weights are all shuffled; None where they cannot be reached.
    other_class: similarity with the maps of another class.
    problem: why the method is not admissible, a clause; "" if it is.
    """

    weights: Metric | None
    other_class: Metric
    problem: str


def judge(measured: Measured, maps: Maps, settings: ExplainabilitySettings, seed: int) -> Sanity:
    """Run the sanity checks of one method on what was measured.

    A method is admissible if its maps change when all weights are shuffled, and for another class: the upper end of both
    similarities is at most `largest_similarity`. A check that could not be made admits nothing, except that shuffled weights are
    not asked of a file whose weights cannot be reached.
    """
    title = maps.row.title
    if maps.reason:
        nothing = _undefined(
            "class_similarity", f"Similarity with another class, {title}", maps.reason, maps.name, "down"
        )
        return Sanity(None, nothing, maps.reason)
    if not maps.mapped.any():
        nothing = _undefined(
            "class_similarity", f"Similarity with another class, {title}", NO_MAP, maps.name, "down"
        )
        return Sanity(None, nothing, NO_MAP)
    probe = measured.probe
    other = _mean_metric(
        "class_similarity",
        f"Similarity with the map of another class, {title}",
        maps.other_class,
        probe,
        maps.name,
        seed,
        settings,
        "down",
        (-1.0, 1.0),
    )
    if probe.classes < 2:
        other = _undefined("class_similarity", other.title, ONE_CLASS, maps.name, "down")
    weights = None
    if measured.levels:
        weights = _mean_metric(
            "weight_similarity",
            f"Similarity with the map of shuffled weights, {title}",
            maps.weights[:, -1],
            probe,
            maps.name,
            seed,
            settings,
            "down",
            (-1.0, 1.0),
        )
    limit, problem = settings.largest_similarity, ""
    for metric, values, changed in (
        (other, maps.other_class, "for another class"),
        (weights, maps.weights[:, -1] if measured.levels else None, "with shuffled weights"),
    ):
        if metric is None or values is None or problem:
            continue
        if metric.value is None or np.isfinite(values).mean() < ENOUGH:
            problem = (
                f"too few probe images have a map {changed}" if metric.reason != ONE_CLASS else ONE_CLASS
            )
        elif max(metric.value, -1.0 if metric.high is None else metric.high) > limit:
            problem = f"its maps hardly change {changed}"
    return Sanity(weights, other, problem)


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
    for maps in measured.methods:
        metrics += [
            *_sanity_metrics(measured, maps, sanity[maps.name]),
            preference(measured, maps, settings, seed),
        ]
        metrics += _method_metrics(measured, maps, sanity[maps.name].problem, settings, seed)
    worst = worst_lift(measured, admissible, settings, seed)
    return [
        *metrics,
        *worst,
        *surroundings_metrics(measured),
        _completeness(measured, settings, seed),
    ], sanity


def lift_metric(
    measured: Measured,
    maps: Maps,
    settings: ExplainabilitySettings,
    seed: int,
    where: str,
    member: np.ndarray | None = None,
    level: float = LEVEL,
) -> Metric:
    """Return the lift of one method: the mean share of the energy on the sign, divided by the mean share of the pixels.

    member: bool [N], the images; by default all. An image whose map points nowhere counts as no energy on the sign.

    Where the same method has a larger lift on models with shuffled weights, which know nothing of signs, the lift is divided by
    theirs (`preference`): many methods prefer high contrast, which signs have.
    Undefined where no image has a map, without boxes, and where the boxes leave no surroundings: then every map would give 1.
    """
    name, title = "saliency_lift", f"Attribution on the sign against its share of the image, {maps.row.title}"
    if measured.area is None:
        return _undefined(name, title, NO_BOXES, where, "up", "ratio")
    member = np.ones(len(measured.sample), bool) if member is None else member
    used = member & (measured.area < 1)
    if not used.any():
        return _undefined(name, title, WHOLE, where, "up", "ratio")
    if not maps.mapped[used].any():
        return _undefined(name, title, NO_MAP, where, "up", "ratio", int(used.sum()))
    energy, area = np.nan_to_num(maps.inside[used]), measured.area[used]
    metric = bootstrap_metric(
        name,
        title,
        lambda rows: float(energy[rows].mean() / area[rows].mean()),
        int(used.sum()),
        clustering=measured.sample.clustering.take(used),
        direction="up",
        unit="ratio",
        seed=seed,
        resamples=settings.bootstrap,
        level=level,
        slice=where,
        bounds=(0.0, math.inf),
    )
    return _divided(metric, preference(measured, maps, settings, seed))


def preference(measured: Measured, maps: Maps, settings: ExplainabilitySettings, seed: int) -> Metric:
    """Return the lift of a method on models with all weights shuffled, the largest of several, over the probe images.

    Undefined without boxes, and where the weights cannot be reached.
    """
    name, title = "method_preference", f"Lift on the sign with shuffled weights, {maps.row.title}"
    if measured.probe_area is None:
        return _undefined(name, title, NO_BOXES, maps.name, "down", "ratio")
    if not maps.alone.shape[1]:
        return _undefined(name, title, maps.reason or UNREACHABLE, maps.name, "down", "ratio")
    used = measured.probe_area < 1
    if not used.any():
        return _undefined(name, title, WHOLE, maps.name, "down", "ratio")
    alone, area = maps.alone[used], measured.probe_area[used]
    means = [float(np.mean(np.nan_to_num(column))) for column in alone.T]
    largest = np.nan_to_num(alone[:, int(np.argmax(means))])
    return bootstrap_metric(
        name,
        title,
        lambda rows: float(largest[rows].mean() / area[rows].mean()),
        int(used.sum()),
        clustering=measured.probe.clustering.take(used),
        direction="down",
        unit="ratio",
        seed=seed,
        resamples=settings.bootstrap,
        slice=maps.name,
        bounds=(0.0, math.inf),
    )


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


def worst_lift(
    measured: Measured, admissible: list[Maps], settings: ExplainabilitySettings, seed: int
) -> list[Metric]:
    """Return the lift of the worst admissible method, over all images and for each class."""
    name = "saliency_lift"
    if measured.area is None:
        return [_undefined(name, WORST_LIFT, NO_BOXES, "all", "up", "ratio", len(measured.sample))]
    if not admissible:
        return [
            _undefined(
                name,
                WORST_LIFT,
                "no attribution method is admissible",
                "all",
                "up",
                "ratio",
                len(measured.sample),
            )
        ]

    def worst(where: str, title: str, member: np.ndarray | None = None) -> Metric:
        own = [lift_metric(measured, maps, settings, seed, where, member) for maps in admissible]
        undefined = [metric for metric in own if metric.value is None]
        if undefined:
            return _undefined(name, title, undefined[0].reason, where, "up", "ratio", undefined[0].n)
        level = joint_level(len(own))
        wide = [lift_metric(measured, maps, settings, seed, where, member, level) for maps in admissible]
        return weakest_of(name, title, own, wide, len(own), "methods").model_copy(update={"slice": where})

    labels = measured.sample.labels
    present = [
        (label, text) for label, text in enumerate(measured.sample.class_names) if (labels == label).any()
    ]
    return [
        worst("all", WORST_LIFT),
        *(
            worst(f"class:{text}", f"{WORST_LIFT}, {text}", np.asarray(labels == label))
            for label, text in present
        ),
    ]


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
                _undefined(name, title, NO_BOXES, "all", "down", n=len(sample))
                for name, title in titles.items()
            ),
            _undefined("sign_removed_accuracy", removed, NO_BOXES, "all", "down", n=len(sample)),
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
        swapped = _undefined(
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


def _sanity_metrics(measured: Measured, maps: Maps, sanity: Sanity) -> list[Metric]:
    weights = sanity.weights
    if weights is None:
        reason = maps.reason or (UNREACHABLE if not measured.levels else sanity.problem)
        weights = _undefined(
            "weight_similarity",
            f"Similarity with the map of shuffled weights, {maps.row.title}",
            reason,
            maps.name,
            "down",
        )
    return [weights, sanity.other_class]


def _method_metrics(
    measured: Measured, maps: Maps, problem: str, settings: ExplainabilitySettings, seed: int
) -> list[Metric]:
    """Return what is measured on the maps of one method; undefined where the method is not admissible."""
    sample, name, title = measured.sample, maps.name, maps.row.title
    forms = [NOISE, *measured.corruptions]
    if problem:
        reason = problem if maps.reason or problem == NO_MAP else f"the method is not admissible: {problem}"
        declared: list[tuple[str, str, str, Direction, Unit]] = [
            (
                "saliency_lift",
                f"Attribution on the sign against its share of the image, {title}",
                name,
                "up",
                "ratio",
            ),
            ("pointing_game", f"Pointing game, {title}", name, "up", "proportion"),
            ("sign_iou", f"Overlap of the map with the sign (IoU), {title}", name, "up", "proportion"),
            ("insertion_auc", f"Insertion AUC, {title}", name, "up", "proportion"),
            ("deletion_auc", f"Deletion AUC, {title}", name, "down", "proportion"),
            *((("faithfulness_gain", _against(title, c), f"{name}-{c}", "up", "ratio")) for c in CONTROLS),
            *((("map_stability", _under(title, form), f"{name}-{form}", "up", "ratio")) for form in forms),
        ]
        return [
            _undefined(metric, words, reason, where, direction, unit, len(sample))
            for metric, words, where, direction, unit in declared
        ]
    metrics = [lift_metric(measured, maps, settings, seed, name)]
    if measured.area is None:
        metrics += [
            _undefined("pointing_game", f"Pointing game, {title}", NO_BOXES, name, "up", n=len(sample)),
            _undefined(
                "sign_iou",
                f"Overlap of the map with the sign (IoU), {title}",
                NO_BOXES,
                name,
                "up",
                n=len(sample),
            ),
        ]
    else:
        metrics += [
            proportion_metric(
                "pointing_game",
                f"Pointing game, {title}",
                maps.hits,
                clustering=sample.clustering,
                slice=name,
            ),
            _mean_metric(
                "sign_iou",
                f"Overlap of the map with the sign (IoU), {title}",
                maps.iou,
                sample,
                name,
                seed,
                settings,
                "up",
                (0.0, 1.0),
                unit="proportion",
            ),
        ]
    for metric, words, areas, better in (
        ("insertion_auc", "Insertion AUC", maps.insertion, "up"),
        ("deletion_auc", "Deletion AUC", maps.deletion, "down"),
    ):
        metrics.append(
            _mean_metric(
                metric,
                f"{words}, {title}",
                areas,
                sample,
                name,
                seed,
                settings,
                "up" if better == "up" else "down",
                (0.0, 1.0),
                unit="proportion",
            )
        )
    for control in CONTROLS:
        insertion, deletion = measured.controls[control]
        gain = (maps.insertion - maps.deletion) - (insertion - deletion)
        metrics.append(
            _mean_metric(
                "faithfulness_gain",
                _against(title, control),
                gain,
                sample,
                f"{name}-{control}",
                seed,
                settings,
                "up",
                (-2.0, 2.0),
            )
        )
    for column, form in enumerate(forms):
        metrics.append(
            _mean_metric(
                "map_stability",
                _under(title, form),
                maps.changed[:, column],
                measured.probe,
                f"{name}-{form}",
                seed,
                settings,
                "up",
                (-1.0, 1.0),
            )
        )
    return metrics


def _completeness(measured: Measured, settings: ExplainabilitySettings, seed: int) -> Metric:
    title = "Error of the completeness of integrated gradients, median, as a share of the change of the logit"
    errors = [
        maps.error[np.isfinite(maps.error)]
        for maps in measured.methods
        if maps.name == "integrated_gradients" and not maps.reason
    ]
    if not errors or not len(errors[0]):
        return _undefined(
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


def _mean_metric(
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
        return _undefined(name, title, "it is defined for no image", where, direction, unit, len(values))
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


def _undefined(
    name: str,
    title: str,
    reason: str,
    where: str,
    direction: Direction,
    unit: Unit = "proportion",
    n: int = 0,
) -> Metric:
    return Metric.undefined(name, title, reason, direction=direction, unit=unit, slice=where, n=n)
