"""A run: its preparation, its loop with signals, watchdog and temperature, and its record."""

import argparse
import os
import signal
import sys
import time
from typing import Any, Callable, Dict, List, Optional

from . import sensors
from .backends.opening import open_backend
from .errors import BELOW, FINE, INTERRUPTED, EdgeError, Usage
from .facts import as_record
from .frames import Source, open_source, opencv
from .golden import load_golden, outputs_check
from .lines import Lines
from .output import emit
from .preprocess import Preprocessor
from .records import finite, write_record
from .running import RunLimits, Runner
from .safety import load_labels, load_safety
from .slot import Slot, open_slot
from .watchdog import Watchdog, end_process

# Seconds between two readings of temperatures and two writings of the record.
SENSE, RECORD = 1.0, 10.0


class Stop:
    """Whether a signal asked for the end, and which."""

    def __init__(self) -> None:
        self.signal = 0
        self.before: Dict[int, Any] = {}

    def __enter__(self) -> "Stop":
        for number in (signal.SIGINT, signal.SIGTERM):
            self.before[number] = signal.signal(number, self._ask)
        return self

    def __exit__(self, *error: Any) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)

    def _ask(self, number: int, frame: Any) -> None:
        if self.signal:
            # The second time: at once.
            raise KeyboardInterrupt
        self.signal = number


def run_command(args: argparse.Namespace) -> int:
    """Carry out `safeml-edge run`."""
    if args.frames < 0 or args.rotate_mb < 1 or not args.rate > 0 or not 0 <= args.least_trusted <= 1:
        raise Usage(
            "expected --frames of at least 0, --rotate-mb of at least 1, --rate above 0 and --least-trusted of 0 to 1."
        )
    with Stop() as stop:
        slot = open_slot(args)
        return _run(args, slot, stop)


def _run(args: argparse.Namespace, slot: Slot, stop: Stop) -> int:
    manifest = slot.verified.manifest
    labels = load_labels(slot.folder, manifest)
    backend = open_backend(slot.folder, manifest, slot.settings, slot.facts)
    try:
        check_outputs(slot, backend)
        safety = load_safety(slot.folder, manifest, backend.precision)
        lines = Lines(args.out, args.rotate_mb << 20)
        source = open_source(args.source, args.size, args.rate)
        limits = RunLimits(args.latency_ms, args.stale_ms, args.hot)
        runner = Runner(
            backend,
            Preprocessor(manifest.input),
            safety.monitor(),
            labels,
            lines.write,
            limits,
            safety.state.fingerprint if safety.state is not None else "",
        )
        head = dict(
            slot.identity(),
            backend=backend.name,
            precision=backend.precision,
            details=backend.details,
            facts=as_record(slot.facts),
            source=source.kind,
            limits=dict(limits._asdict()),
            note=safety.note,
        )
        lines.write(
            finite(
                {
                    "event": "start",
                    "release": manifest.release,
                    "backend": backend.name,
                    "precision": backend.precision,
                    "note": safety.note,
                }
            )
        )
        root = slot.settings.root
        show = _window(labels) if args.window else None
        try:
            loop(
                runner,
                source,
                stop,
                args.frames,
                args.hang_s,
                lambda summary: _save(root, head, summary),
                show,
            )
        finally:
            source.close()
            summary = runner.counters.summary()
            lines.write(finite(dict(summary, event="summary", signal=stop.signal)))
            lines.close()
    finally:
        backend.close()
    record = dict(head, **summary)
    _save(root, head, summary)
    if args.out != "-" or args.json:
        emit(args, record, _words(record))
    else:
        sys.stderr.write("\n".join(_words(record)) + "\n")
    if stop.signal == signal.SIGINT:
        return INTERRUPTED
    below = args.least_trusted and (summary["trusted"] or 0.0) < args.least_trusted
    return BELOW if below else FINE


def loop(
    runner: Runner,
    source: Source,
    stop: Stop,
    frames: int,
    hang: float,
    save: Callable[[Dict[str, Any]], None],
    show: Optional[Callable[[Any, Any], None]] = None,
    root: str = "/",
) -> None:
    """Answer frames until the source ends, `frames` are answered (0 for all), or `stop` is asked for.

    hang: seconds without an answer after which the process ends; 0 for never. save: takes the summary from time to time.
    show: takes each work and its answer. root: of the file system, for the temperatures.
    """
    dog = Watchdog(hang, lambda: end_process(hang))
    sensed = saved = time.monotonic()
    hot = is_hot(runner.limits.hot, root)
    try:
        for frame in source.frames:
            work = runner.infer(frame, source.live)
            answer = runner.judge(work)
            dog.alive()
            if show is not None:
                show(work, answer)
            if stop.signal or (frames and runner.counters.frames >= frames):
                return
            now = time.monotonic()
            if now - sensed >= SENSE:
                hot, sensed = is_hot(runner.limits.hot, root), now
            if now - saved >= RECORD:
                save(runner.counters.summary())
                saved = now
            if hot:
                runner.counters.paused += 1
                time.sleep(runner.limits.pause_ms / 1000.0)
    finally:
        dog.stop()


def is_hot(limit: float, root: str) -> bool:
    """Return whether the device throttles, or a zone is at the limit in degrees Celsius; 0 for no limit."""
    if not limit:
        return False
    return bool(sensors.throttled(root)) or any(
        value >= limit for value in sensors.temperatures(root).values()
    )


def check_outputs(slot: Slot, backend: Any) -> None:
    """Compare the golden outputs before the first frame. Raises EdgeError where this device computes another model."""
    manifest = slot.verified.manifest
    golden = load_golden(slot.folder, manifest)
    logits, _ = backend.infer(golden.values)
    outcome = outputs_check(
        golden, backend.precision, logits, manifest.golden.tolerances.get(backend.precision)
    )
    if not outcome["passed"]:
        raise EdgeError(
            "this device does not compute the model that was audited. {}".format(outcome["sentence"])
        )


def _save(root: str, head: Dict[str, Any], summary: Dict[str, Any]) -> None:
    if os.path.isdir(root):
        write_record(root, "run", dict(head, **summary))


def _words(record: Dict[str, Any]) -> List[str]:
    table = record["latency_ms"] or {}
    counts = (
        ", ".join(f"{value} {key}" for key, value in sorted(record["decisions"].items())) or "no decision"
    )
    lines = ["{} frames in {} s: {}.".format(record["frames"], record["seconds"], counts)]
    if table:
        lines.append("Latency: p50 {p50} ms, p95 {p95} ms, p99 {p99} ms, max {max} ms.".format(**table))
    if record["note"]:
        lines.append(record["note"])
    return lines


def _window(labels: Any) -> Callable[[Any, Any], None]:
    """Return what shows a frame with its decision; escape or q ends the run."""
    cv2 = opencv()

    def show(work: Any, answer: Any) -> None:
        if work.frame.image is None:
            return
        image = work.frame.image[..., ::-1].copy()
        trusted = answer.decision.action == "TRUST"
        words = "{} {}".format(
            labels[answer.decision.predicted] if trusted else "unknown", answer.decision.action
        )
        cv2.putText(
            image, words, (8, 24), cv2.FONT_HERSHEY_SIMPLEX, 0.7, (0, 200, 0) if trusted else (0, 0, 255), 2
        )
        cv2.imshow("safeml-edge", image)
        if cv2.waitKey(1) & 0xFF in (27, ord("q")):
            os.kill(os.getpid(), signal.SIGTERM)

    return show
