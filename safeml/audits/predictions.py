"""The predictions of the delivered model on a data set, slice by slice. Legend: N images, K classes."""

from __future__ import annotations

import numpy as np

from safeml.audits.base import AuditInputs
from safeml.audits.slices import Slices, numbers
from safeml.data.dataset import RECOVERED, ImageDataset
from safeml.errors import StageError
from safeml.sealed import Arrays
from safeml.wording import counted, number


def predicted_logits(
    inputs: AuditInputs, slices: Slices, data: ImageDataset, item: str, step: str
) -> np.ndarray:
    """Return the logits of `data`, float32 [N, K].

    item: name of the stored slices. step: of the progress, in words.
    Raises StageError when the output does not have the shape [N, K].
    """

    def predicted(rows: slice) -> Arrays:
        part = np.asarray(inputs.classifier.predict_logits(data.images[rows]))
        expected = (rows.stop - rows.start, len(data.outputs))
        if part.shape != expected:
            raise StageError(
                f"{step}: {inputs.classifier.name} returns {list(part.shape)}; expected {list(expected)}, one logit per class."
            )
        return {"logits": part.astype(np.float32)}

    form = {"logits": ("float32", (len(data.outputs),))}
    columns = {"images": data.images, "ids": numbers(data)}
    return slices.measure(
        item, columns, {}, form, predicted, lambda done: inputs.progress(step, done, len(data))
    )["logits"]


def clustering_statement(dataset: ImageDataset) -> str:
    """State in one sentence how the intervals account for frames of the same physical sign."""
    if dataset.tracks is not None:
        signs = counted(len(np.unique(dataset.tracks)), "sign track")
        if dataset.tracks_origin == RECOVERED:
            return f"Intervals are computed over {signs} that were recovered from pixels, not recorded; they are as uncertain as these."
        return f"Frames of one sign are not independent, so intervals are computed over {signs}."
    if dataset.frames_per_sign is None:
        return "No intervals: the data have no track ids and frames_per_sign is not set."
    if dataset.frames_per_sign == 1:
        return "Images are declared independent (frames_per_sign = 1); if they are not, the intervals are too narrow."
    return (
        f"{number(dataset.frames_per_sign)} images per sign are declared, not observed; intervals treat them as "
        "one observation, all correctly or all incorrectly classified."
    )
