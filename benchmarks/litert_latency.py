"""LiteRT INT8 against LiteRT float on this CPU: batch 1, one thread, both files in turn.

    python benchmarks/litert_latency.py SHARED

SHARED holds data/gtsrb/train.npz and valid.npz. Two committed models are quantized after training, on training images; agreement is on
validation images. MobileNetV2 at 224 pixels has random weights and images, and its agreement means nothing. ROUNDS rounds are measured
and all recorded; the target is judged by the median round. This is the CPU of one machine and no Jetson.
The record is in benchmarks/results/litert_latency.json.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))
RESULT = ROOT / "benchmarks" / "results" / "litert_latency.json"
MODELS = ("resnet-gtsrb", "mobilenet-gtsrb")
LARGE, LARGE_IMAGES, LARGE_CALLS = "MobileNetV2, 224 px", 4, 50
CALIBRATION, IMAGES, ROUNDS = 256, 512, 5
TARGET_MODEL, TARGET_RATIO = "resnet-gtsrb", 2.5


def processor() -> dict[str, object]:
    """Return the instruction set of the processor, without the name of the machine."""
    flags: set[str] = set()
    if Path("/proc/cpuinfo").exists():
        flags = set(Path("/proc/cpuinfo").read_text(encoding="utf-8").split())
    wanted = ("avx2", "avx512f", "avx512_vnni", "amx_int8")
    return {"machine": platform.machine(), "instructions": [flag for flag in wanted if flag in flags]}


def measured(name: str, shared: Path, folder: Path) -> dict[str, object]:
    """Return the record of one model."""
    from benchmarks.quantized import quantized, quantized_after_training, random_network, signs
    from safeml.export import litert

    if name == LARGE:
        source, images = random_network("MobileNetV2", -1, 1, LARGE_IMAGES)
        model, calibration, calls = quantized(source, images), images, LARGE_CALLS
    else:
        calibration, images = signs(shared, "train", CALIBRATION), signs(shared, "valid", IMAGES)
        model, calls = quantized_after_training(calibration, name), litert.CALLS
    facts = litert.check(model, folder, calibration, images).facts
    files = folder / litert.FLOAT_FILE, folder / litert.INT8_FILE
    rounds = [litert.latency(*files, images, calls) for _ in range(ROUNDS)]
    return {
        "runtime": facts["runtime"],
        **({} if name == LARGE else {"agreement_with_fake_quantized_keras": facts["agreement"]}),
        "bytes": facts["bytes"],
        "rounds": [{key: one[key] for key in ("float_ms", "int8_ms", "ratio")} for one in rounds],
        "median_ratio": statistics.median(one["ratio"] for one in rounds),
    }


def main(shared: Path) -> None:
    """Measure, print and record."""
    with tempfile.TemporaryDirectory() as folder:
        rows = {name: measured(name, shared, Path(folder)) for name in (*MODELS, LARGE)}
    record = {
        "statement": "CPU of this machine, not a Jetson; batch 1, one thread",
        "calibration_images": CALIBRATION,
        "images": IMAGES,
        "models": rows,
        "target_model": TARGET_MODEL,
        "target_ratio": TARGET_RATIO,
        "target_met": rows[TARGET_MODEL]["median_ratio"] >= TARGET_RATIO,
        "machine": {**processor(), "load": [round(load, 1) for load in os.getloadavg()]},
        "python": platform.python_version(),
    }
    RESULT.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(record, indent=1))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
