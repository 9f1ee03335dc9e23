"""The loop of a run: preprocess, infer, monitor, one decision and one line for each frame. Legend: K classes, F features."""

import time
from collections import deque
from typing import Any, Callable, Dict, NamedTuple, Optional, Tuple

import numpy as np

from ..monitors.decisions import FALL_BACK, TRUST, Decision
from ..monitors.runtime import Answer, Monitor
from .backends.base import Backend
from .frames import Frame
from .preprocess import Preprocessor, as_bytes
from .run_settings import RunSettings
from .safety import UNKNOWN

# Latencies that percentiles are taken of: the last ones, so that memory does not grow.
KEPT_LATENCIES = 10000


class Work(NamedTuple):
    """One frame with what the model answered.

    small: the pixels at the size of the model, float32 [h, w, C], 0..1. logits: float32 [K]. features: float32 [F] or None.
    reason: "" or why it was not inferred. seconds: spent on it so far.
    """

    frame: Frame
    small: Optional[np.ndarray]
    logits: Optional[np.ndarray]
    features: Optional[np.ndarray]
    reason: str
    seconds: float


class Counters:
    """Counts of a run and its last latencies; its size is bounded."""

    def __init__(self) -> None:
        self.frames = 0
        self.actions: Dict[str, int] = {}
        self.reasons: Dict[str, int] = {}
        self.checks: Dict[str, int] = {}
        self.paused = 0
        self.latencies: Any = deque(maxlen=KEPT_LATENCIES)
        self.longest = 0.0
        self.began = time.monotonic()

    def add(self, answer: Answer, seconds: float) -> None:
        """Count one frame."""
        self.frames += 1
        for table, key in (
            (self.actions, answer.decision.action),
            (self.reasons, answer.decision.reason),
            (self.checks, answer.check),
        ):
            if key:
                table[key] = table.get(key, 0) + 1
        self.latencies.append(seconds)
        self.longest = max(self.longest, seconds)

    def summary(self) -> Dict[str, Any]:
        """Return the counts and latencies as plain data."""
        elapsed = time.monotonic() - self.began
        return {
            "frames": self.frames,
            "seconds": round(elapsed, 3),
            "frames_per_second": round(self.frames / elapsed, 2) if elapsed > 0 else None,
            "decisions": dict(self.actions),
            "reasons": dict(self.reasons),
            "checks": dict(self.checks),
            "trusted": round(self.actions.get(TRUST, 0) / self.frames, 4) if self.frames else None,
            "paused": self.paused,
            "latency_ms": latency_table(np.array(self.latencies), self.longest),
        }


def latency_table(seconds: np.ndarray, longest: Optional[float] = None) -> Optional[Dict[str, float]]:
    """Return p50, p95, p99 and the largest latency in milliseconds, or None without any. seconds: float [N]."""
    if not len(seconds):
        return None
    # The empirical quantile, without interpolation: a value that was measured.
    ordered = np.sort(seconds)
    places = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
    table = {
        key: float(ordered[max(0, int(np.ceil(len(ordered) * share)) - 1)]) for key, share in places.items()
    }
    table["max"] = float(ordered[-1]) if longest is None else max(longest, float(ordered[-1]))
    return {key: round(1000 * value, 4) for key, value in table.items()}


# Immutable, as a named tuple is, so that it may be the default of an argument.
USUAL = RunSettings()


class Runner:
    """Answers frames with one model and one monitor.

    monitor: None where no frame may be trusted. labels: of the K outputs.
    monitor_id: fingerprint of its state, for the lines; "" without one.
    write: takes the record of each frame.
    observer: called with the work and the answer of each inferred frame, such as the shadow of another release; its result is ignored.
    """

    def __init__(
        self,
        backend: Backend,
        preprocessor: Preprocessor,
        monitor: Optional[Monitor],
        labels: Tuple[str, ...],
        write: Callable[[Dict[str, Any]], None],
        limits: RunSettings = USUAL,
        monitor_id: str = "",
        observer: Optional[Callable[[Work, Answer], None]] = None,
    ) -> None:
        self.backend, self.preprocessor, self.monitor, self.labels = backend, preprocessor, monitor, labels
        self.write, self.limits, self.monitor_id, self.observer = write, limits, monitor_id, observer
        self.counters = Counters()
        self.shape: Optional[Tuple[int, ...]] = None
        checks = None if monitor is None else monitor.checks
        self.check_size = None if checks is None else (checks.limits["height"], checks.limits["width"])
        self.check_depth = 0 if checks is None else checks.limits["channels"]

    def infer(self, frame: Frame, live: bool) -> Work:
        """Return one frame with the answer of the model. Raises EdgeError where the device fails."""
        began = time.perf_counter()
        reason = self._unfit(frame, live)
        if reason or frame.image is None:
            return Work(frame, None, None, None, reason, time.perf_counter() - began)
        small = self.preprocessor.pixels(frame.image)
        logits, features = self.backend.infer(self.preprocessor.scaled(small))
        return Work(
            frame,
            small,
            logits[0],
            None if features is None else features[0],
            "",
            time.perf_counter() - began,
        )

    def judge(self, work: Work) -> Answer:
        """Return the decision for one frame, write its line and count it."""
        began = time.perf_counter()
        answer = self._answer(work)
        seconds = work.seconds + time.perf_counter() - began
        limit = self.limits.latency_ms
        if limit and 1000 * seconds > limit and answer.decision.action != FALL_BACK:
            answer = answer._replace(decision=answer.decision._replace(action=FALL_BACK, reason="slow"))
        if self.observer is not None and work.logits is not None:
            self.observer(work, answer)
        self.write(self._record(work, answer, seconds))
        self.counters.add(answer, seconds)
        return answer

    def _unfit(self, frame: Frame, live: bool) -> str:
        if frame.image is None:
            return "unreadable"
        # INT8 arithmetic turns NaN into a number, so the model would not show it.
        if frame.image.dtype != np.uint8 and not np.isfinite(frame.image).all():
            return "not-finite"
        if live:
            if self.limits.stale_ms and 1000 * (time.monotonic() - frame.captured) > self.limits.stale_ms:
                return "stale"
            if self.shape is None:
                self.shape = frame.image.shape
            if frame.image.shape != self.shape:
                return "size-changed"
        return ""

    def _answer(self, work: Work) -> Answer:
        if work.logits is None:
            return Answer(Decision(FALL_BACK, work.reason), None, None)
        if self.monitor is None:
            finite = bool(np.isfinite(work.logits).all())
            predicted = int(work.logits.argmax()) if finite else None
            return Answer(
                Decision(FALL_BACK, "no-monitor" if finite else "not-finite", predicted), None, None
            )
        features = work.features if self.monitor.state.features else None
        return self.monitor.update(
            work.logits, features, work.frame.time, self._checked(work), work.frame.new_sign
        )

    def _checked(self, work: Work) -> Optional[np.ndarray]:
        """Return the frame as the input checks were fitted on it: in their size, uint8."""
        if self.check_size is None or work.small is None or work.frame.image is None:
            return None
        image = work.frame.image
        if image.shape[:2] != self.check_size:
            small = work.small
            if small.shape[:2] != self.check_size:
                scale = np.float32(255) if image.dtype == np.uint8 else np.float32(1)
                small = self.preprocessor.resized(image, *self.check_size) / scale
            image = as_bytes(small)
        if image.shape[2] == 1 and self.check_depth == 3:
            image = np.repeat(image, 3, axis=2)
        return image

    def _record(self, work: Work, answer: Answer, seconds: float) -> Dict[str, Any]:
        decision = answer.decision
        trusted = decision.action == TRUST and decision.predicted is not None
        record: Dict[str, Any] = {
            "frame": self.counters.frames,
            "source": work.frame.name,
            "time": round(work.frame.time, 6),
            "decision": decision.action,
            "reason": decision.reason,
            "class": decision.predicted if trusted else None,
            "label": self.labels[decision.predicted]
            if trusted and decision.predicted is not None
            else UNKNOWN,
            "predicted": decision.predicted,
            "score": _finite(decision.score),
            "distance": _finite(decision.distance),
            "check": answer.check,
            "set": None if answer.classes is None else list(answer.classes),
            "latency_ms": round(1000 * seconds, 3),
            "monitor": self.monitor_id,
        }
        if work.frame.problem:
            record["problem"] = work.frame.problem
        return record


def _finite(value: Optional[float]) -> Optional[float]:
    return None if value is None or value != value or abs(value) == float("inf") else float(value)
