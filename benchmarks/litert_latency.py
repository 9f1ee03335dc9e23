"""LiteRT INT8 against LiteRT float on this CPU: batch 1, one thread, both files in turn, for two committed models.

    python benchmarks/litert_latency.py SHARED

SHARED holds data/gtsrb/train.npz and valid.npz. The models are quantized after training, on training images; agreement is on
validation images. ROUNDS rounds are measured and all recorded;
the target is judged by the median round. This is the CPU of one machine and no Jetson.
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
    from benchmarks.quantized import quantized_after_training, signs
    from safeml.export import litert

    calibration, images = signs(shared, "train", CALIBRATION), signs(shared, "valid", IMAGES)
    check = litert.check(quantized_after_training(calibration, name), folder, calibration, images)
    files = folder / litert.FLOAT_FILE, folder / litert.INT8_FILE
    rounds = [litert.latency(*files, images) for _ in range(ROUNDS)]
    facts = check.facts
    return {
        "status": check.status,
        "runtime": facts["runtime"],
        "agreement_with_fake_quantized_keras": facts["agreement"],
        "bytes": facts["bytes"],
        "rounds": [{key: one[key] for key in ("float_ms", "int8_ms", "ratio")} for one in rounds],
        "median_ratio": statistics.median(one["ratio"] for one in rounds),
    }


def main(shared: Path) -> None:
    """Measure, print and record."""
    with tempfile.TemporaryDirectory() as folder:
        rows = {name: measured(name, shared, Path(folder)) for name in MODELS}
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
