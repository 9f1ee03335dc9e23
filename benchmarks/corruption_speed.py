"""Processor time of the corruptions on one core: the 19 published ones at five severities (95 cells) on 1,000 images of 32 x 32.

    python benchmarks/corruption_speed.py

The images are rendered traffic signs. Each of ROUNDS rounds runs every cell once, after a first call on two images, which loads libraries and textures.
The target is judged by the median round, and all rounds are recorded, because a shared machine varies by a third.
Processor time is recorded, not wall time, because the machine may be shared. Peak memory is that of one cell above the images.
The record is in benchmarks/results/corruption_speed.json; absolute rates belong to the machine and its load.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import time
import tracemalloc
from pathlib import Path

for threads in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[threads] = "1"

import numpy as np  # noqa: E402

from safeml.corruptions.engine import corrupt  # noqa: E402
from safeml.corruptions.rows import ROWS, SEVERITIES  # noqa: E402
from safeml.data.rendered import render  # noqa: E402

RESULT = Path(__file__).parent / "results" / "corruption_speed.json"
IMAGES, SIDE = 1000, 32
ROUNDS = 5
TARGET_SECONDS = 8.0


def seconds(images: np.ndarray, name: str) -> float:
    """Return the processor time of the five severities."""
    corrupt(images[:2], name, 1)
    start = time.process_time()
    for severity in SEVERITIES:
        corrupt(images, name, severity)
    return time.process_time() - start


def peak_megabytes(images: np.ndarray, name: str) -> float:
    """Return the peak memory of one cell beyond its input and output."""
    tracemalloc.start()
    corrupt(images, name, 3)
    peak = tracemalloc.get_traced_memory()[1] - images.nbytes
    tracemalloc.stop()
    return peak / 1e6


def main() -> None:
    """Measure, print and record."""
    images = render(IMAGES, seed=3, size=SIDE, frames_per_sign=10).images
    rounds = [{row.name: seconds(images, row.name) for row in ROWS} for _ in range(ROUNDS)]
    published = [sum(spent[row.name] for row in ROWS if row.published) for spent in rounds]
    spent = {row.name: round(statistics.median(one[row.name] for one in rounds), 3) for row in ROWS}
    memory = {
        count: round(max(peak_megabytes(images[:count], row.name) for row in ROWS), 1)
        for count in (IMAGES // 4, IMAGES)
    }
    record = {
        "images": IMAGES,
        "side": SIDE,
        "published_95_cells_seconds": [round(one, 2) for one in published],
        "published_95_cells_median_seconds": round(statistics.median(published), 2),
        "all_cells": len(ROWS) * len(SEVERITIES),
        "all_cells_median_seconds": round(statistics.median(sum(one.values()) for one in rounds), 2),
        "target_seconds": TARGET_SECONDS,
        "target_met": statistics.median(published) <= TARGET_SECONDS,
        "median_seconds_of_five_severities": spent,
        "peak_megabytes_by_images": memory,
        "machine": {"processor": platform.machine(), "load": [round(load, 1) for load in os.getloadavg()]},
        "numpy": np.__version__,
        "python": platform.python_version(),
    }
    RESULT.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(record, indent=1))


if __name__ == "__main__":
    main()
