"""The latency of a model on its device, with the state of the device while it was measured. Legend: N images."""

import time
from typing import Any, Dict, List

import numpy as np

from . import sensors
from .backends.base import Backend
from .running import latency_table

# Calls between two readings of the sensors.
EVERY = 50


def bench(
    backend: Backend,
    values: np.ndarray,
    calls: int,
    warm_up: int,
    batch: int,
    root: str = "/",
    clock: Any = time.perf_counter,
) -> Dict[str, Any]:
    """Time calls of the backend and return the record.

    values: float32 [N, H, W, C], inputs to draw from. calls, warm_up: numbers of calls; the warm-up is not counted.
    batch: images of one call. root: of the file system, for the sensors. clock: gives seconds.
    """
    fed = [
        np.ascontiguousarray(np.resize(values[start:], (batch, *values.shape[1:])))
        for start in range(len(values))
    ]
    before = state(root)
    for number in range(warm_up):
        backend.infer(fed[number % len(fed)])
    seconds: List[float] = []
    power: List[float] = []
    heat: List[float] = []
    throttled = []
    for number in range(calls):
        began = clock()
        backend.infer(fed[number % len(fed)])
        seconds.append(clock() - began)
        if number % EVERY == 0:
            watts = sensors.power(root)
            if watts:
                power.append(total(watts))
            heat += sensors.temperatures(root).values()
            throttled.append(sensors.throttled(root))
    known = [entry for entry in throttled if entry is not None]
    return {
        "batch": batch,
        "calls": calls,
        "warm_up": warm_up,
        "latency_ms": latency_table(np.array(seconds)),
        "images_per_second": round(batch * calls / sum(seconds), 2) if seconds else None,
        "power_w": {"mean": round(sum(power) / len(power), 3), "max": round(max(power), 3)}
        if power
        else None,
        "temperature_c": {"max": round(max(heat), 1)} if heat else None,
        "throttled": any(known) if known else None,
        "before": before,
        "after": state(root),
        "histogram": histogram(np.array(seconds)),
    }


def state(root: str) -> Dict[str, Any]:
    """Return clocks, temperatures and power of the device now."""
    frequencies = sensors.clocks(root)
    return {
        "clocks": frequencies or None,
        "clocks_locked": sensors.locked(frequencies),
        "temperatures": sensors.temperatures(root) or None,
        "power": sensors.power(root) or None,
    }


def total(watts: Dict[str, float]) -> float:
    """Return the power of the whole board: that of the input rail where one is named so, else the sum of the rails."""
    for name in ("VDD_IN", "POM_5V_IN", "5V_IN"):
        if name in watts:
            return watts[name]
    return sum(watts.values())


def histogram(seconds: np.ndarray, bins: int = 40) -> Dict[str, List[float]]:
    """Return counts of latencies in equal bins up to p99.5, with the edges in milliseconds; the slower ones are in the last bin."""
    if not len(seconds):
        return {"edges_ms": [], "counts": []}
    low, high = float(seconds.min()), float(np.percentile(seconds, 99.5))
    edges = np.linspace(low, high if high > low else low + 1e-6, bins + 1)
    counts, _ = np.histogram(np.minimum(seconds, edges[-1]), edges)
    return {
        "edges_ms": [round(1000 * float(edge), 5) for edge in edges],
        "counts": [int(count) for count in counts],
    }
