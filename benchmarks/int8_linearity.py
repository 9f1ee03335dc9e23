"""How much of the gain that the gradient predicts a small step gains, on float and INT8 models: the length of the probe for shattered gradients.

    python benchmarks/int8_linearity.py SHARED

On IMAGES validation images (SHARED/data/gtsrb/valid.npz) that the model classifies correctly: the share that gains less than LEAST_GAIN of the
predicted gain, and the median gain, for steps of several lengths in L-inf. Below one code of the input an INT8 model moves by rounding alone.
Writes benchmarks/results/int8_linearity.json.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

from safeml.attacks.linearity import linearity
from safeml.audits.linearity import LEAST_GAIN, nonlinear_share
from safeml.classifiers.load import load_model
from safeml.data import npz
from safeml.metrics.classification import right_answers
from safeml.settings.model import InputSettings

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results" / "int8_linearity.json"
MODELS = ("resnet-gtsrb", "resnet-gtsrb-robust", "mobilenet-gtsrb")
STEPS = (0.2, 0.4, 1.0, 2.0, 4.0)  # of 1/255
IMAGES, DRAWN = 128, 256


def main(shared: Path) -> None:
    """Measure, print and record."""
    valid = npz.load(shared / "data" / "gtsrb" / "valid.npz").sample(DRAWN, 0)
    rows = {}
    for name in MODELS:
        for kind, path in (
            ("float", ROOT / "models" / name),
            ("int8", ROOT / "models" / f"{name}-int8" / "int8.keras"),
        ):
            classifier = load_model(path).model.fed(InputSettings(), valid.class_names, name)
            correct = right_answers(classifier.predict_logits(valid.images), valid.labels)
            part = valid.take(np.flatnonzero(correct)[:IMAGES])
            pixels = part.images.astype(np.float32) / np.float32(255)
            gains = {
                step: linearity(classifier, pixels, part.labels, "linf", step / 255, 64) for step in STEPS
            }
            rows[f"{name}, {kind}"] = {
                f"{step:g}/255": {
                    "share_below_least_gain": round(nonlinear_share(values), 4),
                    "median_gain": round(float(np.median(values)), 3),
                }
                for step, values in gains.items()
            }
            print(f"{name}, {kind}", json.dumps(rows[f"{name}, {kind}"]))
    RESULTS.write_text(
        json.dumps({"images": IMAGES, "least_gain": LEAST_GAIN, "models": rows}, indent=1) + "\n"
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
