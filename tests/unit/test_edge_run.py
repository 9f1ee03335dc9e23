"""A run: decisions, lines, limits, signals, probation, and memory that stays flat."""

from __future__ import annotations

import json
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from safeml.edge import run as run_module
from safeml.edge.backends.base import Backend
from safeml.edge.errors import EdgeError, Usage
from safeml.edge.frames import Frame, Source
from safeml.edge.lines import Lines
from safeml.edge.preprocess import Preprocessor
from safeml.edge.run_settings import RunSettings, run_settings
from safeml.edge.running import KEPT_LATENCIES, Runner, Work, latency_table
from safeml.edge.safety import REASONS
from safeml.edge.watchdog import Watchdog
from safeml.monitors.inputs import fit_inputs
from safeml.monitors.runtime import Answer, Monitor
from tests.edge_bundles import settings
from tests.edge_slots import CONTRACT, LABELS, images, monitor_state, outputs
from tests.jetson_files import ORIN, write

pytestmark = pytest.mark.slow

NONE = RunSettings()


class Fake(Backend):
    """The tiny model in NumPy. seconds: that a call takes."""

    name = "fake"

    def __init__(self, seconds: float = 0.0) -> None:
        Backend.__init__(self, "int8", {})
        self.seconds = seconds

    def infer(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        time.sleep(self.seconds)
        return outputs(values)


def parsed(records: list[dict]) -> Callable[[list[str]], None]:
    """Return what adds the records of lines."""
    return lambda lines: records.extend(json.loads(line) for line in lines)


def runner(limits: RunSettings = NONE, seconds: float = 0.0, **changes: Any) -> tuple[Runner, list[dict]]:
    lines: list[dict] = []
    monitor = Monitor(monitor_state(**changes))
    return Runner(
        Fake(seconds), Preprocessor(CONTRACT), monitor, tuple(LABELS), parsed(lines), limits, "id"
    ), lines


def frame(image: Any, live: float = 0.0, at: float = 0.0) -> Frame:
    return Frame(image, "x", at, True, time.monotonic() - live)


def answered(one: Runner, given: Frame, live: bool = False) -> Answer:
    return one.judge(one.infer(given, live))


def test_a_frame_gets_class_label_and_decision() -> None:
    one, lines = runner()
    answered(one, frame(images(1)[0]))
    (line,) = lines
    assert (line["decision"], line["class"], line["label"], line["predicted"]) == ("TRUST", 0, "red", 0)
    assert line["monitor"] == "id"
    assert line["latency_ms"] > 0


def test_a_frame_that_is_not_trusted_is_unknown() -> None:
    one, lines = runner(score_threshold=1e9)
    answered(one, frame(images(1)[0]))
    assert (lines[0]["decision"], lines[0]["class"], lines[0]["label"], lines[0]["predicted"]) == (
        "FALL_BACK",
        None,
        "unknown",
        0,
    )
    assert lines[0]["reason"] == "score-low"


def test_a_larger_frame_is_checked_at_the_size_of_the_fitted_images() -> None:
    one, lines = runner()
    answered(one, frame(images(1, side=24)[0]))
    assert lines[0]["decision"] == "TRUST"
    answered(one, frame(np.full((24, 24, 3), 128, np.uint8)))
    assert (lines[1]["check"], lines[1]["reason"]) == ("blank", "input")


def test_checks_of_another_size_than_the_model_see_the_frame_in_that_size() -> None:
    seen: list[tuple] = []
    one, _ = runner(inputs=fit_inputs(images(40, 5, 16), np.arange(40)))
    assert one.monitor is not None
    assert one.monitor.checks is not None
    check = one.monitor.checks.check_all
    one.monitor.checks.check_all = lambda given, new: (  # type: ignore[method-assign]
        seen.extend((image.shape, image.dtype) for image in given),
        check(given, new),
    )[1]
    for side in (24, 8, 16):
        answered(one, frame(images(1, side=side)[0]))
    assert seen == [((16, 16, 3), np.uint8)] * 3


@pytest.mark.parametrize(
    ("given", "live", "limits", "reason"),
    [
        (lambda: frame(None), False, {}, "unreadable"),
        (lambda: frame(images(1)[0], live=2.0), True, {"stale_ms": 100.0}, "stale"),
        (lambda: frame(np.full((8, 8, 3), np.nan, np.float32)), False, {}, "not-finite"),
    ],
)
def test_a_frame_that_is_unfit_falls_back_without_the_model(
    given: Any, live: bool, limits: dict, reason: str
) -> None:
    one, lines = runner(RunSettings(**limits))
    one.backend.infer = None  # type: ignore[assignment, method-assign]
    assert answered(one, given(), live).decision.action == "FALL_BACK"
    assert lines[0]["reason"] == reason
    assert reason in REASONS


def test_an_old_frame_of_a_file_is_not_stale() -> None:
    one, _ = runner(RunSettings(stale_ms=100.0))
    assert answered(one, frame(images(1)[0], live=2.0), False).decision.action == "TRUST"


def test_a_stream_whose_size_changes_falls_back() -> None:
    one, lines = runner()
    for side in (24, 24, 16):
        answered(one, frame(images(1, seed=side + len(lines), side=side)[0]), live=True)
    assert [line["reason"] for line in lines] == ["", "", "size-changed"]


def test_a_slow_answer_falls_back() -> None:
    one, lines = runner(RunSettings(latency_ms=1.0), seconds=0.005)
    answered(one, frame(images(1)[0]))
    assert (lines[0]["decision"], lines[0]["reason"], lines[0]["label"]) == ("FALL_BACK", "slow", "unknown")


def test_without_a_monitor_nothing_is_trusted() -> None:
    lines: list[dict] = []
    one = Runner(Fake(), Preprocessor(CONTRACT), None, tuple(LABELS), parsed(lines))
    answered(one, frame(images(1)[0]))
    assert (lines[0]["decision"], lines[0]["reason"], lines[0]["predicted"]) == ("FALL_BACK", "no-monitor", 0)


def test_an_observer_sees_each_inferred_frame_and_changes_nothing() -> None:
    seen: list[tuple[Work, Answer]] = []
    one, lines = runner()
    one.observer = lambda work, answer: seen.append((work, answer))
    answered(one, frame(images(1)[0]))
    answered(one, frame(None))
    assert len(seen) == 1
    assert seen[0][0].logits is not None
    assert lines[0]["decision"] == "TRUST"


def test_the_latency_table_holds_measured_values() -> None:
    seconds = np.arange(1, 101) / 1000
    assert latency_table(seconds) == {"p50": 50.0, "p95": 95.0, "p99": 99.0, "max": 100.0}
    assert latency_table(np.array([])) is None


def test_memory_is_flat_over_many_frames() -> None:
    one, lines = runner()
    one.write = lambda records: None
    pool = images(16)

    def go(count: int) -> None:
        for number in range(count):
            answered(one, frame(pool[number % 16], at=one.counters.frames / 30))

    go(KEPT_LATENCIES // 5)
    one.counters.latencies.extend([0.0] * KEPT_LATENCIES)
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    go(5000)
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    # The kept latencies are replaced, 24 bytes each; nothing else may stay.
    assert grown < 24 * 5000 + 50_000
    assert not lines


def test_lines_are_rotated_and_the_oldest_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / "lines.jsonl"
    lines = Lines(str(path), most=100, kept=2)
    for number in range(12):
        lines.write({"number": number, "text": "x" * 20})
    lines.close()
    lines.close()
    files = sorted(one.name for one in tmp_path.iterdir())
    assert files == ["lines.jsonl", "lines.jsonl.1", "lines.jsonl.2"]
    kept = [
        json.loads(line)["number"]
        for name in reversed(files)
        for line in (tmp_path / name).read_text().splitlines()
    ]
    assert kept == [6, 7, 8, 9, 10, 11]
    assert all(one.stat().st_size <= 100 for one in tmp_path.iterdir())


def test_a_disk_that_refuses_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(EdgeError, match="cannot be written"):
        Lines(str(tmp_path / "nowhere" / "x"))


def test_a_loop_ends_after_its_frames_and_saves_from_time_to_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_module, "SENSE", 0.0)
    monkeypatch.setattr(run_module, "RECORD", 0.0)
    one, lines = runner(RunSettings(block=1))
    saved: list[dict] = []
    counts: list[tuple] = []
    control = run_module.Control(
        run_module.Stop(), 5, saved.append, lambda *numbers: counts.append(numbers) or ""
    )
    source = Source("npz", iter([frame(image) for image in images(9)]), False, lambda: None)
    assert run_module.loop(one, source, control) == ""
    assert len(lines) == 5
    assert [entry["frames"] for entry in saved] == [1, 2, 3, 4]
    assert [numbers[1:] for numbers in counts] == [
        (1, 0, False),
        (2, 0, False),
        (3, 0, False),
        (4, 0, False),
        (5, 0, True),
    ]


def test_a_loop_ends_where_its_release_was_rolled_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_module, "SENSE", 0.0)
    one, lines = runner(RunSettings(block=1))
    control = run_module.Control(
        run_module.Stop(), 0, lambda record: None, lambda s, frames, a, e: "rolled back." * (frames > 2)
    )
    source = Source("npz", iter([frame(image) for image in images(9)]), False, lambda: None)
    assert run_module.loop(one, source, control) == "rolled back."
    assert len(lines) == 3


def test_a_hot_device_pauses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write(tmp_path, ORIN)
    assert run_module.is_hot(90.0, root)
    assert not run_module.is_hot(0.0, root)
    (tmp_path / "sys/class/thermal/cooling_device1/cur_state").write_text("0")
    assert run_module.is_hot(90.0, root)
    assert not run_module.is_hot(99.0, root)
    pauses: list[float] = []
    monkeypatch.setattr(run_module.time, "sleep", pauses.append)
    one, _ = runner(RunSettings(hot=90.0, pause_ms=40.0))
    control = run_module.Control(run_module.Stop(), 0, lambda record: None, lambda *numbers: "", None, root)
    run_module.loop(
        one, Source("npz", iter([frame(image) for image in images(3)]), False, lambda: None), control
    )
    assert [pause for pause in pauses if pause] == [0.04] * 3
    assert one.counters.paused == 3


def test_the_watchdog_expires_once_without_a_sign_of_life() -> None:
    expired: list[float] = []
    dog = Watchdog(0.08, lambda: expired.append(time.monotonic()))
    for _ in range(10):
        time.sleep(0.02)
        dog.alive()
    assert not expired
    time.sleep(0.4)
    assert len(expired) == 1
    Watchdog(0, lambda: expired.append(0.0)).stop()


@pytest.mark.parametrize(
    "table",
    [
        {"speed": 1},
        {"latency_ms": "fast"},
        {"latency_ms": -1},
        {"least_trusted": 2},
        {"threads": 1.5},
        {"hot": True},
    ],
)
def test_a_bad_table_run_is_a_usage_error(table: dict) -> None:
    with pytest.raises(Usage, match=r"run\."):
        run_settings(settings(run=table))


def test_options_overrule_the_settings() -> None:
    class Options:
        latency_ms, hot = 5.0, None

    whole = run_settings(settings(run={"latency_ms": 50, "hot": 80}), Options())
    assert (whole.latency_ms, whole.hot) == (5.0, 80)


def test_a_camera_that_ends_by_itself_is_a_failure() -> None:
    one, _ = runner()
    control = run_module.Control(run_module.Stop(), 0, lambda record: None, lambda *numbers: "")
    source = Source("camera", iter([frame(image) for image in images(3)]), True, lambda: None)
    assert "no more frames" in run_module.loop(one, source, control)
    # Not so where as many were asked for.
    source = Source("camera", iter([frame(image) for image in images(9)]), True, lambda: None)
    assert run_module.loop(one, source, control._replace(frames=one.counters.frames + 3)) == ""
