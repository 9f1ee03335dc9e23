"""The probe images explained again: with shuffled weights, for another class, with noise, under corruptions. Legend: P probe images, L levels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, partial

import numpy as np

from safeml.audits.explainability.explained import (
    Explained,
    as_floats,
    cost_of,
    explained_classes,
    item_name,
    parts_of,
)
from safeml.audits.perfect import NoModel
from safeml.audits.slices import numbers
from safeml.classifiers.base import Classifier, is_differentiable
from safeml.corruptions.engine import corrupt
from safeml.explainers.rows import ROWS
from safeml.explainers.shuffled import ShuffledCopy, cascade
from safeml.metrics.attribution import (
    box_energy,
    has_map,
    rank_correlations,
)
from safeml.metrics.classification import predictions
from safeml.sealed import Arrays, Form
from safeml.stages.explainability import SEVERITY

# Purposes of random numbers, beside the seed and the id of the image.
NOISY, OTHER_CLASS = 42, 43
# Standard deviation of the small noise under which a map should stay, in pixel units of 0..1.
SMALL_NOISE = 2 / 255
# Models with all weights shuffled, on which a method shows what it prefers by itself.
REPEATS = 3


def levels_of(run: Explained, copy: ShuffledCopy | None) -> tuple[tuple[int, ...], int]:
    """Return the number of shuffled layers at each level, and of all layers; none where the weights cannot be reached."""
    classifier = run.inputs.classifier
    if isinstance(classifier, NoModel):
        levels = run.settings.levels
        return tuple(range(1, levels + 1)) if is_differentiable(classifier) else (), levels
    layers = 0 if copy is None else len(copy.arrays)
    return (tuple(cascade(layers, run.settings.levels)) if layers else ()), layers


def checks(run: Explained, answers: np.ndarray, name: str) -> dict[str, np.ndarray]:
    """Explain the probe images again: for another class, with noise and under corruptions."""
    probe, ids = run.probe, numbers(run.probe)
    own = explained_classes(answers)[run.probe_rows]
    columns = {"images": probe.images, "ids": ids, "answers": own}
    row = ROWS[name]

    def against(item: str, width: int, compute: Callable[[slice, np.ndarray], np.ndarray]) -> np.ndarray:
        """Measure P x width correlations, each with the first map of the image."""

        def arrays(rows: slice) -> Arrays:
            first = run.first_maps(name, own, rows)
            return {"similarity": np.asarray(compute(rows, first), np.float64).reshape(len(first), width)}

        form: Form = {"similarity": ("float64", (width,))}
        item = f"{item}-{item_name(name)}"
        cost = cost_of(run, row, 1 + width)
        return run.slices.measure(item, columns, parts_of(run), form, arrays, cost=cost)["similarity"]

    def other_class(rows: slice, first: np.ndarray) -> np.ndarray:
        other = [
            other_than(run, int(label), int(identity))
            for label, identity in zip(own[rows], ids[rows], strict=True)
        ]
        return similarity_of(
            first, run.maps(run.inputs.classifier, name, probe.images[rows], np.array(other), ids[rows])
        )

    def changed(rows: slice, first: np.ndarray) -> np.ndarray:
        images = as_floats(probe.images[rows])
        noise = [
            np.random.default_rng([run.effort.seed, NOISY, int(i)]).standard_normal(images.shape[1:])
            for i in ids[rows]
        ]
        forms = [np.clip(images + np.float32(SMALL_NOISE) * np.stack(noise).astype(np.float32), 0, 1)]
        forms += [
            corrupt(probe.images[rows], c, SEVERITY, run.effort.seed, ids[rows]) for c in run.corruptions
        ]
        return np.stack([_still(run, name, form, own[rows], ids[rows], first) for form in forms], axis=1)

    one_class = probe.classes < 2
    return {
        "other_class": np.full(len(probe), np.nan) if one_class else against("class", 1, other_class)[:, 0],
        "changed": against("changed", 1 + len(run.corruptions), changed),
    }


def shuffled_checks(
    run: Explained,
    answers: np.ndarray,
    names: Sequence[str],
    levels: tuple[int, ...],
    copy: ShuffledCopy | None,
    step: Callable[[int], None],
) -> dict[str, dict[str, np.ndarray]]:
    """Explain models with shuffled weights, level by level; for each method the arrays `weights` and `alone` of `Maps`.

    A level has one order of the weights for all methods. The last level, where all weights are shuffled, is repeated with other
    orders.

    copy: what is shuffled; None for a plan, which measures nothing.
    step: is called with the number of each level.
    """
    repeats = [(count, 0) for count in levels] + [(levels[-1], number) for number in range(1, REPEATS)]
    pairs: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {name: [] for name in names}
    for number, (count, repeat) in enumerate(repeats):
        step(number)
        model = cache(partial(_model, run, copy, count, repeat))
        for name in names:
            pairs[name].append(_shuffled(run, name, answers, count, repeat, model))
    return {
        name: {
            "weights": np.concatenate([similarity for similarity, _ in made[: len(levels)]], axis=1),
            "alone": np.concatenate([inside for _, inside in made[len(levels) - 1 :]], axis=1),
        }
        for name, made in pairs.items()
    }


def _model(run: Explained, copy: ShuffledCopy | None, count: int, repeat: int) -> Classifier:
    assert copy is not None  # a plan measures nothing
    return copy.shuffle(count, run.effort.seed, repeat)


def _shuffled(
    run: Explained,
    name: str,
    answers: np.ndarray,
    count: int,
    repeat: int,
    model: Callable[[], Classifier],
) -> tuple[np.ndarray, np.ndarray]:
    """Explain a model with `count` shuffled layers, which `model` shuffles at its first call: float64 [P, 1] each.

    Returns the rank correlation of the size of its maps with those of the model, and the share of their energy on the sign.
    """
    probe, ids = run.probe, numbers(run.probe)
    own = explained_classes(answers)[run.probe_rows]
    columns = {"images": probe.images, "ids": ids, "answers": own}
    box = None if run.inside is None else run.inside[run.probe_rows]
    if box is not None:
        columns["inside"] = box

    def arrays(rows: slice) -> Arrays:
        first = run.first_maps(name, own, rows)
        second = run.maps(model(), name, probe.images[rows], own[rows], ids[rows])
        inside = np.full(len(first), np.nan) if box is None else box_energy(second, box[rows])
        similarity = similarity_of(np.abs(first), np.abs(second))
        return {"similarity": similarity[:, None], "inside": inside[:, None]}

    form: Form = {"similarity": ("float64", (1,)), "inside": ("float64", (1,))}
    parts = {**parts_of(run), "layers": count, "repeat": repeat}
    cost = cost_of(run, ROWS[name], 1)
    made = run.slices.measure(f"shuffled-{item_name(name)}", columns, parts, form, arrays, cost=cost)
    return made["similarity"], made["inside"]


def similarity_of(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the rank correlation of the first maps with others of the same images, float64 [M].

    0 where the other map is the same everywhere: the first one vanished. NaN where the first one is no map, or the other is not finite.
    """
    finite = np.isfinite(second).all(axis=(1, 2))
    vanished = has_map(first) & finite & ~has_map(second)
    return np.where(vanished, 0.0, rank_correlations(first, second))


def _still(
    run: Explained, name: str, images: np.ndarray, classes: np.ndarray, ids: np.ndarray, first: np.ndarray
) -> np.ndarray:
    """Return the correlation of the first maps with those of changed images; NaN where the predicted class changed."""
    logits = np.asarray(run.inputs.classifier.predict_logits(images))
    same = predictions(logits).classes == classes
    again = run.maps(run.inputs.classifier, name, images, classes, ids)
    return np.where(same, similarity_of(first, again), np.nan)


def other_than(run: Explained, label: int, identity: int) -> int:
    """Return another class than `label`, at random."""
    rng = np.random.default_rng([run.effort.seed, OTHER_CLASS, identity])
    return int((label + rng.integers(1, run.sample.classes)) % run.sample.classes)
