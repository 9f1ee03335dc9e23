"""The self-test of a release on its device: preprocessing, outputs, determinism, bad values, the monitor, and the latency.

It decides whether a release may be used. An engine and its ONNX file can differ without any message, so the golden outputs decide, not
the success of a build.
"""

import json
import os
import time
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Tuple

import numpy as np

from ..monitors.decisions import FALL_BACK
from .backends.base import Backend
from .backends.opening import open_backend
from .backends.plan import FLOAT, HALF, INT8
from .devices import has_fast_int8
from .errors import EdgeError
from .frames import Frame
from .golden import Golden, load_golden, outputs_check
from .monitor_check import answers, fitted_precision, recorded_name, usable
from .preprocess import Preprocessor
from .run_settings import run_settings
from .running import Runner, Work, latency_table
from .safety import Safety, load_labels, load_safety

PASSED, FAILED, NOT_RUN, NOTE = "passed", "failed", "not_run", "note"
# Share of the largest golden value by which preprocessing may differ where the bundle states no tolerance.
PREPROCESSING = 1e-4
# Images of the latency check, after a warm-up.
WARM_UP, TIMED = 5, 50


class Check(NamedTuple):
    """One check.

    name: such as "golden outputs". status: "passed", "failed", "not_run" or "note", which judges nothing.
    sentence: the outcome in words. numbers: plain data.
    """

    name: str
    status: str
    sentence: str
    numbers: Dict[str, Any]


class SelfTest(NamedTuple):
    """The outcome.

    passed: no check failed. checks: in order. details: of the backend. precision: of the model that ran, "" where none did.
    """

    passed: bool
    checks: Tuple[Check, ...]
    details: Dict[str, Any]
    precision: str

    def failures(self) -> str:
        """Return the sentences of all failed checks, or ""."""
        return " ".join(check.sentence for check in self.checks if check.status == FAILED)


def selftest(
    folder: str,
    verified: Any,
    settings: Any,
    facts: Any,
    latency_ms: float = 0.0,
    opened: Callable[..., Backend] = open_backend,
) -> SelfTest:
    """Test the release in `folder` on this device.

    folder: an unpacked bundle. verified: of `verify_folder` or `unpack_bundle`; its manifest is believed.
    settings, facts: of the device. latency_ms: budget for p99 of one image; 0 takes that of a run in the settings, or no budget.
    opened: opens the backend.
    A device that cannot run the model fails the test; that is no exception.
    """
    manifest = verified.manifest
    checks: List[Check] = []
    if not has_fast_int8(facts.compute_capability):
        text = f"This GPU (compute capability {facts.compute_capability}) has no fast INT8. The float model runs, in FP16."
        checks.append(Check("INT8", NOTE, text, {"compute_capability": facts.compute_capability}))
    budget = latency_ms or run_settings(settings).latency_ms
    try:
        golden = load_golden(folder, manifest)
        load_labels(folder, manifest)
        backend = opened(folder, manifest, settings, facts)
    except EdgeError as error:
        checks.append(Check("start", FAILED, _sentence(error.message), {}))
        return SelfTest(False, tuple(checks), {}, "")
    try:
        if backend.details.get("note"):
            checks.append(Check("model", NOTE, str(backend.details["note"]), {}))
        checks += _layers(backend)
        checks += _model_checks(folder, manifest, golden, backend, budget)
    except EdgeError as error:
        checks.append(Check("device", FAILED, _sentence(error.message), {}))
    finally:
        backend.close()
    passed = not any(check.status == FAILED for check in checks)
    return SelfTest(passed, tuple(checks), backend.details, backend.precision)


def _layers(backend: Backend) -> List[Check]:
    """Say how much of an engine of the INT8 file runs in INT8: an engine in float is correct, and slow."""
    layers = backend.details.get("layers")
    if not layers or backend.precision not in (INT8, HALF):
        return []
    count, total = layers.get("Int8", 0), sum(layers.values())
    text = f"{count} of {total} layers of the engine have an INT8 output."
    return [
        Check(
            "INT8 layers", PASSED if count else NOTE, text if count else text + " It runs in float.", layers
        )
    ]


def _model_checks(folder: str, manifest: Any, golden: Golden, backend: Backend, budget: float) -> List[Check]:
    logits, features = backend.infer(golden.values)
    checks = [
        _preprocessing(folder, manifest, golden),
        _outputs(manifest, golden, backend.precision, logits),
        _deterministic(golden, backend, logits),
        _alone(manifest, golden, backend, logits),
    ]
    try:
        safety = load_safety(folder, manifest, backend.precision)
    except EdgeError as error:
        checks.append(Check("monitor", FAILED, _sentence(error.message), {}))
    else:
        checks += _monitor_checks(golden, safety, backend.precision, logits, features)
        checks.append(_bad_values(manifest, golden, safety, backend))
    checks.append(_latency(golden, backend, budget))
    return checks


def _preprocessing(folder: str, manifest: Any, golden: Golden) -> Check:
    values = Preprocessor(manifest.input).values(golden.frame)[0]
    difference = float(np.abs(values.astype(np.float64) - golden.raw_values).max())
    limit = _stated(folder, manifest) or PREPROCESSING * float(np.abs(golden.raw_values).max())
    text = f"The golden frame gives the golden tensor to {difference:.2g}; the limit is {limit:.2g}."
    return _check("golden preprocessing", difference <= limit, text, {"max_abs": difference, "limit": limit})


def _stated(folder: str, manifest: Any) -> float:
    try:
        with open(os.path.join(folder, manifest.preprocessing.file), "rb") as file:
            return float(json.loads(file.read(1 << 16).decode("utf-8"))["golden"]["max_abs"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0.0


def _outputs(manifest: Any, golden: Golden, precision: str, logits: np.ndarray) -> Check:
    numbers = outputs_check(golden, precision, logits, manifest.golden.tolerances.get(precision))
    passed, sentence = bool(numbers.pop("passed")), str(numbers.pop("sentence"))
    return _check("golden outputs", passed, sentence, numbers)


def _deterministic(golden: Golden, backend: Backend, logits: np.ndarray) -> Check:
    again, _ = backend.infer(golden.values)
    same = bool(np.array_equal(logits, again))
    difference = float(np.abs(logits.astype(np.float64) - again).max())
    text = (
        "The same images give the same outputs."
        if same
        else f"The same images give other outputs, by up to {difference:.3g}."
    )
    return _check("determinism", same, text, {"max_abs": difference})


def _alone(manifest: Any, golden: Golden, backend: Backend, logits: np.ndarray) -> Check:
    """Compare images one by one with the same images in a batch: a camera gives one at a time."""
    single = np.concatenate(
        [backend.infer(golden.values[row : row + 1])[0] for row in range(len(golden.values))]
    )
    difference = float(np.abs(logits.astype(np.float64) - single).max())
    flips = int((logits.argmax(axis=1) != single.argmax(axis=1)).sum())
    tolerance = manifest.golden.tolerances.get(backend.precision)
    limit = tolerance.max_abs if tolerance is not None else 0.0
    text = f"Images one by one differ from those in a batch by up to {difference:.3g} (limit {limit:.3g}); {flips} change their class."
    return _check(
        "another batch",
        difference <= limit and not flips,
        text,
        {"max_abs": difference, "limit": limit, "flips": flips},
    )


def _monitor_checks(
    golden: Golden, safety: Safety, precision: str, logits: np.ndarray, features: Optional[np.ndarray]
) -> List[Check]:
    if safety.state is None:
        return [Check("monitor", NOTE, safety.note, {})]
    fed, recorded = fitted_precision(precision), golden.recorded
    known = [recorded.get(recorded_name(precision, name)) for name in ("actions", "scores")]
    if known[0] is None or known[1] is None or fed not in golden.logits:
        return [Check("monitor", FAILED, "The bundle records no answers of its monitor.", {})]
    actions, scores = answers(golden, safety, golden.logits[fed], recorded.get(f"features.{fed}"))
    wrong = int((actions != known[0]).sum())
    close = np.isclose(scores, known[1], rtol=1e-6, atol=1e-6, equal_nan=True)
    text = f"{wrong} of {len(actions)} answers and {int((~close).sum())} scores of the monitor differ from the recorded ones, on recorded outputs."
    checks = [
        _check("monitor", not wrong and bool(close.all()), text, {"answers": len(actions), "differ": wrong})
    ]
    if precision == FLOAT:
        return [*checks, _float_check(usable(golden, safety, logits, features))]
    if safety.state.features and features is None:
        text = "The monitor needs features, and the model gives none on this backend: no frame is trusted."
        return [*checks, Check("monitor on this device", FAILED, text, {})]
    here, _ = answers(golden, safety, logits, features)
    differ = int((here != actions).sum())
    text = f"On the outputs of this device {differ} of {len(here)} answers of the monitor differ."
    return [
        *checks,
        _check("monitor on this device", not differ, text, {"answers": len(here), "differ": differ}),
    ]


def _float_check(safety: Safety) -> Check:
    """Say whether the monitor of the float model is used here; a device that falls back on every frame is safe, so nothing fails."""
    if safety.state is None:
        return Check("monitor on this device", NOTE, safety.note, {"used": False})
    text = f"On the outputs of this device each score is within {safety.limit:.3g} of the recorded one: the monitor is used."
    return Check("monitor on this device", PASSED, text, {"used": True, "limit": safety.limit})


def _bad_values(manifest: Any, golden: Golden, safety: Safety, backend: Backend) -> Check:
    """Feed what is not a number, as a frame and as an output; nothing of it may be trusted.

    INT8 arithmetic turns NaN into a number, so such a frame is stopped before the model sees it.
    """
    monitor = safety.monitor()
    runner = Runner(backend, Preprocessor(manifest.input), monitor, _numbered(manifest.classes), _ignore)
    shape = (manifest.input.height, manifest.input.width, 3)
    outcomes = []
    for value in (np.nan, np.inf, -np.inf):
        frame = Frame(np.full(shape, value, np.float32), "", 0.0, True, 0.0)
        outcomes.append(runner.judge(runner.infer(frame, False)).decision.action)
    logits = np.full(manifest.classes, np.nan, np.float32)
    features = None if not manifest.features else np.zeros(manifest.features, np.float32)
    work = Work(Frame(None, "", 0.0, True, 0.0), None, logits, features, "", 0.0)
    outcomes.append(runner.judge(work).decision.action)
    text = "Frames of NaN, infinity and minus infinity, and outputs of NaN give {}.".format(
        ", ".join(outcomes)
    )
    return _check("values that are not finite", outcomes == [FALL_BACK] * 4, text, {"decisions": outcomes})


def _numbered(classes: int) -> Tuple[str, ...]:
    return tuple(str(number) for number in range(classes))


def _ignore(lines: List[str]) -> None:
    """A self-test writes no lines."""


def _latency(golden: Golden, backend: Backend, budget: float) -> Check:
    for _ in range(WARM_UP):
        backend.infer(golden.values[:1])
    seconds = []
    for number in range(TIMED):
        row = number % len(golden.values)
        began = time.perf_counter()
        backend.infer(golden.values[row : row + 1])
        seconds.append(time.perf_counter() - began)
    table = latency_table(np.array(seconds)) or {}
    words = "p99 of {} single images is {:.2f} ms".format(TIMED, table["p99"])
    numbers = dict(table, budget_ms=budget or None)
    if not budget:
        return Check(
            "latency",
            NOT_RUN,
            words + "; no budget is set (latency_ms below run in the device settings).",
            numbers,
        )
    return _check("latency", table["p99"] <= budget, f"{words}; the budget is {budget:g} ms.", numbers)


def _check(name: str, passed: bool, sentence: str, numbers: Dict[str, Any]) -> Check:
    return Check(name, PASSED if passed else FAILED, sentence, numbers)


def _sentence(text: str) -> str:
    whole = text[:1].upper() + text[1:]
    return whole if whole.endswith(".") else whole + "."
