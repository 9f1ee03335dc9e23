"""The tables of docs/corruptions.md and docs/calibration.md: both stages on the reference models and on one of another author.

    python benchmarks/stage_tables.py [SHARED [MODEL ...]]      # default: ../shared, and all models

SHARED holds data/gtsrb/ (train.npz, valid.npz, test.npz) and models_third_party/. The stage perturbation corrupts PERTURBED images
of the held-out test half with BOOTSTRAP resamples, the stage calibration reads the whole half. No threshold, seed or model is chosen on them.
The validation signs fit nothing for the model of another author, because it was probably trained on them.
Writes benchmarks/results/stage_tables.json after each model, and the two tables.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from safeml.audits.base import AuditInputs
from safeml.audits.calibration.run import run as run_calibration
from safeml.audits.perturbation.run import run as run_perturbation
from safeml.classifiers.batches import BatchSize
from safeml.classifiers.load import load_model
from safeml.config.audit import load_config
from safeml.data import npz
from safeml.data.dataset import ImageDataset
from safeml.results import Metric, StageResult
from safeml.settings.model import InputSettings
from safeml.stages.calibration import CalibrationSettings
from safeml.stages.perturbation import PerturbationSettings

ROOT = Path(__file__).parent.parent
RESULTS = Path(__file__).parent / "results" / "stage_tables.json"
MODELS = ("lenet-gtsrb", "safeml-cnn-gtsrb", "mobilenet-gtsrb", "resnet-gtsrb", "resnet-gtsrb-robust")
# What the author's code documents; see strangers.py.
STRANGER, STRANGER_INPUT = "AlexDieterr-TrafficSignNN", InputSettings(channels="rgb", range=(0.0, 1.0))
PERTURBED, BOOTSTRAP, SEED, FRAMES_PER_SIGN = 200, 100, 7, 15
START, END = "<!-- stage tables -->", "<!-- end of stage tables -->"
PERTURBATION = (
    "clean_accuracy_perturbation_sample",
    "corruption_accuracy_mean",
    "corruption_accuracy_worst",
    "grid_accuracy_worst",
    "corruption_ece_mean",
    "corruption_nll_mean",
    "corruption_set_coverage_mean",
    "overconfident_errors",
)
CALIBRATION = (
    "nll",
    "ece_equal_mass",
    "smooth_ece",
    "smooth_ece_excess",
    "nll.temperature",
    "smooth_ece.temperature",
    "set_coverage.lac_95",
    "set_size.lac_95",
)


def values(result: StageResult, names: tuple[str, ...]) -> dict[str, Any]:
    """Return value, interval and reason of each named metric."""
    found = {metric.name: metric for metric in result.metrics if metric.slice == "all"}
    return {name: _short(found[name]) for name in names}


def _short(metric: Metric) -> dict[str, Any]:
    return {key: getattr(metric, key) for key in ("value", "low", "high", "n", "reason")}


def record(name: str, shared: Path, data: dict[str, ImageDataset]) -> dict[str, Any]:
    """Run both stages on one model."""
    test = data["test"]
    if name == STRANGER:
        path, contract = shared / "models_third_party" / name / "model.keras", STRANGER_INPUT
        fitted: dict[str, ImageDataset] = {}
    else:
        folder = ROOT / "models" / name
        contract = load_config(folder / "safeml.toml").model.input
        path, fitted = folder, {"train": data["train"], "valid": data["valid"]}
    classifier = load_model(path).model.fed(contract, test.class_names, name)
    inputs = AuditInputs(classifier, test, seed=SEED, predicting=BatchSize(256), **fitted)
    began = time.process_time()
    calibration = run_calibration(inputs, CalibrationSettings(resamples=BOOTSTRAP))
    middle = time.process_time()
    perturbation = run_perturbation(inputs, PerturbationSettings(images=PERTURBED, bootstrap=BOOTSTRAP))
    worst = min(
        (m for m in perturbation.metrics if m.name == "corruption_accuracy" and "-" not in m.slice),
        key=lambda metric: metric.value or 0.0,
    )
    temperature = next(fact.value for fact in calibration.facts if fact.label == "Temperature")
    return {
        "fingerprint": classifier.fingerprint,
        "images": {"calibration": len(test), "perturbation": PERTURBED},
        "calibration": values(calibration, CALIBRATION),
        "temperature": temperature,
        "perturbation": values(perturbation, PERTURBATION),
        "worst_corruption": worst.slice,
        "processor_seconds": {
            "calibration": round(middle - began, 1),
            "perturbation": round(time.process_time() - middle, 1),
        },
    }


def perturbation_table(rows: dict[str, Any]) -> str:
    """Return the table of docs/corruptions.md."""
    lines = [
        f"The held-out test half of GTSRB, {PERTURBED} images in each of the 165 cells; {BOOTSTRAP} resamples; 95 % intervals in brackets.",
        "",
        "| model | clean | corrupted, mean | worst corruption | worst of the grid | ECE, mean | sets of 95 %, coverage | overconfident errors |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, row in rows.items():
        own = row["perturbation"]
        cells = [
            percent(own["clean_accuracy_perturbation_sample"]),
            percent(own["corruption_accuracy_mean"], True),
            f"{percent(own['corruption_accuracy_worst'])} ({row['worst_corruption'].replace('_', ' ')})",
            percent(own["grid_accuracy_worst"]),
            percent(own["corruption_ece_mean"], True),
            percent(own["corruption_set_coverage_mean"]),
            percent(own["overconfident_errors"]),
        ]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def calibration_table(rows: dict[str, Any]) -> str:
    """Return the table of docs/calibration.md."""
    images = max((row["images"]["calibration"] for row in rows.values()), default=0)
    lines = [
        f"The held-out test half of GTSRB, {images:,} images; scaling and sets from the validation signs; 95 % intervals in brackets.",
        "",
        "| model | NLL | ECE, equal mass | smooth ECE | excess | temperature | NLL after | smooth ECE after | LAC sets of 95 %: coverage, size |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, row in rows.items():
        own = row["calibration"]
        sets = f"{percent(own['set_coverage.lac_95'])}, {plain(own['set_size.lac_95'])}"
        cells = [
            plain(own["nll"]),
            percent(own["ece_equal_mass"]),
            percent(own["smooth_ece"], True),
            percent(own["smooth_ece_excess"]),
            row["temperature"],
            plain(own["nll.temperature"]),
            percent(own["smooth_ece.temperature"]),
            sets if own["set_size.lac_95"]["value"] is not None else "undefined",
        ]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def percent(metric: dict[str, Any], ends: bool = False) -> str:
    """Write a proportion as percent, with its interval if `ends`."""
    if metric["value"] is None:
        return "undefined"
    text = f"{100 * metric['value']:.1f} %"
    return (
        f"{text} ({100 * metric['low']:.1f} to {100 * metric['high']:.1f})"
        if ends and metric["low"] is not None
        else text
    )


def plain(metric: dict[str, Any]) -> str:
    """Write a number with three digits."""
    return "undefined" if metric["value"] is None else f"{metric['value']:.3g}"


def write_table(page: Path, table: str) -> None:
    """Replace the text between the two marks of a page."""
    text = page.read_text(encoding="utf-8")
    before, rest = text.split(START)
    _, after = rest.split(END)
    page.write_text(f"{before}{START}\n\n{table}\n\n{END}{after}", encoding="utf-8")


def main(shared: Path, models: tuple[str, ...]) -> None:
    """Measure each model, record it, and write the tables."""
    folder = shared / "data" / "gtsrb"
    if not (folder / "test.npz").is_file():
        print(f"skipped: {folder}/test.npz is not there, and the tables are about those images")
        return
    data = {role: npz.load(folder / f"{role}.npz") for role in ("train", "valid")}
    data["test"] = npz.load(folder / "test.npz", frames_per_sign=FRAMES_PER_SIGN)
    rows = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.is_file() else {}
    for name in models:
        rows[name] = record(name, shared, data)
        print(name, json.dumps(rows[name]), flush=True)
        rows = {key: rows[key] for key in (*MODELS, STRANGER) if key in rows}
        RESULTS.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    write_table(ROOT / "docs" / "corruptions.md", perturbation_table(rows))
    write_table(ROOT / "docs" / "calibration.md", calibration_table(rows))


if __name__ == "__main__":
    main(
        Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT.parent / "shared",
        tuple(sys.argv[2:]) or (*MODELS, STRANGER),
    )
