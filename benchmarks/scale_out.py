"""Two workers of one thread against one process of one thread, on the adversarial stage: the ratio of wall times, and equal bytes.

    python benchmarks/scale_out.py [MODEL_FOLDER [IMAGES [KIND]]]      # models/lenet-gtsrb, 1024 rendered signs, processes | dask

Two free cores are needed. Both runs are whole commands: start, opening, compiling, attacks and report; the record has the seconds of the
stage alone too, which the target is for. The clean images are rendered signs, so no data set is needed.
The record is benchmarks/results/scale_out.json.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from safeml.provenance import versions

ROOT = Path(__file__).parent.parent
RESULT = ROOT / "benchmarks" / "results" / "scale_out.json"
TARGET = 1.7
OPTIONS = {"processes": ("--workers", "2"), "dask": ("--scheduler", "local:2")}
OTHERS = (
    "training", "quantization", "conversion", "comparison", "performance", "fairness", "calibration", "balance", "data_quality",
    "privacy", "physical", "perturbation", "explainability", "monitors",
)  # fmt: skip
SETTINGS = """
[model]
path = "{model}"
[data.test]
kind = "rendered"
images = {images}
frames_per_sign = 1
[run]
threads = 1
[stages.adversarial]
images = {images}
full_ensemble = ["linf_4"]
{off}
[[gates]]
id = "robust-linf-4"
stage = "adversarial"
metric = "robust_accuracy.linf_4"
op = ">="
threshold = 0.6
"""


def audit(settings: Path, out: Path, *options: str) -> tuple[float, float]:
    """Return the seconds of the whole command and of the stage."""
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}
    command = [
        sys.executable,
        "-m",
        "safeml.cli.entry",
        "audit",
        "--config",
        str(settings),
        "--out",
        str(out),
        "--exit-zero",
    ]
    began = time.perf_counter()
    subprocess.run([*command, *options], cwd=ROOT, env=environment, check=True)
    whole = time.perf_counter() - began
    return whole, json.loads((out / "run.json").read_text(encoding="utf-8"))["seconds"]["adversarial"]


def main(model: Path, images: int, kind: str) -> None:
    """Measure, print and record."""
    with tempfile.TemporaryDirectory() as folder:
        settings = Path(folder, "safeml.toml")
        off = "\n".join(f"[stages.{name}]\nenabled = false" for name in OTHERS)
        settings.write_text(SETTINGS.format(model=model.absolute(), images=images, off=off), encoding="utf-8")
        places = {"one": Path(folder, "one", "run"), "two": Path(folder, "two", "run")}
        for place in places.values():
            place.parent.mkdir()
        one = audit(settings, places["one"])
        two = audit(settings, places["two"], *OPTIONS[kind])
        first, second = ((place / "results.json").read_bytes() for place in places.values())
    record: dict[str, Any] = {
        "target": {"ratio": TARGET},
        "ratio": {"stage": round(one[1] / two[1], 3), "command": round(one[0] / two[0], 3)},
        "seconds": {
            "one process": {"stage": round(one[1], 1), "command": round(one[0], 1)},
            "two workers": {"stage": round(two[1], 1), "command": round(two[0], 1)},
        },
        "equal_bytes": first == second,
        "images": images,
        "model": model.name,
        "threads": 1,
        "cores": len(os.sched_getaffinity(0)),
        "load_before": round(LOAD, 2),
        "versions": {**versions(), "machine": platform.machine()},
    }
    record["met"] = record["equal_bytes"] and record["ratio"]["stage"] >= TARGET
    earlier = json.loads(RESULT.read_text(encoding="utf-8")) if RESULT.exists() else {}
    earlier[f"{kind}, {model.name}, {images} images"] = record
    RESULT.write_text(json.dumps(earlier, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(record, indent=2))


if __name__ == "__main__":
    LOAD = os.getloadavg()[0]
    given = sys.argv[1:]
    main(
        Path(given[0]) if given else ROOT / "models" / "lenet-gtsrb",
        int(given[1]) if len(given) > 1 else 1024,
        given[2] if len(given) > 2 else "processes",
    )
