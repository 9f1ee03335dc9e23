"""TensorFlow's Grappler on a CPU: the processor time of the first call of each attack, and of the calls after it, with and without.

    python benchmarks/graph_rewriting.py                        # models/lenet-gtsrb and models/resnet-gtsrb on rendered signs

Grappler rewrites each graph before its first run. `safeml.framework.start` disables it where there is no GPU; this script says what that
saves and whether later passes become slower. A child process is started for each round, by turns, on one thread.
The record in benchmarks/results/graph_rewriting.json is for ratios; absolute times belong to the machine and its load.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ["CUDA_VISIBLE_DEVICES"] = ""

ROOT = Path(__file__).parent.parent
RESULT = ROOT / "benchmarks" / "results" / "graph_rewriting.json"
MODELS = ("lenet-gtsrb", "resnet-gtsrb")
ATTACKS = {"pgd": 20, "apgd_ce": 20, "square": 50}
ROUNDS, CALLS, IMAGES, SEED = 3, 2, 64, 7
TIMES = ("first", "later", "compiling")
# So small that next to no image breaks: each call makes all its steps.
EPSILON = 1e-6
# Later calls may be slower by the noise of one machine and no more.
LARGEST_LATER = 1.05


def measured(rewritten: bool) -> dict[str, dict[str, dict[str, float]]]:
    """Return seconds of the first and of the fastest later call of each attack, by model."""
    import numpy as np

    from safeml import framework

    framework.fix_threads(1)
    framework.start()
    import tensorflow as tf

    from safeml.attacks.base import Budget
    from safeml.attacks.registry import ATTACKS as REGISTRY
    from safeml.classifiers.load import load_model
    from safeml.data.rendered import render
    from safeml.settings.model import InputSettings
    from safeml.threats import Threat

    signs = render(860, seed=3)
    pixels, truth = signs.images.astype(np.float32) / np.float32(255), signs.labels.astype(np.int32)
    names = tuple(str(number) for number in range(43))
    taken: dict[str, dict[str, dict[str, float]]] = {}
    for model in MODELS:
        classifier = load_model(ROOT / "models" / model).model.fed(InputSettings(), names, model)
        # Opening a model disables Grappler, so it is enabled after that.
        tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": not rewritten})
        right = np.flatnonzero(classifier.predict_logits(pixels).argmax(axis=1) == truth)[:IMAGES]
        taken[model] = {}
        for name, steps in ATTACKS.items():
            seconds = []
            for _ in range(1 + CALLS):
                began = time.process_time()
                budget = Budget(steps, 1, SEED, IMAGES, clean_checked=True)
                threat = Threat(norm="linf", epsilon=EPSILON)
                REGISTRY[name](classifier, pixels[right], truth[right], threat, budget, np.arange(len(right)))
                seconds.append(time.process_time() - began)
            taken[model][name] = {"first": seconds[0], "later": min(seconds[1:])}
    return taken


def compared(rounds: dict[str, list[Any]]) -> dict[str, Any]:
    """Return the medians of the rounds, with Grappler and without, and the ratios."""
    models: dict[str, Any] = {}
    for model in MODELS:
        models[model] = {}
        for name in ATTACKS:
            row: dict[str, Any] = {}
            for way, made in rounds.items():
                row[way] = {
                    call: round(statistics.median(each[model][name][call] for each in made), 3)
                    for call in ("first", "later")
                }
            for seconds in row.values():
                seconds["compiling"] = round(seconds["first"] - seconds["later"], 3)
            row["ratio"] = {call: round(row["without"][call] / row["with"][call], 3) for call in TIMES}
            models[model][name] = row
    return models


def main() -> int:
    if sys.argv[1:] in (["with"], ["without"]):
        print(json.dumps(measured(sys.argv[1] == "with")))
        return 0
    rounds: dict[str, list[Any]] = {"with": [], "without": []}
    for _ in range(ROUNDS):
        for way, made in rounds.items():
            command = [sys.executable, __file__, way]
            done = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
            made.append(json.loads(done.stdout.splitlines()[-1]))
    models = compared(rounds)
    ratios = [row["ratio"] for rows in models.values() for row in rows.values()]
    record = {
        "rounds": ROUNDS,
        "images": IMAGES,
        "steps": ATTACKS,
        "models": models,
        "median_ratio": {
            call: round(statistics.median(ratio[call] for ratio in ratios), 3) for call in TIMES
        },
    }
    RESULT.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(record["median_ratio"]))
    return 0 if record["median_ratio"]["later"] <= LARGEST_LATER else 1


if __name__ == "__main__":
    raise SystemExit(main())
