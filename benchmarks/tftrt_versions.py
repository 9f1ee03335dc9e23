"""The SavedModel for TF-TRT gives the same outputs under the TensorFlow versions of the devices, on a CPU.

    python benchmarks/tftrt_versions.py SHARED [FOLDER]

It makes an environment per version (about 1.3 GB each, in FOLDER if given, and uses it again), loads the SavedModel of a
quantized resnet-gtsrb there, and compares its outputs with those of the present TensorFlow, on images of SHARED/data/gtsrb/valid.npz.
The model is quantized after training, on images of train.npz there.
The record is in benchmarks/results/tftrt_versions.json.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))
RESULT = ROOT / "benchmarks" / "results" / "tftrt_versions.json"
VERSIONS = ("2.16.1", "2.17.1")
CALIBRATION, IMAGES = 256, 512
LARGEST_DIFFERENCE = 1e-4
# Run by the other interpreter; it may not import safeml, which needs a newer Python library.
READER = """
import json, sys
import numpy as np
import tensorflow as tf
folder, images, outputs = sys.argv[1:]
served = tf.saved_model.load(folder).signatures["serving_default"]
(got,) = served(image=tf.constant(np.load(images))).values()
np.save(outputs, got.numpy())
print(json.dumps({"tensorflow": tf.__version__, "numpy": np.__version__}))
"""


def environment(version: str, folder: Path) -> Path:
    """Return the interpreter of an environment with this TensorFlow."""
    place = folder / f"tf{version}"
    python = place / "bin" / "python"
    if not python.exists():
        venv.create(place, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", f"tensorflow-cpu=={version}"], check=True)
    return python


def compared(version: str, folder: Path, saved_model: Path, images: Path, expected: np.ndarray) -> dict:
    """Return the record of one version."""
    outputs = images.with_name(f"outputs-{version}.npy")
    command = [environment(version, folder), "-c", READER, saved_model, images, outputs]
    child = subprocess.run(command, capture_output=True, text=True, check=True)
    got = np.load(outputs)
    return {
        **json.loads(child.stdout.strip().splitlines()[-1]),
        "largest_difference": float(np.abs(got - expected).max()),
        "top1_changes": int((got.argmax(1) != expected.argmax(1)).sum()),
    }


def main(shared: Path, folder: Path) -> None:
    """Write the SavedModel, compare, print and record."""
    from benchmarks.quantized import quantized_after_training, signs
    from safeml.export import tftrt

    images = signs(shared, "valid", IMAGES)
    model = quantized_after_training(signs(shared, "train", CALIBRATION))
    import tensorflow as tf

    with tempfile.TemporaryDirectory() as work:
        written = tftrt.write(model, Path(work), images)
        saved_model = Path(work, tftrt.SAVED_MODEL)
        served = tf.saved_model.load(str(saved_model)).signatures["serving_default"]
        (expected,) = (value.numpy() for value in served(image=tf.constant(images)).values())
        np.save(Path(work, "images.npy"), images)
        rows = [compared(one, folder, saved_model, Path(work, "images.npy"), expected) for one in VERSIONS]
    record = {
        "model": "resnet-gtsrb, quantized after training",
        "images": IMAGES,
        "written_by_tensorflow": tf.__version__,
        "check": written.as_json(),
        "versions": rows,
        "largest_difference_allowed": LARGEST_DIFFERENCE,
        "target_met": all(
            row["largest_difference"] <= LARGEST_DIFFERENCE and not row["top1_changes"] for row in rows
        ),
    }
    RESULT.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(record, indent=1))


if __name__ == "__main__":
    if len(sys.argv) > 2:
        main(Path(sys.argv[1]), Path(sys.argv[2]))
    else:
        with tempfile.TemporaryDirectory() as folder:
            main(Path(sys.argv[1]), Path(folder))
