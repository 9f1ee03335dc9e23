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


def columns_of(arrays: dict, logits: np.ndarray, features: Optional[np.ndarray]) -> np.ndarray:
    """Return what the buffers hold, float64 [N, D]: log-odds, energy, maximum logit and the components of the features."""
    columns = _logit_columns(scores.logit_parts(scores.checked(logits, 0, "logits")))
    if "column_mean" not in arrays:
        return columns
    rows = scores.checked(np.asarray(features), len(arrays["column_mean"]), "features")
    inside = (rows - arrays["column_mean"]) @ arrays["column_basis"].astype(np.float64)
    return np.concatenate([columns, inside], axis=1)


def _logit_columns(parts: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(np.minimum(parts.T, 1e6))


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
        self.basis = arrays["column_basis"].astype(np.float64) if "column_mean" in arrays else None
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
        self,
        logits: np.ndarray,
        features: Optional[np.ndarray],
        times: List[float],
        parts: Optional[np.ndarray] = None,
    ) -> List[Decision]:
        """Return the decisions for frames in succession, each as `update` gives it, to the bit.

        logits: float [N, K]. features: float [N, F], or None. times: of the frames.
        parts: `scores.logit_parts` of the logits, for rows of the size of the model whose values are finite; None for rows that are not checked.
        """
        rows = np.asarray(logits, np.float64)
        columns = None if features is None else np.asarray(features, np.float64)
        fits = self.basis is None or _shape(columns) == self.basis.shape[:1]
        unfit = [""] * len(rows) if parts is not None and fits else self._unfit(rows, columns)
        refusals = [reason if self._tick(time) else "clock" for reason, time in zip(unfit, times)]
        good = [place for place, reason in enumerate(refusals) if not reason]
        if len(good) < len(refusals):
            rows, columns = rows[good], None if columns is None else columns[good]
            parts = None if parts is None else parts[:, good]
        decisions = iter(self._decisions(rows, columns, [float(times[place]) for place in good], parts))
        return [Decision(FALL_BACK, reason) if reason else next(decisions) for reason in refusals]

    def _tick(self, time: float) -> bool:
        """Return whether the clock did not go back."""
        if not (math.isfinite(time) and time >= self.clock):
            return False
        self.clock = float(time)
        return True

    def _unfit(self, rows: np.ndarray, columns: Optional[np.ndarray]) -> List[str]:
        """Return why each frame cannot be compared, or ""."""
        if rows.shape[1:] != (len(self.known),) or (
            "column_mean" in self.arrays and _shape(columns) != self.arrays["column_mean"].shape
        ):
            return ["wrong-size"] * len(rows)
        finite = np.isfinite(rows).all(axis=1)
        if columns is not None:
            finite &= np.isfinite(columns.reshape(len(rows), -1)).all(axis=1)
        return ["" if one else "not-finite" for one in finite.tolist()]

    def _decisions(
        self,
        rows: np.ndarray,
        columns: Optional[np.ndarray],
        times: List[float],
        parts: Optional[np.ndarray],
    ) -> List[Decision]:
        if not times:
            return []
        classes = rows.argmax(axis=1)
        predicted = classes.tolist()
        if self.threshold is None:
            return [
                self.holding[k].update(Decision(FALL_BACK, "no-threshold", predicted=k)) for k in predicted
            ]
        values = _logit_columns(scores.logit_parts(rows) if parts is None else parts)
        if self.basis is not None:
            # Row by row: a product of many rows is rounded in another order than that of one.
            inside = np.matmul((columns - self.arrays["column_mean"])[:, None], self.basis)[:, 0]
            values = np.concatenate([values, inside], axis=1)
        known = [place for place, k in enumerate(predicted) if self.known[k]]
        held = np.full((len(times), 2, self.references.width), np.nan)
        if len(known) == len(times):
            held = self.references.placed(classes, values)
        elif known:
            held[known] = self.references.placed(classes[known], values[known])
        pending, distances = self._pass(predicted, held, times)
        return [self.holding[one.predicted].update(self._decide(one, distances)) for one in pending]

    def _pass(self, predicted: List[int], held: np.ndarray, times: List[float]) -> tuple:
        """Let frames enter their buffers; return what is pending, and the distances of the buffers that are due."""
        pending, due, sizes = [], [], []  # type: list, list, list
        windows = np.empty(0)
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
                if not due:
                    windows = self.references.empty(len(times), self.window)
                windows[number, :, :, :count] = self.buffers.last(k)
                due.append(k)
                sizes.append(count)
            pending.append(Pending(k, count, number))
        if not due:
            return pending, []
        distances = self.references.distances(self.name, np.array(due), windows[: len(due)], np.array(sizes))
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
        limit = -np.inf if self.threshold is None else float(self.threshold)
        action, reason = TRUST, ""
        if not measured <= limit:
            action, reason = FALL_BACK, "distance"
        elif measured > NEAR * limit:
            action, reason = COLLECT_MORE, "distance-near"
        return Decision(action, reason, k, None, measured, count)


def _shape(values: Optional[np.ndarray]) -> tuple:
    return () if values is None else values.shape[1:]
