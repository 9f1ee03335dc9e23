"""The statistical-distance monitor: a buffer for each predicted class against a reference sample. Legend: K classes, D columns, Q quantiles."""

from collections import deque
from typing import Optional

import numpy as np

from . import scores
from .decisions import COLLECT_MORE, FALL_BACK, TRUST, Decision, Hysteresis
from .distances import DISTANCES
from .errors import MonitorRefused
from .reference import Reference

COMPONENTS = 6
QUANTILES = 128
# The arrays that a distance monitor reads; those of the columns exist for features alone.
WINDOW_ARRAYS = (
    "column_mean",
    "column_basis",
    "reference_mean",
    "reference_spread",
    "reference",
    "reference_known",
)
# A reference of fewer images says nothing of a distribution.
LEAST_REFERENCE = 20
# Share of the threshold from which on a distance is near it.
NEAR = 0.95


def fit_columns(features: Optional[np.ndarray]) -> dict:
    """Return the projection of features on their first principal components; empty without features.

    features: float [M, F], finite, or None.
    """
    if features is None:
        return {}
    rows = scores.checked(features, 0, "features")
    _, vectors = np.linalg.eigh(np.cov(rows, rowvar=False).reshape(rows.shape[1], rows.shape[1]))
    basis = vectors[:, ::-1][:, :COMPONENTS]
    # By row, as it is read back: a product with a transposed array is rounded in another order.
    return {
        "column_mean": rows.mean(axis=0).astype(np.float32),
        "column_basis": np.ascontiguousarray(basis, np.float32),
    }


def columns_of(arrays: dict, logits: np.ndarray, features: Optional[np.ndarray]) -> np.ndarray:
    """Return what the buffers hold, float64 [N, D]: log-odds, energy, maximum logit and the components of the features."""
    outputs = scores.checked(logits, 0, "logits")
    parts = [scores.log_odds(outputs), scores.log_sum(outputs), outputs.max(axis=1)]
    columns = np.ascontiguousarray(np.minimum(np.array(parts).T, 1e6))
    if "column_mean" not in arrays:
        return columns
    rows = scores.checked(np.asarray(features), len(arrays["column_mean"]), "features")
    inside = (rows - arrays["column_mean"]) @ arrays["column_basis"].astype(np.float64)
    return np.concatenate([columns, inside], axis=1)


def fit_reference(columns: np.ndarray, predicted: np.ndarray, classes: int) -> dict:
    """Return the reference of each predicted class: mean, spread and quantiles of each column.

    columns: float [M, D], finite. predicted: int [M], 0..K-1.
    A class with fewer than LEAST_REFERENCE images has none. A constant column gets the spread 1, so that a change of it counts.
    """
    rows, width = scores.checked(columns, 0, "columns"), np.shape(columns)[1]
    mean, spread = np.zeros((classes, width)), np.ones((classes, width))
    quantiles, known = np.zeros((classes, QUANTILES, width)), np.zeros(classes, bool)
    places = (np.arange(QUANTILES) + 0.5) / QUANTILES
    for k in range(classes):
        own = rows[np.asarray(predicted) == k]
        if len(own) < LEAST_REFERENCE:
            continue
        known[k], mean[k] = True, own.mean(axis=0)
        deviation = own.std(axis=0)
        spread[k] = np.where(deviation > 1e-9 * np.maximum(1, np.abs(mean[k])), deviation, 1.0)
        ordered = np.sort((own - mean[k]) / spread[k], axis=0)
        quantiles[k] = ordered[np.minimum((places * len(own)).astype(int), len(own) - 1)]
    return {
        "reference_mean": mean.astype(np.float32),
        "reference_spread": spread.astype(np.float32),
        "reference": quantiles.astype(np.float32),
        "reference_known": known,
    }


class ClassReference:
    """The reference of one predicted class, sorted once.

    arrays: of `fit_reference`. predicted: the class, 0..K-1.
    """

    def __init__(self, arrays: dict, predicted: int) -> None:
        k = int(predicted)
        self.mean = arrays["reference_mean"][k].astype(np.float64)
        self.spread = arrays["reference_spread"][k].astype(np.float64)
        self.reference = Reference(arrays["reference"][k])

    def distance(self, name: str, columns: np.ndarray) -> float:
        """Return the largest distance over the columns between a buffer and the reference.

        name: of the distance, a key of `DISTANCES`. columns: float [n, D], at least one row.
        """
        return float(self.reference.distance(name, (columns - self.mean) / self.spread).max())


class DistanceMonitor:
    """Compares the last frames of each predicted class with the reference of that class.

    arrays: of `fit_columns` and `fit_reference`.
    name: of the distance, a key of `DISTANCES`.
    threshold: of the distance; None if none was calibrated, so that every decision is FALL_BACK.
    window: frames in a buffer. least: frames from which on it is compared. every: frames between two comparisons.
    time_out: seconds after which a frame leaves its buffer, and after which a buffer that is still short falls back.
    hold: see `Hysteresis`; one for each class.
    """

    def __init__(
        self,
        arrays: dict,
        name: str,
        threshold: Optional[float],
        window: int = 15,
        least: int = 10,
        every: int = 1,
        time_out: float = 10.0,
        hold: int = 5,
    ) -> None:
        if name not in DISTANCES:
            raise MonitorRefused(
                'the distance is "{}"; expected one of {}.'.format(name, ", ".join(sorted(DISTANCES)))
            )
        if not 1 <= least <= window or every < 1 or not time_out > 0:
            raise MonitorRefused(
                f"window {window}, least {least}, every {every} and time_out {time_out} contradict; expected 1 <= least <= window, every of at least 1 "
                "and a time_out above 0."
            )
        self.arrays, self.name, self.threshold = arrays, name, threshold
        self.window, self.least, self.every, self.time_out = (
            int(window),
            int(least),
            int(every),
            float(time_out),
        )
        classes = len(arrays["reference_known"])
        self.buffers = [deque(maxlen=self.window) for _ in range(classes)]  # type: list
        self.holding = [Hysteresis(hold) for _ in range(classes)]
        # All at the start, so that memory does not grow with the classes that are predicted.
        self.references = [
            ClassReference(arrays, k) if known else None for k, known in enumerate(arrays["reference_known"])
        ]  # type: list
        self.waiting = [None] * classes  # type: list
        self.since = [0] * classes
        self.latest = [None] * classes  # type: list
        self.clock = -np.inf

    def settings(self) -> dict:
        """Return the arguments beside the arrays, JSON-able: what a state records of this monitor."""
        return {
            "name": self.name,
            "threshold": self.threshold,
            "window": self.window,
            "least": self.least,
            "every": self.every,
            "time_out": self.time_out,
            "hold": self.holding[0].hold if self.holding else 1,
        }

    def update(self, logits: np.ndarray, features: Optional[np.ndarray], time: float) -> Decision:
        """Return the decision for one frame.

        logits: float [K]. features: float [F], or None where the model gives none. time: seconds, never decreasing.
        """
        if not (np.isfinite(time) and time >= self.clock):
            return Decision(FALL_BACK, "clock")
        self.clock = float(time)
        row = np.asarray(logits, np.float64)
        if row.shape != (len(self.buffers),):
            return Decision(FALL_BACK, "wrong-size")
        if "column_mean" in self.arrays and _shape(features) != self.arrays["column_mean"].shape:
            return Decision(FALL_BACK, "wrong-size")
        finite = np.isfinite(row).all() and (
            features is None or np.isfinite(np.asarray(features, np.float64)).all()
        )
        if not finite:
            return Decision(FALL_BACK, "not-finite")
        k = int(row.argmax())
        columns = columns_of(
            self.arrays, row[None], None if features is None else np.asarray(features)[None]
        )[0]
        return self.holding[k].update(self._decide(k, columns, float(time)))

    def _decide(self, k: int, columns: np.ndarray, time: float) -> Decision:
        if self.threshold is None:
            return Decision(FALL_BACK, "no-threshold", k)
        if not self.arrays["reference_known"][k]:
            return Decision(FALL_BACK, "no-reference", k)
        buffer = self.buffers[k]
        while buffer and time - buffer[0][0] > self.time_out:
            buffer.popleft()
        buffer.append((time, columns))
        count = len(buffer)
        if count < self.least:
            self.latest[k] = None
            if self.waiting[k] is None:
                self.waiting[k] = time
            late = time - self.waiting[k] > self.time_out
            return Decision(
                *((FALL_BACK, "timed-out") if late else (COLLECT_MORE, "buffer-short")),
                predicted=k,
                frames=count,
            )
        self.waiting[k] = None
        self.since[k] += 1
        if self.latest[k] is None or self.since[k] >= self.every:
            rows = np.stack([entry[1] for entry in buffer])
            self.latest[k], self.since[k] = self.references[k].distance(self.name, rows), 0
        measured = self.latest[k]
        action, reason = TRUST, ""
        if not measured <= self.threshold:
            action, reason = FALL_BACK, "distance"
        elif measured > NEAR * float(self.threshold):
            action, reason = COLLECT_MORE, "distance-near"
        return Decision(action, reason, predicted=k, distance=measured, frames=count)


def _shape(values: Optional[np.ndarray]) -> tuple:
    return () if values is None else np.asarray(values).shape
