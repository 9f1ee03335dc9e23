"""The loop of a run: preprocess, infer, monitor, one decision and one line for each frame. Legend: K classes, F features."""

import time
from collections import deque
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Tuple

import numpy as np

from ..monitors.decisions import FALL_BACK, TRUST, Decision
from ..monitors.runtime import Answer, Monitor
from .backends.base import Backend
from .blocks import SECONDS
from .frame_lines import FrameLines
from .frames import Frame
from .preprocess import Preprocessor, as_bytes
from .run_settings import RunSettings

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
        self.together = 0
        self.latencies: Any = deque(maxlen=KEPT_LATENCIES)
        self.longest = 0.0
        self.began = time.monotonic()

    def add(self, answers: List[Answer], seconds: Optional[float]) -> None:
        """Count frames. seconds: the latency of one frame; None for frames that were answered together, which have none."""
        self.frames += len(answers)
        for answer in answers:
            for table, key in (
                (self.actions, answer.decision.action),
                (self.reasons, answer.decision.reason),
                (self.checks, answer.check),
            ):
                if key:
                    table[key] = table.get(key, 0) + 1
        if seconds is None:
            self.together += len(answers)
        else:
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
            "together": self.together,
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
    write: takes the lines of frames.
    observer: called with the work and the answer of each inferred frame, such as the shadow of another release; its result is ignored.
    """

    def __init__(
        self,
        backend: Backend,
        preprocessor: Preprocessor,
        monitor: Optional[Monitor],
        labels: Tuple[str, ...],
        write: Callable[[List[str]], None],
        limits: RunSettings = USUAL,
        monitor_id: str = "",
        observer: Optional[Callable[[Work, Answer], None]] = None,
    ) -> None:
        self.backend, self.preprocessor, self.monitor = backend, preprocessor, monitor
        self.write, self.limits, self.observer = write, limits, observer
        self.lines = FrameLines(labels, monitor_id)
        self.counters = Counters()
        self.shape: Optional[Tuple[int, ...]] = None
        checks = None if monitor is None else monitor.checks
        self.check_size = None if checks is None else (checks.limits["height"], checks.limits["width"])
        self.check_depth = 0 if checks is None else checks.limits["channels"]

    def together(self, live: bool) -> int:
        """Return how many frames may be answered together; 1 where the latency of each one counts, or an observer compares it."""
        if live or self.limits.latency_ms or self.observer is not None:
            return 1
        return max(1, self.limits.block)

    def infer(self, frame: Frame, live: bool) -> Work:
        """Return one frame with the answer of the model. Raises EdgeError where the device fails."""
        return self.infer_all([frame], live)[0]

    def infer_all(self, frames: List[Frame], live: bool) -> List[Work]:
        """Return frames with the answers of the model, which sees them one by one; those that `blocks.SECONDS` leave time for, at least one."""
        began = time.perf_counter()
        reasons = [self._unfit(frame, live) for frame in frames]
        images = [
            frame.image for frame, reason in zip(frames, reasons) if not reason and frame.image is not None
        ]
        small, values = self.preprocessor.batch(images) if images else ([], [])
        outputs = []
        for one in values:
            outputs.append(self.backend.infer(one[None]))
            if time.perf_counter() - began >= SECONDS:
                break
        seconds, number = time.perf_counter() - began, 0
        works: List[Work] = []
        for frame, reason in zip(frames, reasons):
            if reason:
                works.append(Work(frame, None, None, None, reason, seconds))
                continue
            if number == len(outputs):
                break
            logits, features = outputs[number]
            row = None if features is None else features[0]
            works.append(Work(frame, small[number], logits[0], row, "", seconds))
            number += 1
        return works

    def judge(self, work: Work) -> Answer:
        """Return the decision for one frame, write its line with its latency and count it."""
        return self._judged([work], True)[0]

    def judge_all(self, works: List[Work]) -> List[Answer]:
        """Return the decisions for frames in succession, write their lines and count them. They have no latency: each waits for the others."""
        return self._judged(works, False)

    def _judged(self, works: List[Work], alone: bool) -> List[Answer]:
        began = time.perf_counter()
        answers = self._answers(works)
        seconds = max(work.seconds for work in works) + time.perf_counter() - began
        limit = self.limits.latency_ms
        if limit and 1000 * seconds > limit:
            answers = [_slow(answer) for answer in answers]
        if self.observer is not None:
            for work, answer in zip(works, answers):
                if work.logits is not None:
                    self.observer(work, answer)
        latency = seconds if alone else None
        first = self.counters.frames
        self.write(
            [
                self.lines.line(first + place, work.frame, answer, latency)
                for place, (work, answer) in enumerate(zip(works, answers))
            ]
        )
        self.counters.add(answers, latency)
        return answers

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

    def _answers(self, works: List[Work]) -> List[Answer]:
        inferred = [work for work in works if work.logits is not None]
        if self.monitor is None:
            judged = iter([_without_monitor(work.logits) for work in inferred])
        elif inferred:
            features = None
            if self.monitor.state.features and inferred[0].features is not None:
                features = _rows([work.features for work in inferred])
            judged = iter(
                self.monitor.update_all(
                    _rows([work.logits for work in inferred]),
                    features,
                    [work.frame.time for work in inferred],
                    [self._checked(work) for work in inferred],
                    [work.frame.new_sign for work in inferred],
                )
            )
        return [
            Answer(Decision(FALL_BACK, work.reason), None, None) if work.logits is None else next(judged)
            for work in works
        ]

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


def _slow(answer: Answer) -> Answer:
    if answer.decision.action == FALL_BACK:
        return answer
    return answer._replace(decision=answer.decision._replace(action=FALL_BACK, reason="slow"))


def _without_monitor(logits: Any) -> Answer:
    finite = bool(np.isfinite(logits).all())
    predicted = int(logits.argmax()) if finite else None
    return Answer(Decision(FALL_BACK, "no-monitor" if finite else "not-finite", predicted), None, None)


def _rows(rows: List[Any]) -> np.ndarray:
    """Return rows of one length as an array; it is faster than `np.stack`."""
    return np.concatenate(rows).reshape(len(rows), -1)
