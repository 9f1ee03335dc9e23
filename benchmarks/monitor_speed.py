"""Time and size of run-time monitors at 43 classes, and the same distances by the published SafeML 0.3.

    python benchmarks/monitor_speed.py [FOLDER]

FOLDER: where the wheel of `pip download SafeML==0.3 --no-deps` was unpacked; without it, only safeml's own numbers are measured. Its functions
are called as they are. Processor time of one thread, because the machine may be shared. The record is in benchmarks/results/monitor_speed.json.
"""

from __future__ import annotations

import importlib
import json
import os
import platform
import sys
import time
import tracemalloc
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from safeml.monitors.buffer import DistanceMonitor, columns_of, fit_columns, fit_reference
from safeml.monitors.distances import DISTANCES, distance, pooled
from safeml.monitors.reference import Reference
from safeml.monitors.registry import SCORES, fit_scores, score
from safeml.monitors.state import size_of

CLASSES, FEATURES, FITTING = 43, 128, 4300
WINDOW, REFERENCES, COLUMNS = (
    15,
    (128, 1410),
    16,
)  # 1,410: training images of one class in the published evaluation
RESULT = Path(__file__).parent / "results" / "monitor_speed.json"
SAFEML = {
    "kolmogorov_smirnov": ("Kolmogorov_Smirnov_Distance", "Kolmogorov_Smirnov_Dist"),
    "kuiper": ("KuiperDistance", "Kuiper_Dist"),
    "cramer_von_mises": ("CVM_Distance", "CVM_Dist"),
    "anderson_darling": ("Anderson_Darling_Distance", "Anderson_Darling_Dist"),
    "wasserstein": ("WassersteinDistance", "Wasserstein_Dist"),
    "dts": ("DTS_Distance", "DTS_Dist"),
}


def best(run: Callable[[], object], repeats: int = 200, least: float = 0.0005) -> float:
    """Return the microseconds of processor time of one call: the best of `repeats` rounds of at least `least` seconds, short enough for some to be undisturbed."""
    calls, spent = 1, 0.0
    while spent < least:
        calls *= 2
        began = time.process_time()
        for _ in range(calls):
            run()
        spent = time.process_time() - began
    rounds = []
    for _ in range(repeats):
        began = time.process_time()
        for _ in range(calls):
            run()
        rounds.append((time.process_time() - began) / calls)
    return round(1e6 * min(rounds), 1)


def main(folder: str) -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(FITTING) % CLASSES
    features = np.maximum(
        rng.normal(size=(FITTING, FEATURES)) + 2 * rng.normal(size=(CLASSES, FEATURES))[labels], 0
    )
    logits = features @ rng.normal(size=(FEATURES, CLASSES))
    arrays = fit_scores(logits, features, labels, CLASSES, 0)
    scores_size = size_of(arrays)
    arrays |= fit_columns(features)
    arrays |= fit_reference(columns_of(arrays, logits, features), labels, CLASSES)
    record: dict[str, Any] = {
        "machine": f"{platform.machine()}, {platform.python_version()}, numpy {np.__version__}",
        "classes": CLASSES,
        "features": FEATURES,
        "bytes": {"scores": scores_size, "scores and references": size_of(arrays)},
        "score_us": {
            name: best(lambda name=name: score(name, arrays, logits[:1], features[:1])) for name in SCORES
        },
        "buffer": buffers(arrays, logits, features),
        "distance_us": distances(rng, folder),
    }
    if folder:
        record["published"] = published_answers(folder)
    text = json.dumps(record, indent=1, sort_keys=True) + "\n"
    print(text)
    RESULT.write_text(text, encoding="utf-8")


def buffers(arrays: dict[str, np.ndarray], logits: np.ndarray, features: np.ndarray) -> dict[str, float]:
    """Return the microseconds of a frame of a full buffer, and the growth of memory in bytes over the last 95,000 of 100,000 frames."""
    result = {}
    for every in (1, WINDOW):
        monitor = DistanceMonitor(arrays, "wasserstein", np.inf, WINDOW, WINDOW, every=every, time_out=1e9)
        for _ in range(WINDOW):
            monitor.update(logits[0], features[0], 0.0)
        result[f"us, compared at each {every}"] = best(
            lambda monitor=monitor: monitor.update(logits[0], features[0], 0.0)
        )
    tracemalloc.start()
    held = []
    for place in range(100_000):
        monitor.update(logits[place % FITTING], features[place % FITTING], 0.0)
        if place in (4_999, 99_999):
            held.append(tracemalloc.get_traced_memory()[0])
    tracemalloc.stop()
    result["bytes grown in 95,000 frames"] = held[1] - held[0]
    return result


def distances(rng: np.random.Generator, folder: str) -> dict[str, Any]:
    """Return the times of `against` for each size of the reference."""
    return {
        f"{WINDOW} frames, reference of {rows}": against(
            np.sort(rng.normal(size=(rows, COLUMNS)), axis=0), rng.normal(size=(WINDOW, COLUMNS)), folder
        )
        for rows in REFERENCES
    }


def against(x: np.ndarray, y: np.ndarray, folder: str) -> dict[str, Any]:
    """Return microseconds a column: of each distance alone, of all that SafeML 0.3 has from one sorting, and the same of SafeML 0.3.

    x: float [rows, COLUMNS], sorted, as a device holds its reference; it is sorted once here, before the time begins. Both get the same arrays.
    """
    one, two = x[:, 0].copy(), y[:, 0].copy()
    reference = Reference(x)
    times: dict[str, Any] = {}
    for name in DISTANCES:
        here = round(best(partial(reference.distance, name, y)) / COLUMNS, 2)
        times[name] = {
            "here": here,
            "both samples unsorted": round(best(partial(distance, name, x, y)) / COLUMNS, 2),
        }
        other = published(folder, name)
        if other is not None:
            theirs = best(partial(other, one, two))
            times[name].update({"SafeML 0.3": theirs, "times as long": round(theirs / here, 1)})

    def together() -> None:
        samples = pooled(x, y)
        for name in SAFEML:
            DISTANCES[name](samples)

    here = round(best(together) / COLUMNS, 2)
    times["all six together"] = {"here": here}
    if folder:
        theirs = round(sum(times[name]["SafeML 0.3"] for name in SAFEML), 1)
        times["all six together"].update({"SafeML 0.3": theirs, "times as long": round(theirs / here, 1)})
    return times


def published(folder: str, name: str) -> Callable[[np.ndarray, np.ndarray], object] | None:
    """Return the function of SafeML 0.3 for a distance; None without it."""
    if not folder or name not in SAFEML:
        return None
    module, function = SAFEML[name]
    distance_of: Callable[[np.ndarray, np.ndarray], object] = getattr(
        importlib.import_module(f"SafeML.{module}"), function
    )
    return distance_of


def published_answers(folder: str) -> dict[str, dict[str, str]]:
    """Return the numbers of both on inputs that they judge differently, and the outcome of each p-value function there."""
    pairs = {"0 1 2 3 and 0 1 2 1000": ([0, 1, 2, 3], [0, 1, 2, 1000]), "0 and 1": ([0], [1])}
    result: dict[str, dict[str, str]] = {}
    for words, (first, second) in pairs.items():
        x, y = np.array(first, float), np.array(second, float)
        for name in SAFEML:
            own = float(distance(name, x, y)[0])
            result[f"{name} of {words}"] = {
                "here": f"{own:g}",
                "SafeML 0.3": answer(lambda name=name, x=x, y=y: published(folder, name)(x, y)),
            }
    x, y = np.arange(20.0), np.arange(20.0) + 1
    for file in sorted(os.listdir(os.path.join(folder, "SafeML"))):
        name = file.removesuffix(".py")
        if name.endswith("PVal"):
            call = lambda name=name: getattr(importlib.import_module(f"SafeML.{name}"), name)(x, y)  # noqa: E731
            result[name] = {"SafeML 0.3": answer(call)}
    return result


def answer(call: Callable[[], object]) -> str:
    """Return what a call gives, or its error: the code is another project's, and fails in many ways."""
    try:
        return f"{call()}"
    except Exception as error:
        return f"{type(error).__name__}: {error}"


if __name__ == "__main__":
    given = sys.argv[1] if len(sys.argv) > 1 else ""
    sys.path += [given] if given else []
    main(given)
