"""The maps of every image by one method, measured in slices that are stored. Legend: N images, M images of a slice, H W C pixels."""

from __future__ import annotations

from typing import Any

import numpy as np

from safeml.audits.explainability.curves import curve_areas
from safeml.audits.explainability.explained import (
    Explained,
    as_floats,
    columns_of,
    cost_of,
    explained_classes,
    item_name,
    parts_of,
)
from safeml.audits.explainability.measured import Maps
from safeml.audits.slices import numbers
from safeml.explainers.rows import ROWS
from safeml.metrics.attribution import (
    box_energy,
    box_iou,
    centre_map,
    has_map,
    pointing_hits,
)
from safeml.metrics.classification import NO_ANSWER
from safeml.sealed import Arrays, Form
from safeml.work import Cost

# The purpose of these random numbers, beside the seed and the id of the image.
RANDOM_MAP = 44


def explain_all(run: Explained, answers: np.ndarray, name: str) -> Maps:
    """Explain every image of the sample by one method."""
    sample, ids, classes = run.sample, numbers(run.sample), explained_classes(answers)
    integrated = name == "integrated_gradients"

    def compute(rows: slice) -> Arrays:
        images = as_floats(sample.images[rows])
        maps = run.maps(run.inputs.classifier, name, images, classes[rows], ids[rows])
        count = len(images)
        mapped = has_map(maps) & (answers[rows] != NO_ANSWER)
        measured: Arrays = {"mapped": mapped, "inside": np.full(count, np.nan), "hits": np.zeros(count, bool)}
        measured |= {"iou": np.full(count, np.nan), "error": np.full(count, np.nan)}
        if run.inside is not None:
            box = run.inside[rows]
            measured["inside"] = np.where(mapped, box_energy(maps, box), np.nan)
            measured["hits"] = pointing_hits(maps, box) & mapped
            measured["iou"] = np.where(mapped, box_iou(maps, box), np.nan)
        if integrated:
            measured["error"] = _completeness(run, images, classes[rows], maps)
        areas = curve_areas(
            run.inputs.classifier,
            images,
            classes[rows],
            maps,
            run.settings.curve_points,
            run.effort.seed,
            ids[rows],
        )
        return {**measured, "insertion": areas[0], "deletion": areas[1]}

    numbers_of = ("inside", "iou", "error", "insertion", "deletion")
    form: Form = {"mapped": ("bool", ()), "hits": ("bool", ()), **dict.fromkeys(numbers_of, ("float64", ()))}
    row = ROWS[name]
    arrays: dict[str, Any] = dict(
        run.slices.measure(
            f"maps-{item_name(name)}",
            columns_of(run, answers),
            parts_of(run),
            form,
            compute,
            cost=cost_of(run, row, 1),
        )
    )
    return Maps(name, **arrays)


def _completeness(run: Explained, images: np.ndarray, classes: np.ndarray, maps: np.ndarray) -> np.ndarray:
    """Return by how much the sum of each map misses the change of the logit, as a share of the change, float64 [M].

    The logits are those of the model that gives the gradients.
    """
    from safeml.explainers.integrated_gradients import baselines

    model = getattr(run.inputs.classifier, "gradients", run.inputs.classifier)
    rows = np.arange(len(images))
    here = np.asarray(model.predict_logits(images))[rows, classes].astype(np.float64)
    start = np.asarray(model.predict_logits(np.array(baselines(images))))[rows, classes].astype(np.float64)
    change = here - start
    missed = np.abs(maps.sum(axis=(1, 2), dtype=np.float64) - change)
    return np.where(change != 0, missed / np.where(change != 0, np.abs(change), 1.0), np.nan)


def control(run: Explained, answers: np.ndarray, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the areas under the curves of a map that knows nothing of the model."""
    sample, ids, classes = run.sample, numbers(run.sample), explained_classes(answers)
    height, width = sample.images.shape[1:3]

    def compute(rows: slice) -> Arrays:
        images = as_floats(sample.images[rows])
        if name == "centre":
            maps = np.broadcast_to(centre_map(height, width), (len(images), height, width))
        else:
            maps = np.stack(
                [
                    np.random.default_rng([run.effort.seed, RANDOM_MAP, int(i)]).random((height, width))
                    for i in ids[rows]
                ]
            )
        areas = curve_areas(
            run.inputs.classifier,
            images,
            classes[rows],
            maps,
            run.settings.curve_points,
            run.effort.seed,
            ids[rows],
        )
        return {"insertion": areas[0], "deletion": areas[1]}

    form: Form = {"insertion": ("float64", ()), "deletion": ("float64", ())}
    cost = Cost(passes=2 * run.settings.curve_points)
    arrays = run.slices.measure(
        f"control-{name}", columns_of(run, answers), parts_of(run), form, compute, cost=cost
    )
    return arrays["insertion"], arrays["deletion"]
