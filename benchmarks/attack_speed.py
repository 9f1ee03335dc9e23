"""PGD, APGD and Square against their physical limits (the passes that they must make), and PGD against ART's.

    python benchmarks/attack_speed.py                           # models/lenet-gtsrb and models/resnet-gtsrb on rendered signs
    python benchmarks/attack_speed.py MODEL.keras [IMAGES.npz]

All contestants run in one process, by turns, best of two, on the same images, batch size and model, on one thread. The epsilon
is so small that next to no image breaks: early stopping saves nothing, and all steps are really made by everybody.
The record in benchmarks/results/attack_speed.json is for ratios; absolute rates belong to the machine and its load.
"""

from __future__ import annotations

import json
import os
import platform
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

import keras
import numpy as np
import tensorflow as tf

from safeml.attacks.art import art_classifier, art_pgd_attack
from safeml.attacks.base import SURVIVED, Budget
from safeml.attacks.lanes import attack
from safeml.attacks.pgd import ProjectedGradient
from safeml.attacks.registry import ATTACKS
from safeml.classifiers.base import DifferentiableClassifier
from safeml.classifiers.load import load_model
from safeml.config import InputSettings, Threat
from safeml.data.rendered import render

RESULT = Path(__file__).parent / "results" / "attack_speed.json"
STEPS, ROUNDS = 20, 2
APGD_STEPS, QUERIES = 40, 200
BATCHES = (64, 256)
IMAGES = 256
TARGET = {"pgd_of_limit": 0.95, "apgd_of_limit": 0.85, "square_of_limit": 0.8, "pgd_faster_than_art": 2.0}
THREAT = Threat(norm="linf", epsilon=1e-6)


@dataclass(frozen=True, eq=False)
class GraphLogits:
    """The classifier with its logits as one compiled graph: ART's best case."""

    classes: int
    logits: Callable[[Any], Any]


def gradient_limit(
    classifier: DifferentiableClassifier, images: np.ndarray, labels: np.ndarray, batch: int
) -> Callable[[], None]:
    """STEPS forward and backward passes for each batch, one compiled call each, and nothing else."""

    def in_graph(pixels: Any, answers: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(pixels)
            loss = tf.nn.sparse_softmax_cross_entropy_with_logits(answers, classifier.logits(pixels))
        return tape.gradient(loss, pixels)

    parts = [
        (tf.constant(images[i : i + batch]), tf.constant(labels[i : i + batch]))
        for i in range(0, len(images), batch)
    ]

    gradient = tf.function(in_graph, autograph=False)

    def spend() -> None:
        for pixels, answers in parts:
            for _ in range(STEPS):
                found = gradient(pixels, answers)
            found.numpy()

    return spend


def query_limit(classifier: DifferentiableClassifier, images: np.ndarray, batch: int) -> Callable[[], None]:
    """QUERIES forward passes for each batch, one compiled call each, and nothing else."""
    parts = [tf.constant(images[i : i + batch]) for i in range(0, len(images), batch)]
    logits = tf.function(classifier.logits, autograph=False)

    def spend() -> None:
        for pixels in parts:
            for _ in range(QUERIES):
                found = logits(pixels)
            found.numpy()

    return spend


def contestants(
    classifier: DifferentiableClassifier, images: np.ndarray, labels: np.ndarray, batch: int
) -> dict[str, Callable[[], Any]]:
    size = 2.5 * THREAT.epsilon / STEPS
    graph: Any = GraphLogits(classifier.classes, tf.function(classifier.logits, autograph=False))
    one_hot = np.eye(classifier.classes, dtype=np.float32)[labels]
    ids = np.arange(len(images))

    def own(name: str, steps: int) -> Callable[[], Any]:
        budget = Budget(steps, 1, 7, batch, clean_checked=True)
        return lambda: ATTACKS[name](classifier, images, labels, THREAT, budget, ids)

    def art(subject: DifferentiableClassifier) -> Callable[[], Any]:
        """Built once, so that ART's own tracing happens in the warm-up."""
        estimator = art_classifier(subject, images.shape[1:])
        attack_object = art_pgd_attack(estimator, THREAT, STEPS, size, batch)
        return lambda: attack_object.generate(x=images, y=one_hot)

    budget = Budget(STEPS, 1, 7, batch, clean_checked=True)
    return {
        "gradient_limit": gradient_limit(classifier, images, labels, batch),
        "query_limit": query_limit(classifier, images, batch),
        "pgd": lambda: attack(
            classifier, images, labels, THREAT, ProjectedGradient(step_size=size), budget, ids
        ),
        "apgd": own("apgd_ce", APGD_STEPS),
        "square": own("square", QUERIES),
        "art": art(classifier),
        "art_compiled_model": art(graph),
    }


def best_times(runs: dict[str, Callable[[], Any]]) -> dict[str, dict[str, float]]:
    """Seconds of wall clock and of CPU time, the best of ROUNDS each, by turns after one warm-up."""
    for run in runs.values():
        run()
    best = {name: {"wall": float("inf"), "cpu": float("inf")} for name in runs}
    for _ in range(ROUNDS):
        for name, run in runs.items():
            wall, cpu = time.perf_counter(), time.process_time()
            run()
            taken = {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}
            best[name] = {clock: min(best[name][clock], taken[clock]) for clock in taken}
    return best


def load(data: str | None) -> tuple[np.ndarray, np.ndarray]:
    """Pixels float32 0..1 and labels of the file, or of rendered signs."""
    if data is None:
        signs = render(4300, seed=3)
        return signs.images.astype(np.float32) / np.float32(255), signs.labels
    with np.load(data) as arrays:
        return arrays["images"].astype(np.float32) / np.float32(255), arrays["labels"]


def ratios(best: dict[str, dict[str, float]], clock: str) -> dict[str, float]:
    """Of the time that the passes alone take, for as many passes; and against ART."""
    taken = {name: seconds[clock] for name, seconds in best.items()}
    return {
        "pgd_of_limit": taken["gradient_limit"] / taken["pgd"],
        "apgd_of_limit": taken["gradient_limit"] * (APGD_STEPS / STEPS) / taken["apgd"],
        "square_of_limit": taken["query_limit"] / taken["square"],
        "pgd_faster_than_art": taken["art"] / taken["pgd"],
        "pgd_faster_than_art_compiled_model": taken["art_compiled_model"] / taken["pgd"],
    }


def measured(model: str, data: str | None) -> dict[str, Any]:
    classifier = load_model(Path(model)).model.fed(
        InputSettings(), tuple(str(number) for number in range(43)), Path(model).name
    )
    pixels, labels = load(data)
    # Only images that are right when clean: the engine does not attack the others, which would flatter it.
    right = np.flatnonzero(classifier.predict_logits(pixels).argmax(axis=1) == labels)[:IMAGES]
    images, labels = pixels[right], labels[right].astype(np.int32)
    rows = []
    for batch in BATCHES:
        runs = contestants(classifier, images, labels, batch)
        survivors = float((runs["pgd"]().first_step == SURVIVED).mean())
        best = best_times(runs)
        ratio = {clock: ratios(best, clock) for clock in ("wall", "cpu")}
        met = {name: ratio["cpu"][name] >= least for name, least in TARGET.items()}
        rows.append(
            {"batch": batch, "survivors": survivors, "seconds": best, "ratio": ratio, "met_in_cpu_time": met}
        )
        print(
            f"{classifier.name} batch {batch}: {json.dumps(_rounded(ratio['cpu']))} (CPU time), survivors {survivors:.3f}",
            flush=True,
        )
    return {
        "model": {
            "name": Path(model).parent.name,
            "parameters": classifier.parameters,
            "fingerprint": classifier.fingerprint,
        },
        "images": len(images),
        "rows": rows,
    }


def main(models: list[str], data: str | None) -> None:
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    record = {
        "target": TARGET,
        "data": (data and Path(data).name) or "rendered signs",
        "steps": {"pgd": STEPS, "apgd": APGD_STEPS, "square": QUERIES},
        "threads": 1,
        "versions": {
            "tensorflow": tf.__version__,
            "keras": keras.__version__,
            "python": platform.python_version(),
        },
        "models": [measured(model, data) for model in models],
    }
    RESULT.write_text(json.dumps(_rounded(record), indent=2) + "\n", encoding="utf-8")


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [_rounded(entry) for entry in value]
    return round(value, 4) if isinstance(value, float) else value


if __name__ == "__main__":
    if len(sys.argv) > 3:
        raise SystemExit(__doc__)
    folder = Path(__file__).parent.parent / "models"
    ours = [str(next((folder / name).glob("*.keras"))) for name in ("lenet-gtsrb", "resnet-gtsrb")]
    main([sys.argv[1]] if len(sys.argv) > 1 else ours, sys.argv[2] if len(sys.argv) > 2 else None)
