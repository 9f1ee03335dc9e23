"""The errors of a regression model on the test images, stored slice by slice. Legend: N images, T targets."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from safeml.audits.base import AuditInputs
from safeml.audits.slices import Slices, numbers
from safeml.data.dataset import ImageDataset
from safeml.data.targets import Targets
from safeml.errors import StageError
from safeml.metrics.regression import within_tolerance
from safeml.sealed import Arrays

SLICE = 1024


@dataclass(frozen=True, eq=False)
class Measured:
    """The predictions on the test images.

    errors: float64 [N, T], prediction minus target, in the units of the targets; not always finite.
    """

    test: ImageDataset
    targets: Targets
    errors: np.ndarray
    slices: Slices

    @property
    def finite(self) -> np.ndarray:
        """Return which predictions are finite, bool [N]."""
        return np.asarray(np.isfinite(self.errors).all(axis=1))

    @property
    def hits(self) -> np.ndarray | None:
        """Return which predictions are within every tolerance, bool [N]; None without a tolerance."""
        tolerances = self.targets.tolerances
        return None if tolerances is None else within_tolerance(self.errors, tolerances)


def targets_of_inputs(inputs: AuditInputs) -> Targets:
    """Return the targets of the test images. Raises StageError for data without any."""
    if inputs.test.targets is None:
        raise StageError(f"{inputs.test.name}: has no targets; declare [[data.targets]].")
    return inputs.test.targets


def errors_of(
    inputs: AuditInputs, data: ImageDataset, targets: Targets, slices: Slices, item: str
) -> np.ndarray:
    """Return prediction minus target of each image, float64 [N, T].

    item: name of the stored slices.
    Raises StageError when the output does not have the shape [N, T].
    """

    def predicted(rows: slice) -> Arrays:
        values = np.asarray(inputs.classifier.predict_logits(data.images[rows]), np.float64)
        expected = targets.values[rows].shape
        if values.shape != expected:
            raise StageError(
                f"{inputs.classifier.name} returns {list(values.shape)}; expected {list(expected)}, one value per target."
            )
        return {"errors": values - targets.values[rows]}

    form = {"errors": ("float64", (len(targets.settings),))}
    columns = {"images": data.images, "targets": targets.values, "ids": numbers(data)}
    return slices.measure(
        item,
        columns,
        parts_of(targets),
        form,
        predicted,
        lambda done: inputs.progress("predict test images", done, len(data)),
    )["errors"]


def parts_of(targets: Targets) -> dict[str, list[float | None]]:
    """Return what a plan must know to simulate errors: the tolerances."""
    return {"tolerances": [target.tolerance for target in targets.settings]}


def measure(inputs: AuditInputs) -> Measured:
    """Predict the test images."""
    targets = targets_of_inputs(inputs)
    slices = Slices(inputs.work, SLICE, {"clean images": inputs.predicting})
    return Measured(inputs.test, targets, errors_of(inputs, inputs.test, targets, slices, "errors"), slices)
