"""Sentences of a quantization: its calibration images, its models and the choice between them."""

from __future__ import annotations

import numpy as np

from safeml.data.dataset import ImageDataset


def data_notes(sample: ImageDataset) -> list[str]:
    """Return what is unusual about calibration images: very few, constant ones, or classes without any."""
    notes = []
    if len(sample) < 100:
        notes.append(
            f"Only {len(sample)} calibration images were used; the ranges may be too narrow. Use at least 100."
        )
    flat = sample.images.reshape(len(sample), -1)
    constant = int((flat.max(axis=1) == flat.min(axis=1)).sum())
    if constant:
        notes.append(f"{constant} of {len(sample)} calibration images have one value in all pixels.")
    if sample.targets is not None:
        return notes
    absent = np.flatnonzero(np.bincount(sample.labels, minlength=sample.classes) == 0)
    if len(absent):
        names = ", ".join(sample.class_names[number] for number in absent[:6])
        more = f" and {len(absent) - 6} more" if len(absent) > 6 else ""
        notes.append(
            f"{len(absent)} of {sample.classes} classes have no calibration image: {names}{more}. Their activations may exceed the "
            "ranges."
        )
    return notes


def choice_reason(measured: dict[str, dict[str, float]], monitor: str, chosen: str) -> str:
    """State why the calibrated ("ptq") or the trained ("qat") model was chosen by the metric `monitor`."""
    if "qat" not in measured:
        return "The calibrated model is kept: there was no training (epochs = 0)."
    ptq, qat = measured["ptq"][monitor], measured["qat"][monitor]
    if chosen == "qat":
        return f"The trained model is kept: {monitor} {qat:.4f} after training, {ptq:.4f} after calibration."
    return f"The calibrated model is kept: {monitor} {ptq:.4f} after calibration, {qat:.4f} after training."


def result_line(what: str, measured: dict[str, float], of_float: dict[str, float]) -> str:
    """State the metrics of a model, each beside that of the float model."""
    parts = (f"{name} {value:.4f} (float {of_float[name]:.4f})" for name, value in measured.items())
    return f"{what}: {', '.join(parts)}"
