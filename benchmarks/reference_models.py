"""The README's table of reference models: each is audited on the held-out test images by its own safeml.toml.

    python benchmarks/reference_models.py [DATA_ROOT [MODEL ...]]      # default: ../shared/data, and all models

Finished stages of unchanged models, data and code are read back. Writes benchmarks/results/reference_models.json.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from safeml import pipeline
from safeml.config.audit import load_config
from safeml.data.place import Place
from safeml.report.write import write_report
from safeml.results import Run

ROOT = Path(__file__).parent.parent
MODELS = (
    "lenet-gtsrb",
    "safeml-cnn-gtsrb",
    "resnet-gtsrb",
    "resnet-gtsrb-robust",
    "mobilenet-gtsrb",
    "vit-gtsrb",
    "stop-priority",
)
METRICS = (
    "clean_accuracy",
    "recall_worst_family",
    "hazard_weighted_error",
    "robust_accuracy.linf_1",
    "robust_accuracy.linf_4",
    "masking_flags",
)


def record(run: Run) -> dict[str, Any]:
    found = {m.name: m for stage in run.stages for m in stage.metrics if m.slice == "all"}
    row: dict[str, Any] = {"fingerprint": run.model.fingerprint, "parameters": run.model.parameters}
    for name in METRICS:
        metric = found[name]
        row[name] = {key: getattr(metric, key) for key in ("value", "low", "high", "n", "signs")}
    row["attacks"] = run.configuration["stages"]["adversarial"]["attacks"]
    row["gates"] = {result.gate.id: result.status for result in run.verdict.gates}
    return {**row, "verdict": run.verdict.status}


def main(data_root: Path, models: tuple[str, ...]) -> None:
    if not (data_root / "gtsrb" / "test.npz").is_file():
        print(f"skipped: {data_root}/gtsrb/test.npz is not there, and the table is about those images")
        return
    target = Path(__file__).parent / "results" / "reference_models.json"
    rows = json.loads(target.read_text(encoding="utf-8")) if target.is_file() else {}
    for name in models:
        folder = ROOT / "models" / name
        place = Place(folder, data_root)
        config = load_config(folder / "safeml.toml")
        run, times, out = pipeline.audit(config, place, folder, ROOT / "reports" / name, force=True)
        write_report(run, out, times)
        rows[name] = record(run)
        print(name, json.dumps(rows[name]))
        ordered = {key: rows[key] for key in MODELS if key in rows}
        target.write_text(json.dumps(ordered, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    root = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT.parent / "shared" / "data"
    main(root, tuple(sys.argv[2:]) or MODELS)
