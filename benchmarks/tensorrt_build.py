"""What the exported networks meet: findings of the linter, parse and ahead-of-time build by TensorRT for RTX, and seconds.

    python benchmarks/tensorrt_build.py SHARED [MODEL ...]

It needs the extra `trt` and no GPU. The committed GTSRB models are calibrated on training images of SHARED/data/gtsrb. The networks of
keras.applications have random weights and random images: they show whether an architecture is exported and taken, not an accuracy.
Per model: the INT8 file, its variant with FP16 outside the quantizers, and the float file. "export" is the time of
`export_onnx` for the INT8 file, in wall and processor seconds, on one thread. Networks that are not named keep their rows.
The record is in benchmarks/results/tensorrt_build.json.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

RESULT = ROOT / "benchmarks" / "results" / "tensorrt_build.json"
IMAGES, LARGE_IMAGES = 256, 4
EXPORT_SECONDS = 20.0
EXPORT_MODEL = "MobileNetV2, 224 px"
FLOAT, INT8, HALF = "float", "int8", "int8-fp16"


def trained(name: str) -> Callable[[Path], tuple[Any, np.ndarray]]:
    """Return what gives a committed model and real calibration images."""

    def build(shared: Path) -> tuple[Any, np.ndarray]:
        from benchmarks.quantized import committed, signs

        return committed(name), signs(shared, "train", IMAGES)

    return build


def untrained(name: str, low: float, high: float) -> Callable[[Path], tuple[Any, np.ndarray]]:
    """Return what gives an ImageNet network with random weights, and random images in low..high."""

    def build(shared: Path) -> tuple[Any, np.ndarray]:
        from benchmarks.quantized import random_network

        return random_network(name, low, high, LARGE_IMAGES)

    return build


MODELS: dict[str, Callable[[Path], tuple[Any, np.ndarray]]] = {
    "lenet-gtsrb": trained("lenet-gtsrb"),
    "resnet-gtsrb": trained("resnet-gtsrb"),
    "mobilenet-gtsrb": trained("mobilenet-gtsrb"),
    "vit-gtsrb": trained("vit-gtsrb"),
    EXPORT_MODEL: untrained("MobileNetV2", -1, 1),
    "EfficientNetB0, 224 px": untrained("EfficientNetB0", 0, 255),
    "ResNet50, 224 px": untrained("ResNet50", -128, 127),
}


def measured(build: Callable[[Path], tuple[Any, np.ndarray]], shared: Path) -> dict[str, Any]:
    """Return the record of one network."""
    from benchmarks.quantized import quantized
    from safeml.export import linter
    from safeml.export.half import half
    from safeml.export.onnx import export_onnx

    source, images = build(shared)
    model = quantized(source, images)
    start = time.perf_counter(), time.process_time()
    export = export_onnx(model, None)
    seconds = time.perf_counter() - start[0], time.process_time() - start[1]
    share, count = linter.int8_share(export.model)
    protos = {
        INT8: export.model,
        HALF: half(export.model, "model.int8.onnx"),
        FLOAT: export_onnx(source, None).model,
    }
    targets = {INT8: linter.INT8, HALF: linter.HALF}
    return {
        "parameters": int(source.count_params()),
        "multiply_accumulates": count,
        "int8_share": round(share, 4),
        "quantizers": export.quantizers,
        "export": {"wall_seconds": round(seconds[0], 2), "processor_seconds": round(seconds[1], 2)},
        "linter_findings": {
            kind: [str(finding) for finding in linter.lint(protos[kind], target)]
            for kind, target in targets.items()
        },
        "files": {kind: built(proto, kind) for kind, proto in protos.items()},
    }


def built(proto: Any, kind: str) -> dict[str, Any]:
    """Return what TensorRT for RTX says of one file."""
    from safeml.export.tensorrt_rtx import check

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "model.onnx")
        file.write_bytes(proto.SerializeToString())
        start = time.perf_counter()
        result = check(file, int8=kind != FLOAT)
        seconds, size = time.perf_counter() - start, file.stat().st_size
    wanted = ("target", "weighted_layers", "int8_layers", "engine_bytes", "warnings", "errors")
    return {
        "status": result.status,
        **({} if result.status == "passed" else {"reason": result.reason}),
        "file_bytes": size,
        "seconds": round(seconds, 2),
        **{key: result.facts[key] for key in wanted if key in result.facts},
    }


def main(shared: Path, names: list[str]) -> None:
    """Measure, print and record; every network is written when it is finished."""
    record = json.loads(RESULT.read_text(encoding="utf-8")) if RESULT.is_file() else {}
    rows = record.get("models", {})
    for name in names or MODELS:
        rows[name] = measured(MODELS[name], shared)
        print(name, json.dumps(rows[name], indent=1))
        export = rows.get(EXPORT_MODEL, {}).get("export", {})
        record = {
            "statement": "parse and ahead-of-time build without a GPU; no engine was run, and none is for a Jetson",
            "tensorrt_rtx": version("tensorrt-rtx"),
            "export_target": {"model": EXPORT_MODEL, "seconds": EXPORT_SECONDS},
            "export_target_met": bool(export) and export["wall_seconds"] <= EXPORT_SECONDS,
            "models": {key: rows[key] for key in MODELS if key in rows},
        }
        RESULT.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
