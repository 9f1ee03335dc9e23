"""A regression model as a classifier of its errors, so that attacks, intervals, curves and gates need no second form.

The classes of an image are "within the tolerance" and, for each target, "too high" and "too low". Their logits are the margins to
the tolerance in units of it, so that a prediction is correct, and an attack has failed, while no error exceeds its tolerance.

Legend: N images, H W C pixels, T targets, K = 1 + 2 T classes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from safeml.classifiers.base import Classifier
from safeml.errors import StageError

WITHIN = "within the tolerance"


@dataclass(eq=False)
class Judged:
    """A regression model whose predictions are compared with targets. All that is not here is the model's own.

    model: gives T values for an image; its `logits`, if it has a gradient, are these values too.
    names: of the targets.
    tolerances: float32 [T], > 0, in the units of the targets.
    """

    model: Classifier
    names: tuple[str, ...]
    tolerances: np.ndarray

    @property
    def classes(self) -> int:
        """Return K."""
        return 1 + 2 * self.width

    @property
    def width(self) -> int:
        """Return T, the values that the model gives for an image."""
        return len(self.names)

    @property
    def class_names(self) -> tuple[str, ...]:
        """Return the K names."""
        return outcomes(self.names)

    def judge(self, values: Any, targets: Any) -> tuple[Any, Any]:
        """Return the logits [N, K] of predictions, and the correct class, int32 [N]. values, targets: tf.Tensor float32 [N, T]."""
        import tensorflow as tf

        errors = (values - targets) / tf.constant(self.tolerances)
        correct = tf.zeros_like(errors[:, :1])
        logits = tf.concat([correct, errors - 1.0, -errors - 1.0], axis=1)
        return logits, tf.zeros_like(errors[:, 0], tf.int32)

    def judge_arrays(self, values: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the same of arrays: float32 [N, K], and int64 [N]. Values that are not finite stay so."""
        errors = (values.astype(np.float32) - targets.astype(np.float32)) / self.tolerances
        void = ~np.isfinite(errors).all(axis=1)
        correct = np.where(void, np.float32(np.nan), np.float32(0))[:, None]
        logits = np.concatenate([correct, errors - 1, -errors - 1], axis=1)
        return logits, np.zeros(len(errors), np.int64)

    def __getattr__(self, name: str) -> Any:
        """Return what only the model has, such as its gradient."""
        if name.startswith("__") or name == "model":
            raise AttributeError(name)
        return getattr(self.model, name)


def outcomes(names: tuple[str, ...]) -> tuple[str, ...]:
    """Return the names of the K classes of targets."""
    of = [f"{name} " if len(names) > 1 else "" for name in names]
    return (WITHIN, *(f"{name}too high" for name in of), *(f"{name}too low" for name in of))


def judged(model: Classifier, names: tuple[str, ...], tolerances: np.ndarray | None) -> Judged:
    """Return a regression model as a classifier of its errors. Raises StageError without tolerances."""
    if tolerances is None:
        raise StageError("no tolerance is declared, so no prediction is correct; set it in [[data.targets]].")
    return Judged(model, names, tolerances)


def judge_of(classifier: Any) -> Callable[[Any, Any], tuple[Any, Any]]:
    """Return what turns outputs and truths into logits [N, K] and labels int32 [N], as tensors.

    The outputs and truths of a classifier are its logits and the labels already.
    """
    own: Callable[[Any, Any], tuple[Any, Any]] | None = getattr(classifier, "judge", None)
    return (lambda outputs, truths: (outputs, truths)) if own is None else own


def width_of(classifier: Any) -> int:
    """Return how many values the model gives for an image: K, or the T targets of a regression."""
    width: int = getattr(classifier, "width", classifier.classes)
    return width


def predict(classifier: Any, images: np.ndarray, truths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the logits of images, float32 [N, K], and their labels, int64 [N].

    truths: labels, int [N]; of a judged regression model the targets, float32 [N, T].
    """
    outputs = np.asarray(classifier.predict_logits(images))
    judge = getattr(classifier, "judge_arrays", None)
    logits, labels = (outputs, truths) if judge is None else judge(outputs, truths)
    return logits, labels
