"""What pruning and distillation change on real signs, in safety and in size: two prunings of lenet-gtsrb, and a LeNet with and without a teacher.

    python benchmarks/pruning_and_distillation.py SHARED

SHARED holds data/gtsrb/train.npz and valid.npz. IMAGES training images are drawn; every figure is on the validation images, which also
select the epochs, and the test images are never read. Pruning: one epoch, then calibration to INT8 without further training, and
the exported kernels are checked. Distillation: the same recipe twice, once with resnet-gtsrb as the teacher.
The record is in benchmarks/results/pruning_and_distillation.json.
"""

from __future__ import annotations

import json
import platform
import sys
import tempfile
import time
import zlib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))
RESULT = ROOT / "benchmarks" / "results" / "pruning_and_distillation.json"
IMAGES, SEED = 4000, 7
EPOCHS = 25
DATA = f"""
[data.train]
kind = "npz"
path = "gtsrb/train.npz"
images = {IMAGES}
seed = {SEED}
[data.valid]
kind = "npz"
path = "gtsrb/valid.npz"
[augment]
shift = 0.12
rotation_degrees = 12
zoom = 0.15
brightness = 0.2
contrast = 0.5
"""
PRUNE = """
name = "lenet-pruned"
epochs = 0
batch = 64
learning_rate = 0.0005
label_smoothing = 0.05
worst_layers = 0
[model]
path = "{model}"
[prune]
kind = "{kind}"
epochs = 1
"""
DISTILL = """
name = "lenet-student"
architecture = "lenet"
width = 16
epochs = {epochs}
batch = 32
learning_rate = 0.002
{teacher}
"""
TEACHER = '[distill]\nteacher = "{model}"\ntemperature = 3.0\nalpha = 0.7\n'


def pruned(kind: str, place: Any, folder: Path) -> dict[str, Any]:
    """Return the record of one pruning of lenet-gtsrb."""
    import onnx

    from safeml.export.material import open_model
    from safeml.export.onnx import export_onnx
    from safeml.export.sparsity import check
    from safeml.quantization.build import quantize
    from safeml.quantization.inputs import read_inputs

    folder.mkdir()
    settings = folder / "quantize.toml"
    settings.write_text(PRUNE.format(model=ROOT / "models" / "lenet-gtsrb", kind=kind) + DATA)
    started = time.process_time()
    out = quantize(read_inputs(settings, place), folder / "out")
    seconds = time.process_time() - started
    record = json.loads((out / "quantization.json").read_text())
    part, files = record["pruning"], {}
    for name in ("float", "pruned", "int8"):
        export_onnx(open_model(out / f"{name}.keras"), folder / f"{name}.onnx")
        content = (folder / f"{name}.onnx").read_bytes()
        files[name] = {"onnx_bytes": len(content), "deflated_bytes": len(zlib.compress(content, 9))}
    names = tuple(row["int8_layer"] for row in part["layers"] if not row["reason"])
    exported = check(onnx.load(str(folder / "int8.onnx")), names)
    return {
        "cpu_seconds": round(seconds, 1),
        "layers": part["layers"],
        "models": part["models"],
        "files": files,
        "exported_2_of_4": {"status": exported.status, "reason": exported.reason},
    }


def student(teacher: str, place: Any, folder: Path) -> dict[str, Any]:
    """Return the record of one training of a LeNet. teacher: its table, or ""."""
    from safeml import recipes

    folder.mkdir()
    file = folder / "recipe.toml"
    file.write_text(DISTILL.format(epochs=EPOCHS, teacher=teacher) + DATA)
    started = time.process_time()
    out = recipes.train(recipes.prepare(file, place), folder / "out", lambda epoch: None)
    seconds = time.process_time() - started
    manifest = json.loads((out / "training.json").read_text())
    best = manifest["epochs"][manifest["chosen"]["epoch"] - 1]
    row = {
        "cpu_seconds": round(seconds, 1),
        "parameters": manifest["parameters"],
        "selected_epoch": best["epoch"],
        "val_accuracy": best["val_accuracy"],
        "val_loss": best["val_loss"],
    }
    part = manifest.get("distillation", {})
    return row | {
        key: part[key]
        for key in ("teacher", "student", "agreement", "lost", "gained", "largest_fall")
        if key in part
    }


def main(shared: Path) -> None:
    """Measure, print and record."""
    import keras
    import tensorflow as tf

    from safeml.data.place import Place

    with tempfile.TemporaryDirectory() as name:
        folder, place = Path(name), Place(Path(name), shared / "data")
        prunings = {
            kind: pruned(kind, place, folder / kind.replace(":", "-")) for kind in ("magnitude", "2:4")
        }
        teacher = TEACHER.format(model=ROOT / "models" / "resnet-gtsrb")
        students = {
            "without_teacher": student("", place, folder / "alone"),
            "with_teacher": student(teacher, place, folder / "taught"),
        }
    record = {
        "statement": "one seed and one subset each; on validation images, which selected the epochs, so no evidence for release",
        "training_images": IMAGES,
        "pruning": {"model": "lenet-gtsrb", "epochs": 1, "by_kind": prunings},
        "distillation": {"teacher": "resnet-gtsrb", "epochs": EPOCHS, "students": students},
        "versions": {"keras": keras.__version__, "tensorflow": tf.__version__},
        "python": platform.python_version(),
    }
    RESULT.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(record, indent=1))


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
