"""What a monitor sees of an image: logits, and features where the model gives them. Legend: N images, K classes, F features."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from safeml.audits.base import AuditInputs
from safeml.audits.slices import Slices
from safeml.errors import SafemlError, StageError
from safeml.sealed import Arrays, Form
from safeml.statistics import Clustering
from safeml.work import Cost

Change = Callable[[np.ndarray, np.ndarray], np.ndarray]
# Wider features would make the state larger than a device carries.
MOST_FEATURES = 4096


@dataclass(frozen=True, eq=False)
class Outputs:
    """The outputs for N images.

    logits: float32 [N, K].
    features: float32 [N, F]; None where the model gives none.
    """

    logits: np.ndarray
    features: np.ndarray | None

    def __len__(self) -> int:
        return len(self.logits)

    @property
    def predicted(self) -> np.ndarray:
        """int64 [N]; of a row that is not finite, any class."""
        return np.asarray(self.logits.argmax(axis=1))

    @property
    def finite(self) -> np.ndarray:
        """bool [N], every output of the image is finite."""
        whole = np.isfinite(self.logits).all(axis=1)
        return np.asarray(whole if self.features is None else whole & np.isfinite(self.features).all(axis=1))

    def hits(self, labels: np.ndarray) -> np.ndarray:
        """bool [N], classified correctly; a row that is not finite is not."""
        return np.asarray((self.predicted == labels) & np.isfinite(self.logits).all(axis=1))

    def take(self, rows: np.ndarray) -> Outputs:
        """Return the images in `rows` (bool [N] or int [M])."""
        return Outputs(self.logits[rows], None if self.features is None else self.features[rows])

    def where(self, rows: np.ndarray, others: Outputs) -> Outputs:
        """Return the images in `rows` (bool [N]), and those of `others` (N images) for the rest."""
        features = None
        if self.features is not None and others.features is not None:
            features = np.where(rows[:, None], self.features, others.features)
        return Outputs(np.where(rows[:, None], self.logits, others.logits), features)


@dataclass(frozen=True, eq=False)
class Judged:
    """Test images with labels, as the model and its monitor see them.

    outputs: of the N images. labels: int64 [N]. clustering: of their sign tracks.
    """

    outputs: Outputs
    labels: np.ndarray
    clustering: Clustering

    @property
    def hits(self) -> np.ndarray:
        """bool [N], classified correctly."""
        return self.outputs.hits(self.labels)


def together(parts: list[Outputs]) -> Outputs:
    """Return the images of all parts in their order."""
    features = [part.features for part in parts if part.features is not None]
    return Outputs(
        np.concatenate([part.logits for part in parts]),
        np.concatenate(features) if len(features) == len(parts) else None,
    )


def feature_size(inputs: AuditInputs) -> tuple[int, str]:
    """Return F and "", or 0 and the clause that says why there are no features."""
    try:
        shape = np.shape(inputs.classifier.features(inputs.test.images[:1]))
    except SafemlError:
        return 0, "the model gives no features"
    size = int(np.prod(shape[1:]))
    if len(shape) < 2 or shape[0] != 1 or not 1 <= size <= MOST_FEATURES:
        return 0, f"the model gives {size:,} features, and a monitor carries at most {MOST_FEATURES:,}"
    return size, ""


@dataclass(frozen=True, eq=False)
class Reader:
    """Asks the model slice by slice.

    width: F; 0 for no features.
    """

    inputs: AuditInputs
    slices: Slices
    width: int

    def read(
        self,
        item: str,
        step: str,
        images: np.ndarray,
        ids: np.ndarray,
        change: Change | None = None,
        parts: Mapping[str, Any] | None = None,
        cost: Cost | None = None,
    ) -> Outputs:
        """Return the outputs for `images`.

        item: name of the stored slices. step: of the progress, in words.
        images: uint8 [N, H, W, C]. ids: int64 [N].
        change: (images, ids) -> the images that the model sees, uint8, or float32 in 0..1; `parts` says how, JSON-able.
        Raises StageError when the logits do not have the shape [N, K].
        """
        classifier, classes = self.inputs.classifier, self.inputs.test.classes

        def measured(rows: slice) -> Arrays:
            pixels = images[rows] if change is None else change(images[rows], ids[rows])
            logits = np.asarray(classifier.predict_logits(pixels))
            expected = (len(pixels), classes)
            if logits.shape != expected:
                raise StageError(
                    f"{step}: {classifier.name} returns {list(logits.shape)}; expected {list(expected)}, one logit per class."
                )
            arrays = {"logits": logits.astype(np.float32)}
            if self.width:
                features = np.asarray(classifier.features(pixels), np.float32)
                arrays["features"] = features.reshape(len(pixels), -1)
            return arrays

        form: Form = {"logits": ("float32", (classes,))}
        if self.width:
            form = {**form, "features": ("float32", (self.width,))}
        arrays = self.slices.measure(
            item,
            {"images": images, "ids": ids},
            dict(parts or {}),
            form,
            measured,
            lambda done: self.inputs.progress(step, done, len(images)),
            cost or Cost(passes=2 if self.width else 1),
        )
        return Outputs(arrays["logits"], arrays.get("features"))
