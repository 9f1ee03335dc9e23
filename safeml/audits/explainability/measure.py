"""The measurements of the stage in order: predictions, controls, the maps of each method with its checks, other surroundings. Legend: N images."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from safeml.audits.base import AuditInputs
from safeml.audits.explainability.checks import REPEATS, checks, levels_of, shuffled_checks
from safeml.audits.explainability.explained import Explained
from safeml.audits.explainability.maps import control, explain_all
from safeml.audits.explainability.measured import Maps, Measured
from safeml.audits.explainability.swap import FORMS, changed_surroundings, donors
from safeml.audits.slices import numbers
from safeml.classifiers.base import is_differentiable
from safeml.explainers.base import NotApplicable
from safeml.explainers.rows import ROWS
from safeml.explainers.shuffled import copy_of
from safeml.metrics.attribution import (
    box_area,
)
from safeml.metrics.classification import predictions
from safeml.sealed import Arrays, Form
from safeml.stages.explainability import CONTROLS, ExplainabilitySettings
from safeml.work import Cost


def measure(inputs: AuditInputs, settings: ExplainabilitySettings) -> Measured:
    """Predict a sample of the test images, explain the predictions by each method, and measure the maps."""
    run = Explained.of(inputs, settings)
    chosen = settings.methods if is_differentiable(inputs.classifier) else settings.methods_without_gradient
    copy = copy_of(inputs.classifier, inputs.contract, run.sample.class_names)
    levels, layers = levels_of(run, copy)
    shuffles = len(levels) + REPEATS - 1 if levels else 0
    total = 1 + len(chosen) + shuffles + 1
    inputs.progress("clean images", 0, total)
    answers, confidence = _predicted(run)
    controls = {name: control(run, answers, name) for name in CONTROLS}
    methods: dict[str, Maps] = {}
    for number, name in enumerate(chosen):
        inputs.progress(f"maps of {ROWS[name].title}", 1 + number, total)
        try:
            maps = explain_all(run, answers, name)
            methods[name] = replace(maps, **_fields(checks(run, answers, name)))
        except NotApplicable as error:
            methods[name] = Maps(name, str(error))
    if levels:

        def step(number: int) -> None:
            inputs.progress("shuffled weights", 1 + len(chosen) + number, total)

        applicable = [name for name, maps in methods.items() if not maps.reason]
        for name, arrays in shuffled_checks(run, answers, applicable, levels, copy, step).items():
            methods[name] = replace(methods[name], **_fields(arrays))
    inputs.progress("other surroundings", total - 1, total)
    surroundings, donated = _surroundings(run)
    inputs.progress("other surroundings", total, total)
    return Measured(
        sample=run.sample,
        probe=run.probe,
        answers=answers,
        confidence=confidence,
        area=None if run.inside is None else box_area(run.inside),
        probe_area=None if run.inside is None else box_area(run.inside[run.probe_rows]),
        methods=list(methods.values()),
        controls=controls,
        surroundings=surroundings,
        donated=donated,
        corruptions=run.corruptions,
        levels=levels,
        layers=layers,
        slices=run.slices,
    )


def _fields(arrays: Arrays) -> dict[str, Any]:
    return dict(arrays)


def _predicted(run: Explained) -> tuple[np.ndarray, np.ndarray]:
    sample = run.sample

    def compute(rows: slice) -> Arrays:
        return {"logits": np.asarray(run.inputs.classifier.predict_logits(sample.images[rows]), np.float32)}

    columns = {"images": sample.images, "ids": numbers(sample)}
    logits = run.slices.measure("clean", columns, {}, {"logits": ("float32", (sample.classes,))}, compute)[
        "logits"
    ]
    predicted = predictions(logits)
    return predicted.classes, predicted.probabilities.max(axis=1)


def _surroundings(run: Explained) -> tuple[dict[str, np.ndarray] | None, np.ndarray | None]:
    """Predict each image with other surroundings, and its surroundings alone."""
    sample, inside = run.sample, run.inside
    if inside is None:
        return None, None
    ids = numbers(sample)
    rows_of_donors = donors(sample, ids, inside, run.effort.seed)
    donated = np.asarray(rows_of_donors >= 0)
    others = sample.images[np.maximum(rows_of_donors, 0)]

    def compute(rows: slice) -> Arrays:
        hits = {}
        for form in FORMS:
            images = changed_surroundings(sample.images[rows], inside[rows], others[rows], form)
            logits = np.asarray(run.inputs.classifier.predict_logits(images))
            hits[form] = np.asarray(predictions(logits).classes == sample.labels[rows])
        return hits

    columns = {
        "images": sample.images,
        "ids": ids,
        "inside": inside,
        "others": others,
        "labels": sample.labels,
    }
    form: Form = dict.fromkeys(FORMS, ("bool", ()))
    return run.slices.measure(
        "surroundings", columns, {}, form, compute, cost=Cost(passes=len(FORMS))
    ), donated
