"""The whole ensemble against its own bill of gradients and queries, and against ART's AutoAttack, on the same images.

    python benchmarks/ensemble_speed.py [MODEL.keras [IMAGES.npz [COUNT [EPSILON [alone]]]]]   # models/lenet-gtsrb, rendered signs, 64, 4 (of 255)

Bill: what the gradients and queries that the ensemble asked for cost by themselves, one compiled call each, full batches.
alone: without ART, which takes half an hour where many images are left for its Square.
ART's AutoAttack with its own defaults (APGD-CE, APGD-DLR, DeepFool, Square; 5 restarts each); its Square makes 5,000 queries
a restart. Here APGD-CE, APGD-T with 9 targets, FMN, and Square with 5,000 queries. One process, one thread, CPU time.
The record is benchmarks/results/ensemble_speed.json; ratios count, absolute rates belong to the machine.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import platform
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

import keras
import numpy as np
import tensorflow as tf

from safeml.attacks.art.pgd import art_classifier
from safeml.attacks.base import Budget
from safeml.attacks.registry import ATTACKS
from safeml.classifiers.load import load_model
from safeml.data.rendered import render
from safeml.metrics.classification import right_answers
from safeml.metrics.perturbation import perturbation_size, project
from safeml.settings.model import InputSettings
from safeml.threats import Threat

RESULT = Path(__file__).parent / "results" / "ensemble_speed.json"
USUAL = 4.0  # L-inf, in 1/255; at a larger one fewer images are left for the dearest attacks, of both
THREAT = Threat(norm="linf", epsilon=float(sys.argv[4] if len(sys.argv) > 4 else USUAL) / 255)
BATCH = 64
SCHEDULE = {"apgd_ce": (100, 1), "apgd_t": (100, 9), "fmn": (100, 1), "square": (5000, 1)}
TARGET = {"of_the_bill": 0.8, "faster_than_art": 15.0}
REPEATS = 20


def ensemble(classifier: Any, images: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, dict[str, int]]:
    """Which images survive (bool [N]), and how many gradients and queries that took."""
    left = np.ones(len(images), bool)
    spent = {"gradients": 0, "queries": 0}
    for name, (steps, attempts) in SCHEDULE.items():
        rows = np.flatnonzero(left)
        if not len(rows):
            break
        reach = Threat(norm="linf", epsilon=1.0) if name == "fmn" else THREAT
        budget = Budget(steps, attempts, 7, BATCH, clean_checked=True)
        outcome = ATTACKS[name](classifier, images[rows], labels[rows], reach, budget, rows)
        spent["queries" if name == "square" else "gradients"] += int(outcome.evaluations.sum())
        left[rows] = still_right(classifier, images[rows], outcome.adversarial, labels[rows])
    return left, spent


def still_right(classifier: Any, clean: np.ndarray, attacked: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """bool [N]: projected, clipped, predicted again; what lies beyond the ball broke nothing."""
    near = perturbation_size(clean, attacked, "linf") <= THREAT.epsilon + 1e-6
    wrong = ~right_answers(classifier.predict_logits(project(clean, attacked, THREAT)), labels)
    return ~(near & wrong)


def art_auto_attack(classifier: Any, images: np.ndarray, labels: np.ndarray) -> np.ndarray:
    # It imports a package that ART does not declare, for its pool alone, which is not used here.
    sys.modules.setdefault("multiprocess", multiprocessing)
    from art.attacks.evasion import AutoAttack

    attack = AutoAttack(
        estimator=art_classifier(classifier, images.shape[1:]),
        norm=np.inf,
        eps=THREAT.epsilon,
        eps_step=THREAT.epsilon / 4,
        batch_size=BATCH,
    )
    found = attack.generate(x=images, y=np.eye(classifier.classes, dtype=np.float32)[labels])
    return still_right(classifier, images, found, labels)


def rates(classifier: Any, images: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """CPU seconds of one gradient and of one answer, an image, in full batches."""
    rows = np.resize(np.arange(len(images)), BATCH)
    pixels, answers = tf.constant(images[rows]), tf.constant(labels[rows])

    def in_graph(pixels: Any, answers: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(pixels)
            loss = tf.nn.sparse_softmax_cross_entropy_with_logits(answers, classifier.logits(pixels))
        return tape.gradient(loss, pixels)

    gradient = tf.function(in_graph, autograph=False)
    forward = tf.function(classifier.logits, autograph=False)
    return {
        "gradients": cpu_seconds(lambda: gradient(pixels, answers)),
        "queries": cpu_seconds(lambda: forward(pixels)),
    }


def cpu_seconds(call: Callable[[], Any]) -> float:
    call().numpy()
    taken = []
    for _ in range(3):
        began = time.process_time()
        for _ in range(REPEATS):
            found = call()
        found.numpy()
        taken.append((time.process_time() - began) / (REPEATS * BATCH))
    return min(taken)


def main(model: str, data: str | None, count: int, alone: bool) -> None:
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    names = tuple(str(number) for number in range(43))
    classifier: Any = load_model(Path(model)).model.fed(InputSettings(), names, Path(model).parent.name)
    if data is None:
        signs = render(4300, seed=3)
        pixels, labels = signs.images, signs.labels
    else:
        with np.load(data) as arrays:
            pixels, labels = arrays["images"], arrays["labels"]
    order = np.random.default_rng(5).permutation(len(pixels))[: 4 * count]
    images = pixels[order].astype(np.float32) / np.float32(255)
    labels = labels[order].astype(np.int32)
    right = np.flatnonzero(right_answers(classifier.predict_logits(images), labels))[:count]
    images, labels = images[right], labels[right]

    few = slice(0, 8)  # every graph is compiled before anything is timed
    for name in SCHEDULE:
        ATTACKS[name](classifier, images[few], labels[few], THREAT, Budget(5, 1, 7, BATCH), right[few])
    cost = rates(classifier, images, labels)
    began = time.process_time()
    left, spent = ensemble(classifier, images, labels)
    own = time.process_time() - began
    bill = sum(spent[kind] * cost[kind] for kind in spent)
    print(f"own: {own:.1f} s CPU, bill {bill:.1f} s, {left.mean():.4f} left, {spent}", flush=True)
    record: dict[str, Any] = {
        "target": TARGET,
        "robust_accuracy": {"safeml": float(left.mean())},
        "cpu_seconds": {"safeml": round(own, 1), "bill": round(bill, 1)},
        "ratio": {"of_the_bill": round(bill / own, 4)},
        "spent": spent,
        "threat": THREAT.label,
        "images": len(images),
        "data": (data and Path(data).name) or "rendered signs",
        "model": {
            "name": classifier.name,
            "parameters": classifier.parameters,
            "fingerprint": classifier.fingerprint,
        },
        "schedule": SCHEDULE,
        "threads": 1,
        "versions": {
            "tensorflow": tf.__version__,
            "keras": keras.__version__,
            "python": platform.python_version(),
        },
    }
    write(record)  # before ART, which takes many times as long
    if alone:
        return
    began = time.process_time()
    art_left = art_auto_attack(classifier, images, labels)
    art = time.process_time() - began
    record["robust_accuracy"]["art"] = float(art_left.mean())
    record["more_images_left_than_art"] = int(left.sum()) - int(art_left.sum())
    record["cpu_seconds"]["art"] = round(art, 1)
    record["ratio"]["faster_than_art"] = round(art / own, 4)
    write(record)
    print(
        f"ART AutoAttack: {art:.1f} s CPU, {art_left.mean():.4f} left; {json.dumps(record['ratio'])}",
        flush=True,
    )


def write(record: dict[str, Any]) -> None:
    """Into the results, beside those of other models; without ART's part where that is still to come."""
    record["met"] = {name: record["ratio"][name] >= TARGET[name] for name in record["ratio"]}
    earlier = json.loads(RESULT.read_text(encoding="utf-8")) if RESULT.exists() else {}
    earlier[f"{record['model']['name']} on {record['data']}, {THREAT.label}, {record['images']} images"] = (
        record
    )
    RESULT.write_text(json.dumps(earlier, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    [default] = (Path(__file__).parent.parent / "models" / "lenet-gtsrb").glob("*.keras")
    given = sys.argv[1:]
    main(
        given[0] if given else str(default),
        given[1] if len(given) > 1 else None,
        int(given[2]) if len(given) > 2 else 64,
        "alone" in given[4:],
    )
