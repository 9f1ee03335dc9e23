"""The statistical-distance monitor: a buffer for each predicted class against a reference sample. Legend: K classes, D columns, Q quantiles."""

import math
from typing import List, NamedTuple, Optional

import numpy as np

from . import scores
from .decisions import COLLECT_MORE, FALL_BACK, TRUST, Decision, Hysteresis
from .distances import DISTANCES
from .errors import MonitorRefused
from .windows import ClassReferences, Windows

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


def columns_of(
    arrays: dict, logits: np.ndarray, features: Optional[np.ndarray], alone: bool = False
) -> np.ndarray:
    """Return what the buffers hold, float64 [N, D]: log-odds, energy, maximum logit and the components of the features.

    alone: a row is that of a call with this row alone, to the bit; a product of many rows is rounded in another order, and faster.
    """
    outputs = scores.checked(logits, 0, "logits")
    parts = [scores.log_odds(outputs), scores.log_sum(outputs), outputs.max(axis=1)]
    columns = np.ascontiguousarray(np.minimum(np.array(parts).T, 1e6))
    if "column_mean" not in arrays:
        return columns
    rows = scores.checked(np.asarray(features), len(arrays["column_mean"]), "features")
    centred, basis = rows - arrays["column_mean"], arrays["column_basis"].astype(np.float64)
    inside = np.matmul(centred[:, None], basis)[:, 0] if alone else centred @ basis
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


class Pending(NamedTuple):
    """A frame whose distance is not computed yet.

    predicted: class. frames: in its buffer. place: among the distances to compute; -1 for the latest distance of the class.
    reason: why it is compared with nothing, or "".
    """

    predicted: int
    frames: int = 0
    place: int = -1
    reason: str = ""


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
        self.known = [bool(known) for known in arrays["reference_known"]]
        self.references = ClassReferences(arrays)
        self.buffers = Windows(classes, self.window, self.references.width)
        self.holding = [Hysteresis(hold) for _ in range(classes)]
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
        batch = None if features is None else np.asarray(features)[None]
        return self.update_all(np.asarray(logits)[None], batch, [time])[0]

    def update_all(
        self, logits: np.ndarray, features: Optional[np.ndarray], times: List[float]
    ) -> List[Decision]:
        """Return the decisions for frames in succession, each as `update` gives it, to the bit.

        logits: float [N, K]. features: float [N, F], or None. times: of the frames.
        """
        rows = np.asarray(logits, np.float64)
        columns = None if features is None else np.asarray(features, np.float64)
        refusals = self._refusals(rows, columns, times)
        good = [place for place, reason in enumerate(refusals) if not reason]
        if len(good) < len(refusals):
            rows, columns = rows[good], None if columns is None else columns[good]
        decisions = iter(self._decisions(rows, columns, [float(times[place]) for place in good]))
        return [Decision(FALL_BACK, reason) if reason else next(decisions) for reason in refusals]

    def _refusals(self, rows: np.ndarray, columns: Optional[np.ndarray], times: List[float]) -> List[str]:
        """Return why each frame is not compared, or ""; the clock goes on."""
        wrong = rows.shape[1:] != (len(self.known),) or (
            "column_mean" in self.arrays and _shape(columns) != self.arrays["column_mean"].shape
        )
        if wrong:
            finite = [True] * len(times)
        else:
            whole = np.isfinite(rows).all(axis=1)
            finite = (whole if columns is None else whole & np.isfinite(columns).all(axis=1)).tolist()
        refusals = []
        for place, time in enumerate(times):
            if not (math.isfinite(time) and time >= self.clock):
                refusals.append("clock")
                continue
            self.clock = float(time)
            refusals.append("wrong-size" if wrong else "" if finite[place] else "not-finite")
        return refusals

    def _decisions(
        self, rows: np.ndarray, columns: Optional[np.ndarray], times: List[float]
    ) -> List[Decision]:
        if not times:
            return []
        classes = rows.argmax(axis=1)
        predicted = classes.tolist()
        if self.threshold is None:
            return [
                self.holding[k].update(Decision(FALL_BACK, "no-threshold", predicted=k)) for k in predicted
            ]
        values = columns_of(self.arrays, rows, columns, alone=True)
        known = [place for place, k in enumerate(predicted) if self.known[k]]
        held = np.full((len(times), 2, self.references.width), np.nan)
        if known:
            held[known] = self.references.placed(classes[known], values[known])
        pending, distances = self._pass(predicted, held, times)
        return [self.holding[one.predicted].update(self._decide(one, distances)) for one in pending]

    def _pass(self, predicted: List[int], held: np.ndarray, times: List[float]) -> tuple:
        """Let frames enter their buffers; return what is pending, and the distances of the buffers that are due."""
        pending, due, sizes = [], [], []
        windows = np.empty((len(times), 2, self.references.width, self.window))
        fresh = [value is not None for value in self.latest]
        finite = np.isfinite(held[:, 0]).all(axis=1).tolist()
        for place, (k, time) in enumerate(zip(predicted, times)):
            if not self.known[k] or not finite[place]:
                pending.append(Pending(k, reason="not-finite" if self.known[k] else "no-reference"))
                continue
            count = self.buffers.add(k, time, held[place], self.time_out)
            if count < self.least:
                fresh[k] = False
                if self.waiting[k] is None:
                    self.waiting[k] = time
                late = time - self.waiting[k] > self.time_out
                pending.append(Pending(k, count, reason="timed-out" if late else "buffer-short"))
                continue
            self.waiting[k] = None
            self.since[k] += 1
            number = -1
            if not fresh[k] or self.since[k] >= self.every:
                number, fresh[k], self.since[k] = len(due), True, 0
                windows[number, :, :, :count] = self.buffers.last(k)
                due.append(k)
                sizes.append(count)
            pending.append(Pending(k, count, number))
        distances = np.empty(len(due))
        for size in set(sizes):
            rows = np.flatnonzero(np.array(sizes) == size)
            distances[rows] = self.references.distances(
                self.name, np.array(due)[rows], windows[rows, :, :, :size]
            )
        return pending, distances.tolist()

    def _decide(self, one: Pending, distances: List[float]) -> Decision:
        k, count = one.predicted, one.frames
        if one.reason:
            if count:
                self.latest[k] = None
            action = COLLECT_MORE if one.reason == "buffer-short" else FALL_BACK
            return Decision(action, one.reason, predicted=k, frames=count)
        if one.place >= 0:
            self.latest[k] = distances[one.place]
        measured = self.latest[k]
        action, reason = TRUST, ""
        if not measured <= self.threshold:
            action, reason = FALL_BACK, "distance"
        elif measured > NEAR * float(self.threshold):
            action, reason = COLLECT_MORE, "distance-near"
        return Decision(action, reason, k, None, measured, count)


def _shape(values: Optional[np.ndarray]) -> tuple:
    return () if values is None else values.shape[1:]
