"""Measure the accuracy on dimmed images, in twenty slices that each take a while. Legend: N images, K classes."""

from __future__ import annotations

import time

import numpy as np

from safeml.audits.base import AuditInputs
from safeml.audits.perfect import Perfect, Simulated
from safeml.audits.slices import Slices, numbers
from safeml.results import Card, Column, StageResult, Table
from safeml.sealed import Arrays
from safeml.statistics import proportion_metric
from safeml.wording import percent
from tests.toy.row import TOY, ToySettings

ITEMS = ("dim", "dark")  # two kinds of work; the second on a quarter of the light


def run(inputs: AuditInputs, settings: ToySettings) -> StageResult:
    """Measure both items, and record the accuracy of the first."""
    test = inputs.test
    slices = Slices(inputs.work, settings.images, {"dimmed images": inputs.predicting})
    columns = {"images": test.images, "ids": numbers(test)}
    hits = {}
    for number, item in enumerate(ITEMS):
        light = settings.light / 4**number

        def predicted(rows: slice, light: float = light) -> Arrays:
            time.sleep(settings.seconds)
            dimmed = (test.images[rows] * light).astype(np.uint8)
            return {"logits": inputs.classifier.predict_logits(dimmed)}

        form = {"logits": ("float32", (test.classes,))}
        logits = slices.measure(
            item,
            columns,
            {"light": light},
            form,
            predicted,
            lambda done, item=item: inputs.progress(item, done, len(test)),
        )["logits"]
        hits[item] = logits.argmax(axis=1) == test.labels
    metric = proportion_metric(
        "dimmed_accuracy", "Accuracy on dimmed images", hits["dim"], clustering=test.clustering
    )
    table = Table(
        id="by-light",
        title="Accuracy by light",
        columns=[
            Column(key="item", label="Light"),
            Column(key="accuracy", label="Accuracy", kind="percent"),
        ],
        rows=[[item, float(hit.mean())] for item, hit in hits.items()],
        caption="Of the images as they are, dimmed.",
    )
    return StageResult(
        stage=TOY.name,
        title=TOY.title,
        tested="Whether dimmed images are correctly classified.",
        on_what=f"{test.name}.",
        metrics=[metric],
        figures=[table],
        card=Card(headline=percent(metric.value), text="accuracy on dimmed images", figure_id="by-light"),
    )


PERFECT = Perfect(
    arrays=lambda model, request: {"logits": lambda shape: model.logits(request.rows)},
    simulate=lambda data, wrong, metric: Simulated(
        np.where(wrong, (data.labels + 1) % data.classes, data.labels), wrong, data.classes
    ),
)
