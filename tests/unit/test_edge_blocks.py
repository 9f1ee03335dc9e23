"""Frames that are answered in blocks: the lines of frames one by one, but for the latency that they have not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from safeml.edge import blocks as blocks_module
from safeml.edge import run as run_module
from safeml.edge import running as running_module
from safeml.edge.blocks import BYTES, SECONDS, blocks
from safeml.edge.errors import EdgeError
from safeml.edge.frame_lines import FrameLines
from safeml.edge.frames import Frame, Source, open_source
from safeml.edge.lines import Lines
from safeml.edge.manifest import Input
from safeml.edge.preprocess import Preprocessor
from safeml.edge.run_settings import RunSettings
from safeml.monitors.decisions import FALL_BACK, TRUST, Decision
from safeml.monitors.runtime import Answer
from tests.edge_slots import CONTRACT, images
from tests.unit.test_edge_run import NONE, Fake, frame, runner

NOTHING = run_module.Control(run_module.Stop(), 0, lambda record: None, lambda *numbers: "")


def source(frames: list[Frame], live: bool = False) -> Source:
    return Source("npz", iter(frames), live, lambda: None)


def sized(*sizes: int) -> list[int]:
    """The sizes of the blocks of frames that are there at once, where the room changes."""
    rooms = iter(sizes)
    return [len(block) for block in blocks(iter([frame(None)] * 10), lambda: next(rooms))]


def test_a_block_has_the_room_of_its_moment() -> None:
    assert sized(4, 1, 0, 20) == [4, 1, 1, 4]
    assert list(blocks(iter([]), lambda: 4)) == []


def test_a_block_ends_with_its_bytes_and_its_time() -> None:
    large = np.zeros((BYTES // 2, 1, 1), np.uint8)
    assert [len(block) for block in blocks(iter([frame(large)] * 5), lambda: 9)] == [2, 2, 1]
    late = [Frame(None, "x", 0.0, True, captured) for captured in (0.0, SECONDS / 2, SECONDS, 2.0)]
    assert [len(block) for block in blocks(iter(late), lambda: 9)] == [3, 1]


def test_frames_before_a_damaged_end_are_answered() -> None:
    def damaged() -> Any:
        yield from [frame(image) for image in images(5)]
        raise EdgeError("ends before its images do.")

    one, lines = runner()
    with pytest.raises(EdgeError, match="ends before"):
        run_module.loop(one, Source("npz", damaged(), False, lambda: None), NOTHING)
    assert [line["frame"] for line in lines] == [0, 1, 2, 3, 4]


def mixed(tmp_path: Path) -> Source:
    """Frames of several sizes and kinds, one of which cannot be read."""
    for place, side in enumerate((8, 8, 24, 8, 16, 8, 8)):
        (tmp_path / f"{place}.ppm").write_bytes(
            b"P6 %d %d 255\n" % (side, side) + images(1, place, side)[0].tobytes()
        )
    (tmp_path / "3.ppm").write_bytes(b"P6 9 9 255\n")
    (tmp_path / "6.pgm").write_bytes(b"P5 8 8 255\n" + bytes(range(64)))
    return open_source(str(tmp_path))


def test_blocks_write_the_lines_of_frames_one_by_one(tmp_path: Path) -> None:
    written = {}
    for block in (1, 3, 128):
        one, lines = runner(RunSettings(block=block), score_threshold=0.1)
        assert run_module.loop(one, mixed(tmp_path), NOTHING) == ""
        summary = one.counters.summary()
        assert summary["together"] == (0 if block == 1 else 8)
        assert (summary["latency_ms"] is None) == (block > 1)
        assert all((line.pop("latency_ms") is None) == (block > 1) for line in lines)
        written[block] = lines, {key: summary[key] for key in ("frames", "decisions", "reasons", "checks")}
    assert written[3] == written[1]
    assert written[128] == written[1]
    assert {line["reason"] for line in written[1][0]} >= {"unreadable", ""}


@pytest.mark.parametrize(
    ("limits", "live", "observed"),
    [(NONE, True, False), (RunSettings(latency_ms=9.0), False, False), (NONE, False, True)],
)
def test_a_frame_whose_latency_counts_waits_for_no_other(
    limits: RunSettings, live: bool, observed: bool
) -> None:
    one, lines = runner(limits)
    if observed:
        one.observer = lambda work, answer: None
    assert one.together(live) == 1
    frames = [frame(image) for image in images(3)]
    run_module.loop(one, source(frames, live), NOTHING)
    assert all(line["latency_ms"] > 0 for line in lines)
    assert one.counters.summary()["together"] == 0


def test_a_block_under_a_limit_counts_the_wait_of_its_frames() -> None:
    """A block is not used under a limit; if it were, no frame would pass on an inference time that it did not wait for."""
    one, lines = runner(RunSettings(latency_ms=5.0), seconds=0.002)
    one.judge_all(one.infer_all([frame(image) for image in images(4)], False))
    assert [line["reason"] for line in lines] == ["slow"] * 4


def test_a_slow_model_answers_what_there_is_time_for(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]

    class Slow(Fake):
        def infer(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
            clock[0] += 0.6 * SECONDS
            return super().infer(values)

    monkeypatch.setattr(running_module.time, "perf_counter", lambda: clock[0])
    one, lines = runner()
    one.backend = Slow()
    frames = [frame(image) for image in images(7)]
    assert len(one.infer_all(frames, False)) == 2
    assert run_module.loop(one, source(frames), NOTHING) == ""
    assert [line["frame"] for line in lines] == list(range(7))


def test_a_loop_ends_at_its_number_of_frames_within_a_block() -> None:
    one, lines = runner()
    run_module.loop(one, source([frame(image) for image in images(9)]), NOTHING._replace(frames=5))
    assert len(lines) == 5


def test_a_hot_device_answers_frames_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_module, "is_hot", lambda limit, root: True)
    monkeypatch.setattr(run_module.time, "sleep", lambda seconds: None)
    one, _ = runner(RunSettings(hot=90.0))
    run_module.loop(one, source([frame(image) for image in images(4)]), NOTHING)
    assert one.counters.paused == 4


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"channels": "bgr", "low": -1.0, "mean": (0.1, 0.2, 0.3), "std": (0.5, 0.4, 0.3)},
        {"channels": "grey", "depth": 1},
        {"standardise": True},
        {"height": 5},
    ],
)
@pytest.mark.parametrize("grey", [False, True])
def test_frames_are_prepared_together_as_alone(changes: dict[str, Any], grey: bool) -> None:
    contract: Input = CONTRACT._replace(**changes)
    frames = [image[..., :1] if grey else image for image in images(5)]
    small, values = Preprocessor(contract).batch(frames)
    for place, one in enumerate(frames):
        alone = Preprocessor(contract).values(one)[0]
        assert np.asarray(values[place]).tobytes() == alone.tobytes()
        assert np.asarray(small[place]).tobytes() == Preprocessor(contract).pixels(one).tobytes()


numbers = st.one_of(st.none(), st.floats(), st.floats(width=32).map(np.float64))


@given(
    st.sampled_from([TRUST, FALL_BACK]),
    st.one_of(st.none(), st.integers(0, 1)),
    st.tuples(numbers, numbers),
    st.text(),
    st.one_of(st.none(), st.text()),
    st.one_of(st.none(), st.lists(st.integers(0, 50)).map(tuple)),
    st.floats(0, 1e6),
    st.one_of(st.none(), st.floats(0, 1e3)),
)
def test_a_line_has_the_bytes_of_json(action, predicted, measured, text, check, classes, at, seconds) -> None:
    labels = ("stop \u2665", 'a "b"\\')
    answer = Answer(Decision(action, "", predicted, *measured), check, classes)
    given_frame = Frame(None, text, at, True, 0.0, text)
    trusted = action == TRUST and predicted is not None
    record = {
        "frame": 7,
        "source": text,
        "time": round(at, 6),
        "decision": action,
        "reason": "",
        "class": predicted if trusted else None,
        "label": labels[predicted] if trusted else "unknown",
        "predicted": predicted,
        "score": finite(measured[0]),
        "distance": finite(measured[1]),
        "check": check,
        "set": None if classes is None else list(classes),
        "latency_ms": None if seconds is None else round(1000 * seconds, 3),
        "monitor": "m",
        **({"problem": text} if text else {}),
    }
    line = FrameLines(labels, "m").line(7, given_frame, answer, seconds)
    assert line == json.dumps(record, sort_keys=True, allow_nan=False) + "\n"


def finite(value: float | None) -> float | None:
    return None if value is None or not np.isfinite(value) else float(value)


def test_lines_together_are_rotated_as_lines_one_by_one(tmp_path: Path) -> None:
    texts = [json.dumps({"number": number, "text": "x" * (number % 30)}) + "\n" for number in range(40)]
    contents = []
    for size in (1, 7):
        folder = tmp_path / str(size)
        folder.mkdir()
        lines = Lines(str(folder / "lines"), most=200, kept=3)
        for begin in range(0, 40, size):
            lines.write_all(texts[begin : begin + size])
        lines.write_all([])
        lines.close()
        contents.append({path.name: path.read_text() for path in folder.iterdir()})
    assert contents[0] == contents[1]
    assert len(contents[0]) == 4


def test_the_bound_of_lost_lines_is_documented() -> None:
    text = (Path(__file__).parents[2] / "docs" / "edge.md").read_text(encoding="utf-8")
    assert f"{blocks_module.SECONDS:g} s" in text
    assert f"{RunSettings().block} frames" in text


def test_the_fake_answers_one_image_at_a_time() -> None:
    """The model sees images one by one, because a batch is rounded otherwise."""
    seen: list[int] = []

    class Watched(Fake):
        def infer(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
            seen.append(len(values))
            return super().infer(values)

    one, _ = runner()
    one.backend = Watched()
    run_module.loop(one, source([frame(image) for image in images(9)]), NOTHING)
    assert seen == [1] * 9
