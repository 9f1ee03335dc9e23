"""Forward time of the INT8 file in an audit, of the models that it comes from, and of its integer twin in ONNX Runtime.

    python benchmarks/int8_forward.py SHARED

Each contestant predicts the same IMAGES images of SHARED/data/gtsrb/valid.npz (6,315, as many as the test half has), by turns, ROUNDS
times; the record has the least wall and processor seconds of each, TensorFlow on one thread. The target is judged by processor seconds. "audit" is the classifier that every stage uses; "twin" is
`safeml.export.integer_twin` with all optimizations of ONNX Runtime, one thread. The twin is faster where it is not equal: the record
counts its images with another output and with another class, so no audit uses it.
The record is in benchmarks/results/int8_forward.json.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.update(TF_NUM_INTRAOP_THREADS="1", TF_NUM_INTEROP_THREADS="1")
ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))
RESULT = ROOT / "benchmarks" / "results" / "int8_forward.json"
MODELS = ("resnet-gtsrb", "mobilenet-gtsrb")
CALIBRATION, IMAGES, ROUNDS = 256, 6315, 2
MOST_TIMES_KERAS = 1.5


def contestants(name: str, shared: Path, folder: Path) -> dict[str, Callable[[np.ndarray], np.ndarray]]:
    """Return what predicts the logits of images, by name."""
    from benchmarks.quantized import committed, quantized, signs
    from safeml.classifiers.load import load_model
    from safeml.export.integer_twin import integer_twin
    from safeml.export.onnx import export_onnx
    from safeml.export.sessions import outputs, session
    from safeml.settings.model import InputSettings

    source = committed(name)
    model = quantized(source, signs(shared, "train", CALIBRATION))
    export = export_onnx(model, folder / "model.int8.onnx").model
    source.save(folder / "float.keras")
    model.save(folder / "int8.keras")
    names = tuple(str(number) for number in range(source.output_shape[-1]))
    audited: dict[str, Any] = {
        kind: load_model(folder / file).model.fed(InputSettings(), names, kind)
        for kind, file in (
            ("float Keras", "float.keras"),
            ("fake-quantized Keras", "int8.keras"),
            ("audit", "model.int8.onnx"),
        )
    }
    as_written, twin = session(export), session(integer_twin(export), optimized=True)
    return {
        **{kind: one.predict_logits for kind, one in audited.items()},
        "as written": lambda images: outputs(as_written, images, ["logits"])[0],
        "twin": lambda images: outputs(twin, images, ["logits"])[0],
    }


def measured(name: str, shared: Path) -> dict[str, Any]:
    """Return the record of one model."""
    from benchmarks.quantized import signs

    drawn = signs(shared, "valid", min(IMAGES, 3000))
    images = np.concatenate([drawn] * -(-IMAGES // len(drawn)))[:IMAGES]
    best: dict[str, tuple[float, float]] = {}
    logits: dict[str, np.ndarray] = {}
    with tempfile.TemporaryDirectory() as folder:
        runs = contestants(name, shared, Path(folder))
        for predict in runs.values():
            predict(images[:64])
        for _ in range(ROUNDS):
            for kind, predict in runs.items():
                start = time.perf_counter(), time.process_time()
                logits[kind] = predict(images)
                spent = time.perf_counter() - start[0], time.process_time() - start[1]
                best[kind] = tuple(map(min, spent, best.get(kind, spent)))  # type: ignore[assignment]
    written = logits["as written"]
    return {
        "seconds": {
            kind: {"wall": round(row[0], 2), "processor": round(row[1], 2)} for kind, row in best.items()
        },
        "audit_to_float_keras": {
            "wall": round(best["audit"][0] / best["float Keras"][0], 2),
            "processor": round(best["audit"][1] / best["float Keras"][1], 2),
        },
        "other_outputs_than_as_written": {
            kind: {
                "images": int((row != written).any(1).sum()),
                "classes": int((row.argmax(1) != written.argmax(1)).sum()),
            }
            for kind, row in logits.items()
            if kind in ("audit", "twin", "fake-quantized Keras")
        },
    }


def main(shared: Path) -> None:
    """Measure, print and record."""
    rows = {name: measured(name, shared) for name in MODELS}
    record = {
        "images": IMAGES,
        "most_times_keras": MOST_TIMES_KERAS,
        "target_met": all(
            row["audit_to_float_keras"]["processor"] <= MOST_TIMES_KERAS for row in rows.values()
        ),
        "models": rows,
        "machine": {"processors": os.cpu_count(), "load": [round(load, 1) for load in os.getloadavg()]},
    }
    RESULT.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(record, indent=1))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
