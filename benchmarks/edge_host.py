"""What a run of the edge runtime costs beside ONNX Runtime alone, on a host: the same frames, in one process, in turn.

    python benchmarks/edge_host.py MODEL.onnx [MODEL.onnx ...]

Each round runs the frames through the session alone (values prepared before), through a plain loop (all images in memory, divided by 255,
inferred, arg max), and through a whole run with its loop: read, preprocess, infer, monitor with input checks, score and distance, decision,
and one line of JSON; once in blocks, as stored frames are answered, and once frame by frame, as those of a camera. The model sees one image
at a time in each of them. Processor time of the process, because the machine may be shared; the median of the rounds. The monitor is fitted
on the outputs of the model on rendered signs. Memory is the resident memory of the process, over 100,000 frames after the first 12,000.
Neither is a latency of a Jetson. The aim, which was set before: a whole run takes at most 1.3 times the session alone. The record is in
benchmarks/results/edge_host.json.
"""

from __future__ import annotations

import json
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime

from safeml.data.rendered.tracks import render
from safeml.edge.backends.onnx_runtime import OnnxRuntimeBackend
from safeml.edge.frames import Frame, Source, open_source
from safeml.edge.lines import Lines
from safeml.edge.manifest import Input
from safeml.edge.preprocess import Preprocessor
from safeml.edge.run import Control, Stop, loop
from safeml.edge.run_settings import RunSettings
from safeml.edge.running import Runner
from safeml.monitors.buffer import columns_of, fit_columns, fit_reference
from safeml.monitors.inputs import fit_inputs
from safeml.monitors.registry import fit_scores
from safeml.monitors.runtime import Monitor
from safeml.monitors.state import State

FRAMES, ROUNDS, FITTING, WARM, FLAT = 500, 5, 2150, 12_000, 100_000
EACH = RunSettings(block=1)
BARE = ("session alone", "plain loop")
RUNS = {"whole run": RunSettings(), "whole run, frame by frame": EACH}
SCORE, DISTANCE = "max_probability", "wasserstein"
RESULT = Path(__file__).parent / "results" / "edge_host.json"


def main(models: list[str]) -> None:
    record: dict[str, Any] = {
        "machine": f"{platform.machine()}, {platform.python_version()}, numpy {np.__version__}, onnxruntime {onnxruntime.__version__}",
        "frames": FRAMES,
        "rounds": ROUNDS,
        "unit": "microseconds of processor time of the process, a frame",
        "monitor": f"input checks, score {SCORE}, distance {DISTANCE} of 15 frames at every frame",
        "models": {str(Path(model).parent.name): measure(model) for model in models},
    }
    RESULT.write_text(json.dumps(record, indent=1) + "\n")
    print(json.dumps(record, indent=1))


def measure(model: str) -> dict[str, Any]:
    """Return the numbers of one model."""
    manifest = SimpleNamespace(models={"int8": SimpleNamespace(path=model)})
    backend = OnnxRuntimeBackend("", manifest, threads=1)
    side = backend.session.get_inputs()[0].shape[1]
    contract = Input(side, side, 3, "rgb", 0.0, 1.0, (), (), False)
    state = fitted(backend, contract)
    images = render(FRAMES, seed=77, frames_per_sign=20, size=side).images
    values = [Preprocessor(contract).values(image) for image in images]
    with tempfile.TemporaryDirectory() as folder:
        np.savez(Path(folder) / "frames.npz", images=images, tracks=np.arange(FRAMES) // 20)
        source = str(Path(folder) / "frames.npz")
        lines = Lines(str(Path(folder) / "lines.jsonl"))

        def run(limits: RunSettings) -> Callable[[], None]:
            # As the session, the monitor is made before; it cannot be used twice, because time goes on.
            runner = runner_of(backend, contract, state, lines.write_all, limits)
            return lambda: whole(runner, source)

        spent: dict[str, list[float]] = {name: [] for name in (*BARE, *RUNS)}
        for _ in range(ROUNDS):
            ways: dict[str, Callable[[], None]] = {
                BARE[0]: lambda: alone(backend, values),
                BARE[1]: lambda: plain(backend, source),
                **{name: run(limits) for name, limits in RUNS.items()},
            }
            for name, way in ways.items():
                began = time.process_time()
                way()
                spent[name].append(1e6 * (time.process_time() - began) / FRAMES)
        lines.close()
    rounds = {name: np.array(times) for name, times in spent.items()}
    numbers: dict[str, Any] = {name: round(float(np.median(times)), 1) for name, times in rounds.items()}
    for name in RUNS:
        for bare in BARE:
            # In one round they follow each other, so a machine that is shared slows both.
            numbers[f"{name} / {bare}"] = round(float(np.median(rounds[name] / rounds[bare])), 3)
    numbers["KiB grown over 100,000 frames"] = growth(backend, contract, state, images)
    return numbers


def fitted(backend: OnnxRuntimeBackend, contract: Input) -> State:
    """Return a monitor of the model, with thresholds that a few frames fall below."""
    data = render(FITTING, seed=76, frames_per_sign=1, size=contract.height)
    preprocessor = Preprocessor(contract)
    parts = [backend.infer(preprocessor.values(image)) for image in data.images]
    logits = np.concatenate([part[0] for part in parts])
    features = np.concatenate([part[1] for part in parts if part[1] is not None])
    predicted, classes = logits.argmax(axis=1), logits.shape[1]
    arrays = fit_scores(logits, features, predicted, classes, 0) | fit_columns(features)
    arrays |= fit_reference(columns_of(arrays, logits, features), predicted, classes)
    settings = {
        "score": SCORE,
        "score_threshold": 0.0,
        "inputs": fit_inputs(data.images, np.arange(FITTING)),
        "distance": {"name": DISTANCE, "threshold": 3.0},
    }
    return State("benchmark", classes, features.shape[1], settings, arrays)


def alone(backend: OnnxRuntimeBackend, values: list[np.ndarray]) -> None:
    for one in values:
        backend.session.run(["logits", "features"], {backend.input: one})


def plain(backend: OnnxRuntimeBackend, source: str) -> None:
    """What one writes without a runtime, with all images in memory; they have the size of the model."""
    for image in np.load(source)["images"]:
        value = image[None].astype(np.float32) / np.float32(255)
        (logits,) = backend.session.run(["logits"], {backend.input: value})
        int(logits[0].argmax())


def whole(runner: Runner, source: str) -> None:
    nothing = Control(Stop(), 0, lambda summary: None, lambda *numbers: "")
    assert loop(runner, open_source(source), nothing) == ""


def runner_of(
    backend: OnnxRuntimeBackend,
    contract: Input,
    state: State,
    write: Callable[[list[str]], None],
    limits: RunSettings = EACH,
) -> Runner:
    labels = tuple(str(number) for number in range(state.classes))
    return Runner(
        backend, Preprocessor(contract), Monitor(state), labels, write, limits, monitor_id="benchmark"
    )


def growth(backend: OnnxRuntimeBackend, contract: Input, state: State, images: np.ndarray) -> int:
    """Return how many KiB the process has grown over many frames, once the kept latencies and buffers are full.

    The outputs of the model are those of a few frames, so that the loop and the monitor are measured.
    """
    answers = [backend.infer(Preprocessor(contract).values(image)) for image in images[:64]]
    replay = SimpleNamespace(infer=lambda values: answers[int(values[0, 0, 0, 0] * 255) % 64])
    runner = runner_of(replay, contract, state, lambda lines: None, RunSettings())  # type: ignore[arg-type]
    begun = []

    def frames() -> Iterator[Frame]:
        for number in range(WARM + FLAT):
            if number == WARM:
                begun.append(resident())
            yield Frame(images[number % FRAMES], str(number), number / 30, number % 20 == 0, 0.0)

    nothing = Control(Stop(), 0, lambda summary: None, lambda *numbers: "")
    loop(runner, Source("npz", frames(), False, lambda: None), nothing)
    return resident() - begun[0]


def resident() -> int:
    """Return the resident memory of this process in KiB."""
    (line,) = [
        line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmRSS")
    ]
    return int(line.split()[1])


if __name__ == "__main__":
    main(sys.argv[1:])
