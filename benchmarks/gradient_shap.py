"""Gradient SHAP of safeml against the GradientExplainer of shap: equal values for equal draws, and the time of both.

    python benchmarks/gradient_shap.py                          # models/resnet-gtsrb on rendered signs
    python benchmarks/gradient_shap.py MODEL_FOLDER

Both explain the predicted class of the same images with the same backgrounds and number of draws, in one process, by turns, each from
cold: tracing is part of the time, because shap traces one graph for each class. The values are compared on the draws of shap,
which come from NumPy's global generator. The record in benchmarks/results/gradient_shap.json is for ratios; absolute times belong
to the machine and its load.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

RESULT = Path(__file__).parent / "results" / "gradient_shap.json"
IMAGES, BACKGROUNDS, DRAWS, SEED = 64, 32, 32, 11
LEAST_RATIO = 3.0
# Root mean square of the difference, as a share of that of the values. A few values differ by more: the two programs round a point on
# the way in another order, which moves single activations across the kink of a ReLU.
TOLERANCE = 1e-3


def main() -> int:
    import numpy as np

    from safeml import framework

    framework.start()
    import shap

    from safeml.classifiers.batches import BatchSize
    from safeml.classifiers.keras_head import without_activation
    from safeml.classifiers.load import load_model
    from safeml.data.rendered import render
    from safeml.explainers.gradient_shap import expected
    from safeml.settings.model import InputSettings

    folder = (
        Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent.parent / "models" / "resnet-gtsrb"
    )
    names = tuple(str(number) for number in range(43))
    model = load_model(folder).model
    classifier = model.fed(InputSettings(), names, folder.name)
    bare = without_activation(model.network)  # type: ignore[attr-defined]
    logits = model.network if bare is None else bare.model  # type: ignore[attr-defined]
    # The images of an audit are of all classes.
    rows = np.random.default_rng(SEED).choice(860, IMAGES + BACKGROUNDS, replace=False)
    signs = render(860, seed=3).images[rows].astype(np.float32) / np.float32(255)
    images, backgrounds = signs[:IMAGES], signs[IMAGES:]

    start = time.perf_counter()
    theirs, ranks = shap.GradientExplainer(logits, backgrounds).shap_values(
        images, nsamples=DRAWS, ranked_outputs=1, rseed=SEED
    )
    of_shap = time.perf_counter() - start
    drawn = np.random.RandomState(SEED)
    picks, alphas = np.zeros((IMAGES, DRAWS), np.int64), np.zeros((IMAGES, DRAWS), np.float32)
    for row in range(IMAGES):
        for draw in range(DRAWS):
            picks[row, draw] = drawn.choice(BACKGROUNDS)
            alphas[row, draw] = drawn.uniform()
    times = []
    for _ in range(2):  # from cold, with tracing; and once more
        start = time.perf_counter()
        own = expected(classifier, images, ranks[:, 0], backgrounds, picks, alphas, BatchSize(64))
        times.append(time.perf_counter() - start)
    gap, largest = own - theirs[..., 0], float(np.abs(theirs).max())
    difference = float(np.sqrt((gap**2).mean() / (theirs**2).mean()))
    record = {
        "model": folder.name,
        "images": IMAGES,
        "draws": DRAWS,
        "classes_explained": len(np.unique(ranks[:, 0])),
        "seconds_shap": round(of_shap, 2),
        "seconds_safeml_cold": round(times[0], 2),
        "seconds_safeml_warm": round(times[1], 2),
        "times_faster": round(of_shap / times[0], 1),
        "difference_rms": float(f"{difference:.2e}"),
        "difference_largest": float(f"{np.abs(gap).max() / largest:.2e}"),
    }
    print(json.dumps(record))
    RESULT.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    return 0 if difference <= TOLERANCE and record["times_faster"] >= LEAST_RATIO else 1


if __name__ == "__main__":
    raise SystemExit(main())
