"""A step of quantization-aware training against a step of the float model, batch normalization included, in one process.

    python benchmarks/qat_step.py SHARED

Both models are compiled alike and take the same BATCH images by turns; the quantizers observe, as in the first epochs. The record
has the median and the least processor seconds of STEPS steps each, and their ratios, in benchmarks/results/qat_step.json.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))
RESULT = ROOT / "benchmarks" / "results" / "qat_step.json"
MODELS = ("resnet-gtsrb", "mobilenet-gtsrb")
BATCH, WARM_UP, STEPS = 64, 3, 20
MOST_TIMES_FLOAT = 1.6


def measured(name: str, shared: Path) -> dict[str, Any]:
    """Return the record of one model."""
    import keras

    from benchmarks.quantized import committed, quantized, signs
    from safeml.quantization.rewrite import set_observing

    images = signs(shared, "train", BATCH)
    source = committed(name)
    model = quantized(source, images)
    set_observing(model, True)
    labels = np.arange(BATCH) % source.output_shape[-1]
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    for one in (source, model):
        one.trainable = True
        one.compile(optimizer=keras.optimizers.AdamW(1e-6), loss=loss, jit_compile=False)
    spent: dict[str, list[float]] = {"float": [], "quantized": []}
    for turn in range(WARM_UP + STEPS):
        for kind, one in (("float", source), ("quantized", model)):
            start = time.process_time()
            one.train_on_batch(images, labels)
            if turn >= WARM_UP:
                spent[kind].append(time.process_time() - start)
    return {
        "seconds": {
            kind: {"median": round(statistics.median(row), 4), "least": round(min(row), 4)}
            for kind, row in spent.items()
        },
        "ratio_of_medians": round(
            statistics.median(spent["quantized"]) / statistics.median(spent["float"]), 2
        ),
        "ratio_of_least": round(min(spent["quantized"]) / min(spent["float"]), 2),
    }


def main(shared: Path) -> None:
    """Measure, print and record."""
    rows = {name: measured(name, shared) for name in MODELS}
    record = {
        "statement": "processor seconds of one training step",
        "batch": BATCH,
        "steps": STEPS,
        "most_times_float": MOST_TIMES_FLOAT,
        "target_met": all(row["ratio_of_medians"] <= MOST_TIMES_FLOAT for row in rows.values()),
        "models": rows,
        "load": [round(load, 1) for load in os.getloadavg()],
    }
    RESULT.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(record, indent=1))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
