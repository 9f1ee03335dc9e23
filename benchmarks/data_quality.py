"""Processor time and memory of the data quality stage on the 39,209 GTSRB training images, on one core.

    python benchmarks/data_quality.py DATA        # DATA holds gtsrb/train.npz and gtsrb/valid.npz

The validation signs take the place of the test set, so that no test image is used. The model predicts one class and costs nothing: what
is measured is the data work. The record is in benchmarks/results/data_quality.json; absolute times belong to the machine and its load.
"""

from __future__ import annotations

import json
import os
import platform
import resource
import sys
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

for threads in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[threads] = "1"

import numpy as np  # noqa: E402

from safeml.audits.base import AuditInputs  # noqa: E402
from safeml.audits.data_quality.run import run  # noqa: E402
from safeml.classifiers.base import InputSpec  # noqa: E402
from safeml.data.npz import load  # noqa: E402
from safeml.stages.data_quality import DataQualitySettings  # noqa: E402

RESULT = Path(__file__).parent / "results" / "data_quality.json"
TARGET_SECONDS = 60.0


@dataclass(frozen=True)
class Constant:
    """Predicts the first class of every image."""

    classes: int
    name: str = "constant"
    spec: InputSpec = field(default_factory=lambda: InputSpec(height=32, width=32))
    parameters: int = 0
    fingerprint: str = "0" * 64
    notes: tuple[str, ...] = ()

    def predict_logits(self, images: np.ndarray) -> np.ndarray:
        return np.eye(self.classes, dtype=np.float32)[np.zeros(len(images), int)]


def peak() -> float:
    """Return the peak memory of the process in megabytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Measure, print and record."""
    folder = Path(sys.argv[1]) / "gtsrb"
    whole, test = load(folder / "train.npz"), load(folder / "valid.npz")
    test = replace(test, tracks=None, frames_per_sign=30.0)
    seconds, memory = {}, {}
    for share in (0.25, 0.5, 1.0):
        train = whole.take(np.arange(round(len(whole) * share)))
        began = time.process_time()
        result = run(AuditInputs(Constant(test.classes), test, train), DataQualitySettings())
        count = len(train) + len(test)
        seconds[count], memory[count] = round(time.process_time() - began, 1), round(peak())
    record = {
        "images": len(whole) + len(test),
        "processor_seconds_by_images": seconds,
        "peak_megabytes_by_images": memory,
        "target_seconds": TARGET_SECONDS,
        "target_met": max(seconds.values()) <= TARGET_SECONDS,
        "poor_training_images": next(
            metric.value
            for metric in result.metrics
            if (metric.name, metric.slice) == ("quality_outliers", "split:train")
        ),
        "machine": {"processor": platform.machine(), "load": [round(load, 1) for load in os.getloadavg()]},
        "numpy": np.__version__,
        "python": platform.python_version(),
    }
    RESULT.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(record, indent=1))


if __name__ == "__main__":
    main()
