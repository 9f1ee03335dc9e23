"""Golden images: rendered signs, what each model file answers, and how far a device may be from it.

The reference is ONNX Runtime without optimizations, which computes each node as the file states it. A device fuses and rounds in
another way. How far that moves an output is measured here by two other computations of the same file: ONNX Runtime with all its
optimizations, and FP16 outside the quantizers. The tolerance is FACTOR times the largest difference on the pool of images.

Images are chosen so that the two largest logits are more than twice the tolerance apart in every file. So a device within the
tolerance gives the same class, and a changed class is a failure without doubt.

Legend: N images, H W C pixels, K classes, F features.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from safeml.bundle.models import FLOAT, HALF, INT8, Exported
from safeml.bundle.tolerances import FACTOR, Tolerance
from safeml.classifiers.base import InputSpec
from safeml.classifiers.contract import model_arrays
from safeml.data.rendered.tracks import render
from safeml.edge.monitor_check import recorded_name
from safeml.errors import InputRefused, StageError
from safeml.export import tftrt
from safeml.export.ends import FEATURES, LOGITS
from safeml.export.half import half_of_file
from safeml.export.sessions import outputs, session
from safeml.monitors.decisions import ORDER
from safeml.monitors.registry import score
from safeml.monitors.runtime import Monitor
from safeml.monitors.state import State

FILE = "golden/golden.npz"
IMAGES, LEAST_IMAGES = 32, 8
POOL, POOL_SEED = 172, 990_000
LARGEST_SIDE, SMALLEST_SIDE = 128, 16
TFTRT = "tftrt"
# Of the size of the outputs: a float file differs between machines by rounding alone.
LEAST_TOLERANCE = 1e-4
# Each image is given to the monitor so often in succession, so that the buffers of its distance fill.
REPEATS, STEP = 12, 0.05


@dataclass(frozen=True)
class Golden:
    """The golden images of a bundle.

    arrays: of golden.npz, see docs/bundle.md.
    tolerances: by the key of the model.
    tftrt: `images` and `outputs` of the golden file beside the script of the SavedModel, or None.
    float_scores: how far a score of the monitor of the float model may be from the recorded one; None without such a monitor.
    """

    arrays: dict[str, np.ndarray]
    tolerances: dict[str, Tolerance]
    tftrt: dict[str, np.ndarray] | None
    float_scores: Tolerance | None = None


@dataclass(frozen=True)
class _Answers:
    """What one model answers on the pool. logits: float32 [N, K]. features: float32 [N, F] or None. measured: see `Tolerance`.

    others: logits and features by the other computations of the file, by their names in `measured`.
    """

    logits: np.ndarray
    features: np.ndarray | None
    measured: dict[str, float]
    others: dict[str, tuple[np.ndarray, np.ndarray | None]] = field(default_factory=dict)


def make_golden(
    exported: Exported,
    spec: InputSpec,
    state: State | None,
    fixed: dict[str, float],
    float_state: State | None = None,
) -> Golden:
    """Render the images, compute the answers and derive the tolerances.

    state: of the monitor, whose answers are recorded too; None for none. float_state: of that of the float model. fixed: tolerances that the settings fix, by key.
    Raises StageError where too few images are decided clearly enough, and InputRefused for outputs that are not finite.
    """
    side = min(LARGEST_SIDE, max(SMALLEST_SIDE, spec.height, spec.width))
    frames = render(POOL, seed=POOL_SEED, frames_per_sign=1, size=side).images
    values = model_arrays(frames, spec)
    answers = _answers(exported, values)
    tolerances = {key: _tolerance(key, entry, fixed) for key, entry in answers.items()}
    chosen = _choose(answers, tolerances)
    arrays: dict[str, np.ndarray] = {"frames": frames[chosen], "values": values[chosen]}
    for key, entry in answers.items():
        arrays[f"logits.{key}"] = entry.logits[chosen]
        if entry.features is not None:
            arrays[f"features.{key}"] = entry.features[chosen]
    if state is not None:
        arrays |= monitor_answers(state, arrays[f"logits.{INT8}"], arrays.get(f"features.{INT8}"))
    float_scores = None
    if float_state is not None:
        given = monitor_answers(float_state, arrays[f"logits.{FLOAT}"], arrays.get(f"features.{FLOAT}"))
        arrays |= {recorded_name(FLOAT, name): given[f"monitor.{name}"] for name in ("actions", "scores")}
        arrays |= {name: given[name] for name in ("monitor.repeats", "monitor.step")}
        float_scores = _score_tolerance(float_state, answers[FLOAT])
    served = {"images": values[chosen], "outputs": arrays[f"logits.{TFTRT}"]} if TFTRT in answers else None
    return Golden(arrays, tolerances, served, float_scores)


def _answers(exported: Exported, values: np.ndarray) -> dict[str, _Answers]:
    answers: dict[str, _Answers] = {}
    for model in exported.models:
        names = [LOGITS, *([FEATURES] if FEATURES in model.facts.outputs else [])]
        reference = outputs(session(model.path), values, names)
        others = {"with optimizations": _parts(outputs(session(model.path, optimized=True), values, names))}
        if model.key == FLOAT and (in_half := _in_half(model.path, values, names)) is not None:
            others["in FP16"] = _parts(in_half)
        measured = {name: _apart(reference[0], logits) for name, (logits, _) in others.items()}
        answers[model.key] = _Answers(*_parts(reference), measured, others)
    if HALF in answers:
        apart = _apart(answers[INT8].logits, answers[HALF].logits)
        answers[INT8].measured["with FP16 outside the quantizers"] = apart
        answers[HALF].measured["with float32 outside the quantizers"] = apart
    if exported.tftrt is not None:
        logits = tftrt.predict(exported.tftrt, values)
        if logits is not None:
            measured = {"from the INT8 ONNX file": _apart(logits, answers[INT8].logits)}
            answers[TFTRT] = _Answers(logits, None, measured)
    for key, entry in answers.items():
        if not np.isfinite(entry.logits).all():
            raise InputRefused(
                f"the model {key} gives outputs on rendered signs that are not finite; export it again."
            )
    return answers


def _parts(answers: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray | None]:
    return answers[0], answers[1] if len(answers) > 1 else None


def _in_half(path: Path, values: np.ndarray, names: list[str]) -> list[np.ndarray] | None:
    """Return outputs of a float file computed in FP16, float32; None where a value is out of the range of FP16."""
    try:
        variant = half_of_file(path)
    except InputRefused:
        return None
    return outputs(session(variant), values, names)


def _score_tolerance(state: State, entry: _Answers) -> Tolerance:
    """Return how far a score of a monitor may be from the recorded one: FACTOR times the largest difference by another computation."""
    scores = _scores(state, entry.logits, entry.features)
    measured = {name: _apart(scores, _scores(state, *other)) for name, other in entry.others.items()}
    derived = max(FACTOR * max(measured.values()), LEAST_TOLERANCE * max(1.0, float(np.abs(scores).max())))
    return Tolerance(_rounded(derived), {name: _rounded(value) for name, value in measured.items()})


def _scores(state: State, logits: np.ndarray, features: np.ndarray | None) -> np.ndarray:
    return score(state.settings["score"], state.arrays, logits, None if not state.features else features)


def _apart(first: np.ndarray, second: np.ndarray) -> float:
    return float(np.abs(first.astype(np.float64) - second).max())


def _tolerance(key: str, entry: _Answers, fixed: dict[str, float]) -> Tolerance:
    size = float(np.abs(entry.logits).max())
    derived = max(FACTOR * max(entry.measured.values()), LEAST_TOLERANCE * max(1.0, size))
    measured = {name: _rounded(value) for name, value in entry.measured.items()}
    return Tolerance(fixed.get(key, _rounded(derived)), measured, key in fixed)


def _rounded(value: float) -> float:
    """Return a number with three digits, rounded up, so that a page shows the number that decides."""
    if value <= 0:
        return 0.0
    unit = 10.0 ** (np.floor(np.log10(value)) - 2)
    return float(f"{np.ceil(value / unit) * unit:.3g}")


def _choose(answers: dict[str, _Answers], tolerances: dict[str, Tolerance]) -> np.ndarray:
    """Return the rows of the golden images, int64 [N] ascending: decided clearly in every file, of many classes."""
    room = np.min(
        [_margin(entry.logits) / (2 * tolerances[key].max_abs) for key, entry in answers.items()], axis=0
    )
    tops = [entry.logits.argmax(axis=1) for entry in answers.values()]
    clear = (room > 1) & np.all([top == tops[0] for top in tops], axis=0)
    if clear.sum() < LEAST_IMAGES:
        raise StageError(
            f"of {len(room)} rendered signs only {int(clear.sum())} are decided by more than twice the tolerance of every file; expected at least "
            f"{LEAST_IMAGES}. Set smaller tolerances in [bundle] tolerances, or export the model again."
        )
    order = sorted(np.flatnonzero(clear), key=lambda row: (-room[row], row))
    first: dict[int, int] = {}
    for row in order:
        first.setdefault(int(tops[0][row]), int(row))
    rows = list(first.values())[:IMAGES]
    rows += [int(row) for row in order if row not in rows][: IMAGES - len(rows)]
    return np.sort(np.array(rows, np.int64))


def _margin(logits: np.ndarray) -> np.ndarray:
    """Return the difference of the two largest logits, float [N]."""
    ordered = np.sort(logits, axis=1)
    margin: np.ndarray = ordered[:, -1] - ordered[:, -2]
    return margin


def monitor_answers(state: State, logits: np.ndarray, features: np.ndarray | None) -> dict[str, np.ndarray]:
    """Return what the monitor decides on recorded outputs, as arrays of golden.npz.

    logits: float32 [N, K]. features: float32 [N, F] or None. Each image is given REPEATS times in succession, STEP seconds apart
    and without its pixels; the answer to the last one is recorded.
    """
    monitor = Monitor(state)
    actions, scores = [], []
    number = 0
    for row in range(len(logits)):
        for _ in range(REPEATS):
            answer: Any = monitor.update(
                logits[row], None if features is None or not state.features else features[row], number * STEP
            )
            number += 1
        actions.append(ORDER.index(answer.decision.action))
        scores.append(np.nan if answer.decision.score is None else answer.decision.score)
    return {
        "monitor.actions": np.array(actions, np.int64),
        "monitor.scores": np.array(scores, np.float64),
        "monitor.repeats": np.array(REPEATS, np.int64),
        "monitor.step": np.array(STEP, np.float64),
    }
