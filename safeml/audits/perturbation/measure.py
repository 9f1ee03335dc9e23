"""Predictions under each corruption, stored slice by slice. Legend: N images, K classes, A corruptions, S severities, P grid points."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from safeml.audits.base import AuditInputs
from safeml.audits.slices import Slices, numbers
from safeml.corruptions.engine import corrupt
from safeml.corruptions.grid import Point, changed, grid
from safeml.corruptions.rows import CORRUPTIONS, SEVERITIES
from safeml.data.dataset import ImageDataset
from safeml.metrics.classification import softmax
from safeml.sealed import Arrays, Form
from safeml.stages.perturbation import PerturbationSettings

SLICE = 256
NO_ANSWER = -1  # logits that are not finite


@dataclass(frozen=True, eq=False)
class Measured:
    """The predictions on one sample.

    names: the A measured corruptions.
    clean: int64 [N], predicted class, or NO_ANSWER.
    answers: int64 [A, N, S].
    confidence: float32 [A, N, S], 0..1.
    points: the P changes of the grid.
    grid_answers: int64 [N, P].
    """

    sample: ImageDataset
    names: tuple[str, ...]
    clean: np.ndarray
    answers: np.ndarray
    confidence: np.ndarray
    points: list[Point]
    grid_answers: np.ndarray
    slices: Slices

    @property
    def clean_hits(self) -> np.ndarray:
        """Return which clean images are classified correctly, bool [N]."""
        return np.asarray(self.clean == self.sample.labels)

    @property
    def hits(self) -> np.ndarray:
        """Return which corrupted images are classified correctly, bool [A, N, S]."""
        return np.asarray(self.answers == self.sample.labels[None, :, None])

    @property
    def grid_hits(self) -> np.ndarray:
        """Return which images are classified correctly at every point of the grid, bool [N]."""
        return np.asarray((self.grid_answers == self.sample.labels[:, None]).all(axis=1))


def applicable(names: tuple[str, ...], channels: int) -> tuple[str, ...]:
    """Return the corruptions that images of so many channels can have."""
    return tuple(name for name in names if channels == 3 or not CORRUPTIONS[name].colour)


def measure(inputs: AuditInputs, settings: PerturbationSettings) -> Measured:
    """Predict a sample of the test images clean, under each corruption at each severity, and at each point of the grid."""
    sample = inputs.test.sample(settings.images, inputs.seed)
    ids = numbers(sample)
    names = applicable(settings.corruptions, sample.images.shape[3])
    points = grid(settings.rotation_degrees, settings.shift, settings.brightness, settings.blur)
    slices = Slices(inputs.work, SLICE, {"corrupted images": inputs.predicting})
    columns = {"images": sample.images, "ids": ids}
    total = len(names) + 2

    def predicted(batches: list[np.ndarray]) -> Arrays:
        """Return the answers and confidences of M images in k forms: int64 and float32 [M, k]."""
        logits = [np.asarray(inputs.classifier.predict_logits(images), np.float32) for images in batches]
        stacked = np.stack(logits, axis=1)
        finite = np.isfinite(stacked).all(axis=2)
        answers = np.where(finite, stacked.argmax(axis=2), NO_ANSWER).astype(np.int64)
        return {"answers": answers, "confidence": softmax(stacked).max(axis=2).astype(np.float32)}

    def form(forms: int) -> Form:
        return {"answers": ("int64", (forms,)), "confidence": ("float32", (forms,))}

    inputs.progress("clean images", 0, total)
    clean = slices.measure("clean", columns, {}, form(1), lambda rows: predicted([sample.images[rows]]))
    answers, confidence = [], []
    for number, name in enumerate(names):
        inputs.progress(CORRUPTIONS[name].title.lower(), number + 1, total)

        def corrupted(rows: slice, name: str = name) -> Arrays:
            part = sample.images[rows], ids[rows]
            return predicted([corrupt(part[0], name, s, inputs.seed, part[1]) for s in SEVERITIES])

        cells = slices.measure(
            name,
            columns,
            {"severities": list(SEVERITIES), "seed": inputs.seed},
            form(len(SEVERITIES)),
            corrupted,
        )
        answers.append(cells["answers"])
        confidence.append(cells["confidence"])
    inputs.progress("grid of small changes", total - 1, total)
    parts = {"points": [str(point) for point in points], "ends": _ends(settings)}
    on_grid = slices.measure(
        "grid",
        columns,
        parts,
        form(len(points)),
        lambda rows: predicted([changed(sample.images[rows], p) for p in points]),
    )
    inputs.progress("grid of small changes", total, total)
    return Measured(
        sample=sample,
        names=names,
        clean=clean["answers"][:, 0],
        answers=np.stack(answers),
        confidence=np.stack(confidence),
        points=points,
        grid_answers=on_grid["answers"],
        slices=slices,
    )


def _ends(settings: PerturbationSettings) -> list[float]:
    return [settings.rotation_degrees, settings.shift, settings.brightness, settings.blur]
