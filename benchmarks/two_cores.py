"""Do independent batches side by side pay? Gradients a second of both cores: one batch on two threads, or two batches on one thread each.

    python benchmarks/two_cores.py [SECONDS]      # of each measurement; default 6; models/lenet-gtsrb and models/resnet-gtsrb

Each worker runs PGD of the engine on rendered signs, with an epsilon so small that next to no image breaks, in batches of 64:
`one_batch` is one process with two intra-op threads, `two_processes` two processes of one intra-op thread each, and `two_threads` one
process in which two Python threads run graphs with one intra-op thread each. All are started and compiled before the first measurement,
and measured in turn, ROUNDS times. `cores` is the processor time over the wall time: a measurement with less than ENOUGH of the cores it
could use met other work on the machine, and the record says so. The rule of the aim: build it where the best of the two ways has PAYS
times the gradients of `one_batch`. The record is benchmarks/results/two_cores.json.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

RESULT = Path(__file__).parent / "results" / "two_cores.json"
MODELS = ("lenet-gtsrb", "resnet-gtsrb")
WAYS = {"one_batch": [(2, 1)], "two_processes": [(1, 1), (1, 1)], "two_threads": [(1, 2)]}
BATCH, STEPS, ROUNDS = 64, 10, 5
PAYS, ENOUGH = 1.15, 0.9


def worker(model: str, intra: int, threads: int) -> None:
    """Compile, say "ready", and for each line with a number of seconds attack that long and say how much was done."""
    import numpy as np
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(intra)
    tf.config.threading.set_inter_op_parallelism_threads(max(threads, 1))

    from safeml.attacks.base import Budget
    from safeml.attacks.registry import ATTACKS
    from safeml.classifiers.load import load_model
    from safeml.data.rendered import render
    from safeml.settings.model import InputSettings
    from safeml.threats import Threat

    [file] = (Path(__file__).parent.parent / "models" / model).glob("*.keras")
    names = tuple(str(number) for number in range(43))
    classifier: Any = load_model(file).model.fed(InputSettings(), names, model)
    signs = render(BATCH, seed=3)
    images, labels = signs.images.astype(np.float32) / np.float32(255), signs.labels
    threat, budget = Threat(norm="linf", epsilon=1e-6), Budget(STEPS, 1, 7, BATCH, clean_checked=True)

    def attack() -> int:
        outcome = ATTACKS["pgd"](classifier, images, labels, threat, budget, np.arange(BATCH))
        return int(outcome.evaluations.sum())

    attack()
    print("ready", flush=True)
    for line in sys.stdin:
        print(json.dumps(rate_and_cores(attack, float(line), threads)), flush=True)


def rate_and_cores(attack: Callable[[], int], seconds: float, threads: int) -> tuple[float, float]:
    """Attack so long on `threads` Python threads; return the gradients a second, and the processor time over the wall time."""
    done = [0] * threads
    began, cpu = time.perf_counter(), time.process_time()

    def run(number: int) -> None:
        while time.perf_counter() < began + seconds:
            done[number] += attack()

    running = [threading.Thread(target=run, args=(number,)) for number in range(threads)]
    for each in running:
        each.start()
    for each in running:
        each.join()
    wall = time.perf_counter() - began
    return sum(done) / wall, (time.process_time() - cpu) / wall


class Way:
    """The workers of one way to use the cores, started and compiled."""

    def __init__(self, model: str, parts: list[tuple[int, int]]) -> None:
        self.parts = parts
        self.workers = [
            subprocess.Popen(
                [sys.executable, __file__, "worker", model, str(intra), str(threads)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            for intra, threads in parts
        ]
        for each in self.workers:
            if self._line(each) != "ready":
                raise SystemExit(f"{model}: a worker did not start; its message is above.")

    @staticmethod
    def _line(worker: Any) -> str:
        return str(worker.stdout.readline()).strip()

    def measured(self, seconds: float) -> dict[str, float]:
        """Return gradients a second of all workers together, and the cores that they had."""
        for each in self.workers:
            each.stdin.write(f"{seconds}\n")
            each.stdin.flush()
        results = [json.loads(self._line(each)) for each in self.workers]
        return {
            "gradients_a_second": round(sum(rate for rate, _ in results), 1),
            "cores": round(sum(cores for _, cores in results), 3),
        }

    def end(self) -> None:
        for each in self.workers:
            each.stdin.close()
            each.wait()


def compared(model: str, seconds: float) -> dict[str, Any]:
    """Measure every way in turn; return the rounds, the medians, and the ratio to one batch."""
    ways = {name: Way(model, parts) for name, parts in WAYS.items()}
    rounds: dict[str, list[dict[str, float]]] = {name: [] for name in ways}
    for _ in range(ROUNDS):
        for name, way in ways.items():
            rounds[name].append(way.measured(seconds))
    for way in ways.values():
        way.end()
    rate = {
        name: statistics.median(one["gradients_a_second"] for one in each) for name, each in rounds.items()
    }
    # One thread of the two of `one_batch` idles in what does not run in parallel: only the others can use both cores whole.
    had = [one["cores"] for name in ("two_processes", "two_threads") for one in rounds[name]]
    ratio = {name: round(rate[name] / rate["one_batch"], 3) for name in WAYS if name != "one_batch"}
    return {
        "rounds": rounds,
        "ratio_to_one_batch": ratio,
        "pays": max(ratio.values()) >= PAYS,
        "machine_was_quiet": statistics.median(had) >= ENOUGH * 2,
    }


def main(seconds: float) -> None:
    record: dict[str, Any] = {"seconds": seconds, "batch": BATCH, "pays_from": PAYS, "cpus": os.cpu_count()}
    for model in MODELS:
        record[model] = compared(model, seconds)
        print(
            model,
            json.dumps({key: record[model][key] for key in record[model] if key != "rounds"}),
            flush=True,
        )
    RESULT.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    if sys.argv[1:2] == ["worker"]:
        worker(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
    else:
        main(float(sys.argv[1]) if len(sys.argv) > 1 else 6.0)
