"""What class weights and balanced sampling change on real signs: one recipe is trained with each, and evaluated by class on validation signs.

    python benchmarks/class_balance.py SHARED

SHARED holds data/gtsrb/train.npz and valid.npz. The largest class of train.npz has about ten times the images of the smallest. Every
figure is on the validation images, which also select the epoch, and the test images are never read. Each of SEEDS trains the recipe
three times; the tables are of the stages *performance* and *balance*, and differences are paired over sign tracks.
The record is in benchmarks/results/class_balance.json.
"""

from __future__ import annotations

import json
import os
import platform
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))
RESULT = ROOT / "benchmarks" / "results" / "class_balance.json"
BALANCES, SEEDS = ("none", "class_weights", "sampling"), (7, 8)
RECIPE = """
name = "lenet-{name}"
architecture = "lenet"
width = 16
epochs = 10
batch = 64
learning_rate = 0.002
weight_decay = 0.0005
dropout = 0.2
balance = "{balance}"
seed = {seed}
[data.train]
kind = "npz"
path = "gtsrb/train.npz"
[data.valid]
kind = "npz"
path = "gtsrb/valid.npz"
[augment]
shift = 0.1
rotation_degrees = 10
zoom = 0.1
brightness = 0.2
contrast = 0.4
"""


def ends(metric: Any) -> dict[str, float | None]:
    """Return value and interval of a metric."""
    return {key: getattr(metric, key) for key in ("value", "low", "high")}


def hits_of(balance: str, seed: int, place: Any, valid: Any, folder: Path) -> Any:
    """Train once; return which validation images are classified correctly, bool [N]."""
    import keras

    from safeml import recipes

    file = folder / f"{balance}-{seed}.toml"
    file.write_text(
        RECIPE.format(name=balance.replace("_", "-"), balance=balance, seed=seed), encoding="utf-8"
    )
    out = recipes.train(recipes.prepare(file, place), folder / f"{balance}-{seed}", lambda epoch: None)
    manifest = json.loads((out / "training.json").read_text(encoding="utf-8"))
    model = keras.models.load_model(out / manifest["chosen"]["file"])
    outputs = model.predict(valid.images.astype("float32") / 255, batch_size=256, verbose=0)
    return outputs.argmax(axis=1) == valid.labels


def table(hits: Any, valid: Any, small: Any, before: Any) -> dict[str, Any]:
    """Return the table of one model. small: bool [N], images of the smallest third of the classes; before: hits without balancing."""
    from safeml.audits.weakest import weakest_recall
    from safeml.statistics.paired import paired_difference_metric
    from safeml.statistics.proportions import proportion_metric

    of_class = {f"class:{name}": valid.labels == k for k, name in enumerate(valid.class_names)}
    clustering = valid.clustering
    rows: dict[str, Any] = {
        "accuracy": ends(proportion_metric("accuracy", "", hits, clustering=clustering)),
        "macro_recall": sum(float(hits[member].mean()) for member in of_class.values()) / len(of_class),
        "recall_worst_class": ends(weakest_recall("recall_worst_class", "", valid, hits, of_class)),
    }
    for name, member in (("small_classes", small), ("other_classes", ~small)):
        part = valid.take(member.nonzero()[0])
        rows[name] = ends(proportion_metric("recall", "", hits[member], clustering=part.clustering))
        if before is not None:
            lost = paired_difference_metric(
                "loss", "", before[member], hits[member], clustering=part.clustering
            )
            rows[f"{name}_loss_against_none"] = ends(lost)
    return rows


def main(shared: Path) -> None:
    """Measure, print and record."""
    import keras
    import numpy as np
    import tensorflow as tf

    from safeml.data.load import load_dataset
    from safeml.data.place import Place

    data = shared / "data" / "gtsrb"
    if not (data / "train.npz").is_file():
        print(f"skipped: {data}/train.npz is not there, and the table is about those images")
        return
    valid = load_dataset("npz", data / "valid.npz")
    sizes = np.bincount(load_dataset("npz", data / "train.npz").labels, minlength=valid.classes)
    small = np.isin(valid.labels, np.argsort(sizes, kind="stable")[: valid.classes // 3])
    rows: dict[str, dict[str, Any]] = {}
    started = time.process_time()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for seed in SEEDS:
            before = None
            for balance in BALANCES:
                hits = hits_of(balance, seed, Place(folder, shared / "data"), valid, folder)
                rows.setdefault(str(seed), {})[balance] = table(hits, valid, small, before)
                before = hits if before is None else before
                print(seed, balance, json.dumps(rows[str(seed)][balance]), flush=True)
    record = {
        "statement": "on validation signs, which selected the epochs, so no evidence for release",
        "training_images": int(sizes.sum()),
        "imbalance_ratio": float(sizes.max() / sizes.min()),
        "validation": {"images": len(valid), "of_small_classes": int(small.sum())},
        "by_seed": rows,
        "cpu_seconds": round(time.process_time() - started, 1),
        "versions": {"keras": keras.__version__, "tensorflow": tf.__version__},
        "python": platform.python_version(),
    }
    RESULT.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
