"""A regression model and its images as a classifier of errors, for the stages that count correct predictions. See `Judged`."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from safeml.audits.base import AuditInputs
from safeml.classifiers.base import head_of
from safeml.classifiers.judged import Judged, judged, outcomes
from safeml.data.dataset import ImageDataset
from safeml.errors import StageError

NO_TOLERANCE = (
    "no tolerance is declared, so no prediction is correct or incorrect; set it in [[data.targets]]"
)


def judged_inputs(inputs: AuditInputs) -> AuditInputs:
    """Return the inputs of a stage for a classifier of errors where the model is a regression model; else unchanged.

    Raises StageError without a tolerance (see `lacks_tolerance`).
    """
    targets, regression = inputs.test.targets, head_of(inputs.classifier) == "regression"
    if (targets is None) == regression:  # never a class by accident, and never a value by accident
        raise StageError(
            f"{inputs.classifier.name} is a {head_of(inputs.classifier)} model, and the test images have "
            f"{'no targets' if targets is None else 'targets'}; declare [[data.targets]] for a regression alone."
        )
    if targets is None or isinstance(inputs.classifier, Judged):
        return inputs
    classifier = judged(inputs.classifier, targets.names, targets.tolerances)
    return replace(inputs, classifier=classifier, test=judged_data(inputs.test))  # type: ignore[arg-type]  # the rest is the model's


def judged_data(data: ImageDataset) -> ImageDataset:
    """Return images of a regression with the classes of its errors; every image's class is "within the tolerance"."""
    if data.targets is None:
        return data
    labels = np.zeros(len(data), np.int64)
    return replace(data, labels=labels, class_names=outcomes(data.targets.names), costs=None)


def is_regression(inputs: AuditInputs) -> bool:
    """Tell whether the model under test is a regression model."""
    return inputs.test.targets is not None


def lacks_tolerance(inputs: AuditInputs) -> bool:
    """Tell whether the model is a regression model whose predictions no tolerance makes correct or incorrect."""
    return inputs.test.targets is not None and inputs.test.targets.tolerances is None
