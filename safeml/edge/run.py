"""A run: its preparation, its loop with signals, watchdog and temperature, and its record."""

import argparse
import os
import signal
import sys
import time
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Optional, Tuple

from ..monitors.decisions import FALL_BACK, TRUST
from ..monitors.runtime import Answer
from . import sensors
from .backends.opening import open_backend
from .blocks import blocks
from .errors import BELOW, FAILED, FINE, INTERRUPTED, EdgeError, Usage
from .facts import as_record, read_facts
from .frames import Source, open_source, opencv
from .golden import load_golden, outputs_check
from .hooks import COMMITTED
from .install import device_self_test
from .lines import Lines
from .monitor_check import checked_safety
from .output import emit, printable
from .preprocess import Preprocessor
from .records import finite, write_record
from .run_settings import RunSettings, run_settings
from .running import Runner, Work
from .safety import UNKNOWN, load_labels
from .settings import read_settings
from .slot import Slot, open_slot
from .starts import Watch, begin
from .watchdog import Watchdog, end_process

# Seconds between two readings of the temperatures, and between two writings of the record.
SENSE, RECORD = 1.0, 10.0


class Stop:
    """Whether a signal asked for the end, and which; a second one ends the process at once."""

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
            raise KeyboardInterrupt
        self.signal = number


class Control(NamedTuple):
    """What ends or slows a loop.

    stop: of the signals. frames: to answer; 0 for all.
    save: takes the summary from time to time.
    counted: takes seconds, frames and alarms so far, and returns a sentence where the run must end.
    show: takes each work and its answer; None for no window.
    root: of the file system, for the temperatures.
    """

    stop: Stop
    frames: int
    save: Callable[[Dict[str, Any]], None]
    counted: Callable[[float, int, int, bool], str]
    show: Optional[Callable[[Any, Any], None]] = None
    root: str = "/"


def run_command(args: argparse.Namespace) -> int:
    """Carry out `safeml-edge run`."""
    if args.frames < 0 or args.rotate_mb < 1 or not args.rate > 0:
        raise Usage("expected --frames of at least 0, --rotate-mb of at least 1 and --rate above 0.")
    with Stop() as stop:
        slot, watch = prepare(args)
        limits = run_settings(slot.settings, args)
        manifest = slot.verified.manifest
        backend = open_backend(slot.folder, manifest, slot.settings, slot.facts)
        try:
            check_outputs(slot, backend)
            return _run(args, slot, backend, limits, watch, stop)
        finally:
            backend.close()


def prepare(args: argparse.Namespace) -> Tuple[Slot, Optional[Watch]]:
    """Return the release to run, and what counts the run for its probation; a folder that is named is not counted."""
    if args.folder:
        return open_slot(args), None
    settings, facts = read_settings(args.settings), read_facts()
    start = begin(settings, facts, time.time(), device_self_test)
    for note in start.notes + ([] if start.change is None else [start.change.sentence]):
        sys.stderr.write(printable(note) + "\n")
    return Slot(start.folder, start.verified, settings, facts), start.watch


def check_outputs(slot: Slot, backend: Any) -> None:
    """Compare the golden outputs before the first frame. Raises EdgeError where this device computes another model."""
    manifest = slot.verified.manifest
    golden = load_golden(slot.folder, manifest)
    logits, _ = backend.infer(golden.values)
    outcome = outputs_check(
        golden, backend.precision, logits, manifest.golden.tolerances.get(backend.precision)
    )
    if not outcome["passed"]:
        raise EdgeError(f"this device does not compute the model that was audited. {outcome['sentence']}")


def loop(runner: Runner, source: Source, control: Control) -> str:
    """Answer frames until the source ends, or `control` ends it; return why it must not go on, or ""."""
    counters, limits = runner.counters, runner.limits
    dog = Watchdog(limits.hang_s, lambda: end_process(limits.hang_s))
    sensed = saved = time.monotonic()
    hot = is_hot(limits.hot, control.root)
    size = runner.together(source.live) if control.show is None else 1

    def room() -> int:
        """Return how many frames the next block may have; a hot device pauses after each one."""
        return 1 if hot else min(size, control.frames - counters.frames) if control.frames else size

    try:
        for work, answer in answered(runner, source, size, room):
            dog.alive()
            if control.show is not None:
                control.show(work, answer)
            if control.stop.signal or (control.frames and counters.frames >= control.frames):
                break
            now = time.monotonic()
            if now - sensed >= SENSE:
                hot, sensed = is_hot(limits.hot, control.root), now
                sentence = _count(runner, control, False)
                if sentence:
                    return sentence
            if now - saved >= RECORD:
                control.save(counters.summary())
                saved = now
            if hot:
                counters.paused += 1
                time.sleep(limits.pause_ms / 1000.0)
        else:
            if source.live:
                return "the camera gives no more frames; check its cable, and start the run again."
        return _count(runner, control, True)
    finally:
        dog.stop()


def answered(
    runner: Runner, source: Source, size: int, room: Callable[[], int]
) -> Iterator[Tuple[Work, Answer]]:
    """Answer the frames of a source, in blocks; give the last work and answer of each block, or of the part that there was time for.

    size: 1 for frames one by one, with latencies. room: returns the most frames of the next block.
    """
    for block in blocks(source.frames, room):
        while block:
            works = runner.infer_all(block, source.live)
            block = block[len(works) :]
            answers = [runner.judge(works[0])] if size == 1 else runner.judge_all(works)
            yield works[-1], answers[-1]


def _count(runner: Runner, control: Control, ended: bool) -> str:
    counters = runner.counters
    seconds = time.monotonic() - counters.began
    return control.counted(seconds, counters.frames, counters.actions.get(FALL_BACK, 0), ended)


def is_hot(limit: float, root: str) -> bool:
    """Return whether the device throttles, or a zone is at the limit in degrees Celsius; 0 for no limit."""
    if not limit:
        return False
    return bool(sensors.throttled(root)) or any(
        value >= limit for value in sensors.temperatures(root).values()
    )


def _run(
    args: argparse.Namespace,
    slot: Slot,
    backend: Any,
    limits: RunSettings,
    watch: Optional[Watch],
    stop: Stop,
) -> int:
    manifest, root = slot.verified.manifest, slot.settings.root
    labels = load_labels(slot.folder, manifest)
    safety = checked_safety(slot.folder, manifest, backend)
    source = open_source(args.source, args.size, args.rate)
    lines = Lines(args.out, args.rotate_mb << 20)
    fingerprint = safety.state.fingerprint if safety.state is not None else ""
    monitor = safety.monitor()
    runner = Runner(
        backend, Preprocessor(manifest.input), monitor, labels, lines.write_all, limits, fingerprint
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
    started = {key: head[key] for key in ("release", "backend", "precision", "note")}
    lines.write(finite(dict(started, event="start")))
    control = Control(
        stop,
        args.frames,
        lambda summary: _save(root, dict(head, **summary)),
        _counted(watch),
        _window(labels) if args.window else None,
    )
    sentence = ""
    try:
        sentence = loop(runner, source, control)
    finally:
        source.close()
        summary = runner.counters.summary()
        lines.write(finite(dict(summary, event="summary", signal=stop.signal)))
        lines.close()
        _save(root, dict(head, **summary))
    words = _words(head, summary) + ([sentence] if sentence else [])
    if args.out == "-" and not args.json:
        sys.stderr.write("\n".join(words) + "\n")
    else:
        emit(args, dict(head, **summary), words)
    if sentence:
        return FAILED
    if stop.signal == signal.SIGINT:
        return INTERRUPTED
    return BELOW if (summary["trusted"] or 0.0) < limits.least_trusted else FINE


def _counted(watch: Optional[Watch]) -> Callable[[float, int, int, bool], str]:
    """Return what counts a run for the probation of its release; where that is rolled back, the run ends."""

    def count(seconds: float, frames: int, alarms: int, ended: bool) -> str:
        change = None if watch is None else watch.record(seconds, frames, alarms, ended)
        if change is None:
            return ""
        if change.event == COMMITTED:
            sys.stderr.write(printable(change.sentence) + "\n")
            return ""
        return change.sentence + " Start the run again; it will use the other release."

    return count


def _save(root: str, record: Dict[str, Any]) -> None:
    if os.path.isdir(root):
        write_record(root, "run", record)


def _words(head: Dict[str, Any], summary: Dict[str, Any]) -> List[str]:
    table = summary["latency_ms"]
    counts = ", ".join(f"{value} {key}" for key, value in sorted(summary["decisions"].items()))
    lines = [f"{summary['frames']} frames in {summary['seconds']} s: {counts or 'no decision'}."]
    if table:
        lines.append("Latency: p50 {p50} ms, p95 {p95} ms, p99 {p99} ms, max {max} ms.".format(**table))
    elif summary["together"]:
        lines.append(
            f"No latency: up to {head['limits']['block']} frames were answered together; --block 1 measures it."
        )
    return lines + ([head["note"]] if head["note"] else [])


def _window(labels: Any) -> Callable[[Any, Any], None]:
    """Return what shows a frame with its decision; escape or q ends the run."""
    cv2 = opencv()

    def show(work: Any, answer: Any) -> None:
        if work.frame.image is None:
            return
        image = work.frame.image[..., ::-1].copy()
        trusted = answer.decision.action == TRUST
        words = f"{labels[answer.decision.predicted] if trusted else UNKNOWN} {answer.decision.action}"
        colour = (0, 160, 0) if trusted else (0, 0, 255)
        cv2.putText(image, words, (8, 24), cv2.FONT_HERSHEY_SIMPLEX, 0.7, colour, 2)
        cv2.imshow("safeml-edge", image)
        if cv2.waitKey(1) & 0xFF in (27, ord("q")):
            os.kill(os.getpid(), signal.SIGTERM)

    return show
