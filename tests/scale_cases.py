"""A run whose model is NumPy alone, in twenty slices, and workers of it: a process costs a second instead of ten.

SAFEML_TEST_KILL names a file: the first worker that measures a slice creates it and kills itself. With SAFEML_TEST_ALWAYS every
worker does. SAFEML_TEST_NUMPY is the version of NumPy that a worker reports.
A cluster of Dask in another process is started by `python -c CLUSTER`.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from safeml import pipeline, provenance
from safeml.audits.performance import run as performance
from safeml.classifiers import load
from safeml.config.audit import load_config
from safeml.data.place import Place
from safeml.results import Run, RunTimes
from safeml.scale import start
from safeml.scale.base import Job, Reply, Task
from safeml.scale.start import HERE, Scale
from safeml.worker import opening
from safeml.worker.process import Worker
from tests import tiny
from tests.toy import classifier as toy

SLICE = 4
KILL, ALWAYS, NUMPY = "SAFEML_TEST_KILL", "SAFEML_TEST_ALWAYS", "SAFEML_TEST_NUMPY"
VICTIM = "SAFEML_TEST_VICTIM"  # the process that is killed instead
CLUSTER = """
import os
os.environ["SAFEML_TEST_VICTIM"] = str(os.getpid())
from distributed import LocalCluster
if __name__ == "__main__":
    cluster = LocalCluster(n_workers=1, threads_per_worker=1, host="127.0.0.1", dashboard_address=None, memory_limit=0)
    print(cluster.scheduler_address, flush=True)
    input()
"""
SETTINGS = f"""
[model]
path = "toy.model"
[data.test]
kind = "npz"
path = "test.npz"
frames_per_sign = 1
[run]
threads = 1
[stages.performance]
bootstrap = 100
{tiny.without(*(name for name in tiny.STAGES if name not in ("performance", "model")))}
[[gates]]
id = "accuracy"
stage = "performance"
metric = "clean_accuracy"
op = ">="
threshold = 0.5
"""


class Deadly(toy.Templates):
    """The toy, whose first slices kill their process."""

    def predict_logits(self, images: np.ndarray) -> np.ndarray:
        mark = Path(os.environ[KILL])
        if len(images) == SLICE and (ALWAYS in os.environ or not mark.exists()):
            mark.touch()
            os.kill(int(os.environ.get(VICTIM, os.getpid())), signal.SIGKILL)
        return super().predict_logits(images)


def open_toy(job: Job) -> opening.Opened:
    """Open a job of `write_project` on a worker process."""
    performance.SLICE = SLICE
    load.load_model = toy.load_model  # type: ignore[assignment]
    if KILL in os.environ:
        toy.Templates = Deadly  # type: ignore[misc]
    if NUMPY in os.environ:
        real = provenance.versions
        provenance.versions = lambda: {**real(), "numpy": os.environ[NUMPY]}
    return opening.open_job(job)


def write_project(folder: Path) -> Path:
    """Write model, images and settings into `folder`."""
    toy.write_model(folder / "toy.model")
    toy.write_data(folder / "test.npz", 0)
    (folder / "safeml.toml").write_text(SETTINGS)
    return folder


def open_other(job: Job) -> Any:
    """Open a job on a worker that has another version of NumPy."""
    packages = {**job.identity["packages"], "numpy": "1.0"}
    return SimpleNamespace(identity={**job.identity, "packages": packages}, shared=True)


def run(project: Path, out: Path, scale: Scale = HERE, opener: str = "open_toy") -> tuple[Run, RunTimes]:
    """Audit the project into `out` in this process; slices are measured where `scale` says."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(performance, "SLICE", SLICE)
        patch.setattr(load, "load_model", toy.load_model)
        patch.setattr(start, "OPENER", f"tests.scale_cases:{opener}")
        config, place = load_config(project / "safeml.toml"), Place(project)
        done, times, _ = pipeline.audit(config, place, project / "toy.model", out, scale=scale)
    return done, times


@dataclass(eq=False)
class Here:
    """A `Transport` whose workers are objects of this process; each measures its shards in turn.

    workers: one for each; a task without a wish goes to the next one.
    change: may replace a reply.
    """

    workers: list[Worker]
    change: Callable[[Task, Reply], Reply] = lambda task, reply: reply
    words: str = "this process"
    tasks: list[tuple[int, Task, str]] = field(default_factory=list)
    sent: list[Task] = field(default_factory=list)
    turn: int = 0

    def begin(self, job: Job) -> list[Reply]:
        return []

    def submit(self, number: int, task: Task, worker: str = "") -> None:
        self.tasks.append((number, task, worker))
        self.sent.append(task)

    def finished(self, seconds: float) -> tuple[int, Reply] | None:
        number, task, name = self.tasks.pop()  # the last first: order must not matter
        named = [worker for worker in self.workers if worker.name == name]
        worker = named[0] if named else self.workers[self.turn % len(self.workers)]
        self.turn += 1
        return number, self.change(task, worker.measure(task))

    def forget(self) -> None:
        self.tasks.clear()

    def close(self) -> None:
        for worker in self.workers:
            worker.close()
