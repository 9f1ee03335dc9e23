"""The probabilities that logits stand for, without loss where they saturate. Legend: N images, K classes.

A probability of float64 is exactly 1 from a margin of about 37 logits on. What orders or compares confidences therefore reads
the log-odds, and what takes a logarithm reads the log-probabilities.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from safeml.errors import StageError


@dataclass(frozen=True, eq=False)
class Forecasts:
    """The predictions of a model beside the true labels. Make them with `forecasts`.

    log_probabilities: float64 [N, K], at most 0; -inf for a probability of 0.
    labels: int64 [N], 0..K-1.
    """

    log_probabilities: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def classes(self) -> int:
        """Return K, the number of classes."""
        return int(self.log_probabilities.shape[1])

    @cached_property
    def probabilities(self) -> np.ndarray:
        """Float64 [N, K], 0..1."""
        return np.asarray(np.exp(self.log_probabilities))

    @cached_property
    def predicted(self) -> np.ndarray:
        """int64 [N], the class with the largest probability; the lowest class id of several."""
        return np.asarray(self.log_probabilities.argmax(axis=1))

    @cached_property
    def hits(self) -> np.ndarray:
        """bool [N], correctly classified."""
        return np.asarray(self.predicted == self.labels)

    @cached_property
    def confidence(self) -> np.ndarray:
        """Float64 [N], 1/K..1: the largest probability."""
        return np.asarray(np.exp(self.log_probabilities.max(axis=1)))

    @cached_property
    def log_odds(self) -> np.ndarray:
        """Float64 [N]: log(confidence / (1 - confidence)), which orders confidences that round to 1; inf only for exactly 1."""
        others = self.log_probabilities.copy()
        others[np.arange(len(self)), self.predicted] = -np.inf
        with np.errstate(divide="ignore"):
            return np.asarray(self.log_probabilities.max(axis=1) - log_sum(others))

    def take(self, rows: np.ndarray) -> Forecasts:
        """Return the images in `rows` (bool [N] or int [M])."""
        return Forecasts(self.log_probabilities[rows], self.labels[rows])


def log_sum(values: np.ndarray) -> np.ndarray:
    """Return log(sum(exp(values))) over the last axis; -inf where all are -inf. values: float64 [..., K], below +inf."""
    if values.shape[-1] == 0:
        return np.full(values.shape[:-1], -np.inf)
    largest = values.max(axis=-1)
    shift = np.where(np.isfinite(largest), largest, 0.0)
    with np.errstate(divide="ignore"):
        return np.asarray(np.log(np.exp(values - shift[..., None]).sum(axis=-1)) + shift)


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """Return float64 [..., K], the logarithm of the softmax. logits: [..., K], finite, or -inf beside a finite one."""
    values = np.asarray(logits, dtype=np.float64)
    return np.asarray(values - log_sum(values)[..., None])


def forecasts(logits: np.ndarray, labels: np.ndarray) -> Forecasts:
    """Turn logits into forecasts.

    logits: float [N, K], N >= 1, K >= 2; -inf is a probability of 0. Probabilities p are given as log(p).
    labels: int [N], 0..K-1.

    Raises StageError for other shapes or labels, and for a row with NaN, +inf or no finite logit.
    """
    values, labels = np.asarray(logits), np.asarray(labels)
    if values.ndim != 2 or len(values) == 0 or values.shape[1] < 2 or labels.shape != values.shape[:1]:
        raise StageError(
            f"calibration: logits are {list(values.shape)} and labels {list(labels.shape)}; expected [N, K] and [N] "
            "with at least one image and two classes."
        )
    if not np.issubdtype(labels.dtype, np.integer) or labels.min() < 0 or labels.max() >= values.shape[1]:
        raise StageError(
            f"calibration: labels are {labels.dtype}, {labels.min()} to {labels.max()}; expected class ids from 0 to "
            f"{values.shape[1] - 1}."
        )
    unusable = int((np.isnan(values) | np.isposinf(values)).any(axis=1).sum())
    unusable += int(np.isneginf(values).all(axis=1).sum())
    if unusable:
        raise StageError(
            f"calibration: the logits of {unusable} of {len(values)} images are NaN or infinite, so they have no "
            "confidence; fix the layer that overflows or divides by zero."
        )
    return Forecasts(log_softmax(values), labels.astype(np.int64))
