"""The committed INT8 models, and models of other authors calibrated to INT8, on the held-out test half of GTSRB.

    python benchmarks/int8_models.py SHARED QUANTIZED [NAME ...]

SHARED holds data/gtsrb/ (train.npz, valid.npz, test.npz) and models_third_party/. QUANTIZED holds a folder of `safeml quantize` and
`safeml export` for each NAME (float.keras, ptq.keras, qat.keras, finetuned.keras, int8.keras, model.int8.onnx). A NAME of another author
(see strangers.py) is quantized here into QUANTIZED, by calibration alone on training images.

For each: accuracy of every model of the folder on all test images; the INT8 file against the float model that was trained for the same further
epochs as paired differences by sign, with nothing assumed about a sign track and with the largest loss LARGEST_LOSS declared; and parity of the
INT8 file with its Keras source: images that change their class, each traced to a rounding tie or not.
Nothing is chosen on these images. Writes benchmarks/results/int8_models.json after each model.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

from safeml.classifiers.load import load_model
from safeml.data import npz
from safeml.data.dataset import ImageDataset
from safeml.export.build import export
from safeml.export.parity import compare
from safeml.metrics.classification import right_answers
from safeml.settings.model import InputSettings
from safeml.statistics import paired_noninferiority

RESULTS = Path(__file__).parent / "results" / "int8_models.json"
FRAMES_PER_SIGN, LARGEST_LOSS, MARGIN = 15, 0.5, 0.005
KERAS = ("float", "ptq", "finetuned", "qat", "int8")
FILE, SOURCE = "model.int8.onnx", "int8.keras"
# What the code of the other authors documents; see strangers.py.
OTHERS: dict[str, tuple[str, dict[str, Any]]] = {
    "AlexDieterr-TrafficSignNN": ("model.keras", {"range": [0.0, 1.0]}),
    "shubham129-Traffic-Sign-Image-Classifier": ("model.h5", {"range": [0.0, 255.0]}),
    "yasar-beg368-traffic_sign_recognition": ("model.h5", {"channels": "bgr", "range": [0.0, 1.0]}),
}
SETTINGS = """name = "{name}-int8"

[model]
path = "{path}"
input = {{ {contract} }}

[data.train]
kind = "npz"
path = "gtsrb/train.npz"

[data.valid]
kind = "npz"
path = "gtsrb/valid.npz"
"""


def main(shared: Path, quantized: Path, names: list[str]) -> int:
    """Measure each model, print and record it. Returns 1 where a file of other arithmetic or a worse model was found."""
    test = npz.load(shared / "data/gtsrb/test.npz", frames_per_sign=FRAMES_PER_SIGN)
    rows = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    for name in names:
        contract = OTHERS[name][1] if name in OTHERS else {}
        if name in OTHERS:
            quantize_other(name, shared, quantized / name)
        rows[name] = record(quantized / name, InputSettings.model_validate(contract), test)
        RESULTS.write_text(json.dumps(rows, indent=1, sort_keys=True) + "\n")
        print(name, json.dumps(rows[name], indent=1))
    failed = [
        name for name in names if rows[name]["parity"]["unexplained"] or rows[name]["parity"]["flips"] > 3
    ]
    return int(bool(failed))


def quantize_other(name: str, shared: Path, folder: Path) -> None:
    """Calibrate and export the model of another author into `folder`."""
    from safeml.data.place import Place
    from safeml.quantization.build import quantize
    from safeml.quantization.inputs import read_inputs

    if (folder / FILE).exists():
        return
    file, contract = OTHERS[name]
    folder.mkdir(parents=True, exist_ok=True)
    path = (shared / "models_third_party" / name / file).resolve()
    words = ", ".join(f"{key} = {json.dumps(value)}" for key, value in contract.items())
    settings = folder / "quantize.toml"
    settings.write_text(SETTINGS.format(name=name.lower().replace("_", "-"), path=path, contract=words))
    quantize(read_inputs(settings, Place(folder, shared / "data")), folder, say=print)
    export(folder, said=lambda check: print(check.status, check.name, check.reason))


def record(folder: Path, contract: InputSettings, test: ImageDataset) -> dict[str, Any]:
    """Measure the models of one folder."""
    correct: dict[str, np.ndarray] = {}
    for name in KERAS:
        if (folder / f"{name}.keras").exists():
            correct[name] = answers(folder / f"{name}.keras", contract, test)
    correct["file"] = answers(folder / FILE, contract, test)
    reference = "finetuned" if "finetuned" in correct else "float"
    manifest = json.loads((folder / "quantization.json").read_text())
    checks = json.loads((folder / "export.json").read_text())["checks"]
    return {
        "images": len(test),
        "chosen": manifest["chosen"]["model"],
        "accuracy": {name: round(float(values.mean()), 6) for name, values in correct.items()},
        "reference": reference,
        "lost_against_the_reference": {
            name: paired(correct[reference], values, test)
            for name, values in correct.items()
            if name in ("ptq", "qat", "file")
        },
        "qat_against_ptq": paired(correct["ptq"], correct["qat"], test) if "qat" in correct else None,
        "parity": parity(folder, contract, test),
        "bytes": {file.name: file.stat().st_size for file in sorted(folder.glob("model.*"))},
        "checks": {check["name"]: check["status"] for check in checks},
    }


def answers(path: Path, contract: InputSettings, test: ImageDataset) -> np.ndarray:
    """Return bool [N]: the model classifies the image correctly."""
    classifier = load_model(path).model.fed(contract, test.class_names, path.stem)
    return right_answers(classifier.predict_logits(test.images), test.labels)


def paired(before: np.ndarray, after: np.ndarray, test: ImageDataset) -> dict[str, Any]:
    """Return the accuracy lost, with the upper bound for both assumptions about a sign track."""
    bounds = {
        str(loss): paired_noninferiority(
            "accuracy_drop", "lost", before, after, clustering=test.clustering, largest_loss=loss
        )
        for loss in (1.0, LARGEST_LOSS)
    }
    free = bounds["1.0"]
    return {
        "lost_images": int((before & ~after).sum()),
        "won_images": int((~before & after).sum()),
        "drop": free.value,
        "upper_bound": {loss: metric.high for loss, metric in bounds.items()},
        "proven_within_margin": {
            loss: metric.high is not None and metric.high <= MARGIN for loss, metric in bounds.items()
        },
    }


def parity(folder: Path, contract: InputSettings, test: ImageDataset) -> dict[str, Any]:
    """Compare the INT8 file with its Keras source on all images, as the model takes them."""
    classifier = load_model(folder / SOURCE).model.fed(contract, test.class_names, "source")
    import keras

    from safeml.quantization.validation import model_inputs

    source = keras.models.load_model(folder / SOURCE, compile=False)
    result = compare(source, folder / FILE, model_inputs(classifier, test.images))
    return {
        "images": result.images,
        "flips": len(result.flips),
        "unexplained": len(result.unexplained),
        "ties": [vars(flip) for flip in result.flips],
        "largest_difference": result.max_difference,
        "flips_with_optimizations": list(result.optimized_flips),
        "largest_difference_with_optimizations": result.optimized_max_difference,
    }


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:]))
