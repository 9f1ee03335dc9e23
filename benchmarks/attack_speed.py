"""PGD, APGD and Square against their physical limits (the passes that they must make, the last prediction included), and PGD against ART's.

    python benchmarks/attack_speed.py                           # models/lenet-gtsrb and models/resnet-gtsrb on rendered signs
    python benchmarks/attack_speed.py MODEL.keras [IMAGES.npz]
    python benchmarks/attack_speed.py again                     # the ratios of the recorded seconds, computed once more

All contestants run in one process, by turns, on the same images, batch size and model, on one thread. The epsilon is so
small that next to no image breaks: early stopping saves nothing, and all steps are really made by everybody.
The passes alone and our attacks are traced anew in each round, because two traces of one graph need not be given the same kernels;
the best and the median trace are both recorded.
The record in benchmarks/results/attack_speed.json is for ratios; absolute rates belong to the machine and its load.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

import keras
import numpy as np
import tensorflow as tf

from safeml.attacks.art.pgd import art_classifier, art_pgd_attack
from safeml.attacks.base import SURVIVED, Budget
from safeml.attacks.engine import compile_for
from safeml.attacks.pgd import ProjectedGradient
from safeml.attacks.registry import ATTACKS
from safeml.attacks.slots import attack
from safeml.classifiers.base import DifferentiableClassifier
from safeml.classifiers.load import load_model
from safeml.data.rendered import render
from safeml.settings.model import InputSettings
from safeml.threats import Threat

RESULT = Path(__file__).parent / "results" / "attack_speed.json"
STEPS, TRACES, ART_ROUNDS = 20, 5, 2
APGD_STEPS, QUERIES = 40, 100
BATCHES = (64, 128)
IMAGES = 128
TARGET = {"pgd_of_limit": 0.97, "apgd_of_limit": 0.85, "square_of_limit": 0.8, "pgd_faster_than_art": 2.0}
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


def times(build: Callable[[], dict[str, Callable[[], Any]]]) -> dict[str, list[dict[str, float]]]:
    """Seconds of wall clock and of CPU time of each contestant: TRACES times for ours, ART_ROUNDS times for ART's."""
    taken: dict[str, list[dict[str, float]]] = {}
    for number in range(TRACES):
        compile_for.cache_clear()
        for name, run in build().items():
            if name.startswith("art") and number >= ART_ROUNDS:
                continue
            run()  # traces
            wall, cpu = time.perf_counter(), time.process_time()
            run()
            seconds = {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}
            taken.setdefault(name, []).append(seconds)
    return taken


def load(data: str | None) -> tuple[np.ndarray, np.ndarray]:
    """Pixels float32 0..1 and labels of the file, or of rendered signs."""
    if data is None:
        signs = render(4300, seed=3)
        return signs.images.astype(np.float32) / np.float32(255), signs.labels
    with np.load(data) as arrays:
        return arrays["images"].astype(np.float32) / np.float32(255), arrays["labels"]


def ratios(taken: dict[str, float]) -> dict[str, float]:
    """Of the time that the passes alone take, for as many passes; and against ART.

    An attack that does not break an image predicts its last iterate: one forward pass, which is part of the limit.
    """
    one_look = taken["query_limit"] / QUERIES
    return {
        "pgd_of_limit": (taken["gradient_limit"] + one_look) / taken["pgd"],
        "apgd_of_limit": (taken["gradient_limit"] * (APGD_STEPS / STEPS) + one_look) / taken["apgd"],
        "square_of_limit": (taken["query_limit"] + one_look) / taken["square"],
        "pgd_faster_than_art": taken["art"] / taken["pgd"],
        "pgd_faster_than_art_compiled_model": taken["art_compiled_model"] / taken["pgd"],
    }


def summary(
    taken: dict[str, list[dict[str, float]]], clock: str, trace: Callable[[Any], float]
) -> dict[str, float]:
    """The ratios of one trace of each contestant, the best or the median."""
    return ratios({name: trace([each[clock] for each in rounds]) for name, rounds in taken.items()})


def judged(taken: dict[str, list[dict[str, float]]]) -> dict[str, Any]:
    """The ratios of the best and the median trace, and which aims the median meets in processor time."""
    traces = {"best": min, "median": statistics.median}
    ratio = {
        name: {clock: summary(taken, clock, trace) for clock in ("wall", "cpu")}
        for name, trace in traces.items()
    }
    met = {name: ratio["median"]["cpu"][name] >= least for name, least in TARGET.items()}
    return {"ratio": ratio, "met_by_median_trace_in_cpu_time": met}


def again() -> None:
    """Compute the ratios of the record from its seconds."""
    record = json.loads(RESULT.read_text(encoding="utf-8"))
    record["target"] = TARGET
    for model in record["models"]:
        for row in model["rows"]:
            row.update(judged(row["seconds"]))
    RESULT.write_text(json.dumps(_rounded(record), indent=2) + "\n", encoding="utf-8")


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
        taken = times(partial(contestants, classifier, images, labels, batch))
        survivors = float(
            (contestants(classifier, images, labels, batch)["pgd"]().first_step == SURVIVED).mean()
        )
        rows.append({"batch": batch, "survivors": survivors, "seconds": taken, **judged(taken)})
        shown = {name: each["cpu"] for name, each in rows[-1]["ratio"].items()}
        print(
            f"{classifier.name} batch {batch}: {json.dumps(_rounded(shown))} (CPU time), survivors {survivors:.3f}",
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
        "traces": TRACES,
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
    if sys.argv[1:] == ["again"]:
        raise SystemExit(again())
    folder = Path(__file__).parent.parent / "models"
    ours = [str(next((folder / name).glob("*.keras"))) for name in ("lenet-gtsrb", "resnet-gtsrb")]
    main([sys.argv[1]] if len(sys.argv) > 1 else ours, sys.argv[2] if len(sys.argv) > 2 else None)
