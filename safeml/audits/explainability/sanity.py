"""Whether the maps of a method depend on the model: the checks that admit it. Legend: P probe images, L levels.

Reference: J. Adebayo et al., "Sanity checks for saliency maps", 2018.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from safeml.audits.explainability.defined import (
    NO_MAP,
    ONE_CLASS,
    UNREACHABLE,
    mean_of,
    undefined,
)
from safeml.audits.explainability.measured import Maps, Measured
from safeml.results import Metric
from safeml.stages.explainability import ExplainabilitySettings

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
        nothing = undefined(
            "class_similarity", f"Similarity with another class, {title}", maps.reason, maps.name, "down"
        )
        return Sanity(None, nothing, maps.reason)
    if not maps.mapped.any():
        nothing = undefined(
            "class_similarity", f"Similarity with another class, {title}", NO_MAP, maps.name, "down"
        )
        return Sanity(None, nothing, NO_MAP)
    probe = measured.probe
    other = mean_of(
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
        other = undefined("class_similarity", other.title, ONE_CLASS, maps.name, "down")
    weights = None
    if measured.levels:
        weights = mean_of(
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


def sanity_metrics(measured: Measured, maps: Maps, sanity: Sanity) -> list[Metric]:
    weights = sanity.weights
    if weights is None:
        reason = maps.reason or (UNREACHABLE if not measured.levels else sanity.problem)
        weights = undefined(
            "weight_similarity",
            f"Similarity with the map of shuffled weights, {maps.row.title}",
            reason,
            maps.name,
            "down",
        )
    return [weights, sanity.other_class]
