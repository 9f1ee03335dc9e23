"""How alike the maps of two models are on the same images, such as a Keras model and its INT8 file. Legend: N images, H W pixels."""

from __future__ import annotations

import numpy as np

from safeml.audits.base import AuditInputs, Reference
from safeml.audits.explainability.explained import as_floats
from safeml.audits.slices import Slices, numbers
from safeml.data.dataset import ImageDataset
from safeml.explainers.base import Effort
from safeml.explainers.registry import explainer
from safeml.explainers.rows import ROWS
from safeml.metrics.attribution import rank_correlations
from safeml.metrics.classification import NO_ANSWER, predictions
from safeml.results import Metric
from safeml.sealed import Arrays, Form
from safeml.statistics import bootstrap_metric
from safeml.work import Cost

# By predictions alone, so that both models are explained in the same way, whatever they are.
METHOD = "occlusion"
SLICE = 64
NAME, TITLE = "map_agreement", f"Similarity of the maps with those of the reference ({ROWS[METHOD].title})"


def map_agreement(
    inputs: AuditInputs, reference: Reference, sample: ImageDataset, seed: int, resamples: int
) -> Metric:
    """Return the mean rank correlation of the maps of two models, over the images to which both give one class.

    Both are explained by occlusion, with the same squares, for the class that they predict. Maps of images to which they give different
    classes are about different classes, and are left out; `agreement` counts those images. The maps of one model against itself
    give 1.
    """
    effort = Effort(backgrounds=as_floats(sample.images[:1]), seed=seed)
    ids = numbers(sample)
    slices = Slices(
        inputs.work, SLICE, {"images": inputs.predicting, "reference": reference.classifier.batch}
    )
    method = explainer(METHOD)

    def compute(rows: slice) -> Arrays:
        images = as_floats(sample.images[rows])
        models = (inputs.classifier, reference.classifier)
        own, other = (predictions(np.asarray(model.predict_logits(images))).classes for model in models)
        same = (own == other) & (own != NO_ANSWER)
        classes = np.where(same, own, 0)
        first, second = (method(model, images, classes, ids[rows], effort) for model in models)
        return {"similarity": np.where(same, rank_correlations(first, second), np.nan)}

    form: Form = {"similarity": ("float64", ())}
    columns = {"images": sample.images, "ids": ids}
    passes = 2 * (1 + effort.places**2)
    similarity = slices.measure("map-agreement", columns, {}, form, compute, cost=Cost(passes=passes))[
        "similarity"
    ]
    known = np.isfinite(similarity)
    if not known.any():
        return Metric.undefined(
            NAME,
            TITLE,
            "no image has one predicted class and a map in both models",
            unit="ratio",
            n=len(sample),
        )
    values = similarity[known]
    return bootstrap_metric(
        NAME,
        TITLE,
        lambda rows: float(values[rows].mean()),
        len(values),
        clustering=sample.clustering.take(known),
        direction="up",
        unit="ratio",
        seed=seed,
        resamples=resamples,
        bounds=(-1.0, 1.0),
    )
