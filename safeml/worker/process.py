"""The entry of a worker process: a job and a task in, a reply out. One task at a time."""

from __future__ import annotations

import hashlib
import tempfile
import threading
from pathlib import Path
from typing import Any

from safeml.errors import SafemlError, first_line
from safeml.scale.base import Job, Kind, Reply, Task
from safeml.scale.identity import difference
from safeml.stages.base import load
from safeml.store.files import atomic_write, keep_folder
from safeml.store.slices import SLICE, WORK
from safeml.worker.follower import Follower


class Worker:
    """One run on this process.

    refused: why the worker must not measure; "" if it may.
    """

    def __init__(self, job: Job, name: str) -> None:
        self.job, self.name, self.refused = job, name, ""
        self.follower: Follower | None = None
        self._asked = 0  # slices that the follower was asked for
        self._temporary: tempfile.TemporaryDirectory[str] | None = None
        try:
            self.opened: Any = load(job.opener)(job)
            self.refused = difference(self.opened.identity, job.identity)
        except (SafemlError, ImportError) as error:
            self.refused = f"cannot open the run: {first_line(error).rstrip('.')}"
            return
        if self.opened.shared:
            self.folder = Path(job.folder)
        else:
            self._temporary = tempfile.TemporaryDirectory(prefix="safeml-worker-")
            self.folder = Path(self._temporary.name)

    def measure(self, task: Task) -> Reply:
        """Measure the slices of a task."""
        if self.refused:
            return Reply("refused", self.name, reason=self.refused)
        if not task.slices:
            return Reply("stored", self.name, shared=self.opened.shared)
        place = self.folder / WORK / task.stage
        for name, content in task.entries.items():
            if SLICE.fullmatch(name) and not self.opened.shared:
                keep_folder(place)
                atomic_write(place / name, content)
        sealed: dict[str, bytes] = {}
        for name in task.slices:
            answer = self._follower(task.stage).measure(name)
            if answer.kind == "ended" and self._asked > 1:
                self.end()  # the stage is past the slice: follow it from its beginning
                answer = self._follower(task.stage).measure(name)
            if answer.kind == "stored":
                sealed[name] = answer.sealed
                continue
            kind: Kind = "missing" if answer.kind == "missing" else "failed"
            present = () if self.opened.shared else tuple(sorted(file.name for file in place.glob("*.npz")))
            return Reply(kind, self.name, present=present, shared=self.opened.shared, reason=answer.reason)
        digests = {name: hashlib.sha256(content).hexdigest() for name, content in sealed.items()}
        contents = {} if self.opened.shared else sealed
        return Reply("stored", self.name, digests, contents, shared=self.opened.shared)

    def end(self) -> None:
        """End the stage that is under way."""
        if self.follower is not None:
            self.follower.end()
        self.follower = None

    def close(self) -> None:
        """End the run on this process."""
        self.end()
        if self._temporary is not None:
            self._temporary.cleanup()

    def _follower(self, stage: str) -> Follower:
        if self.follower is not None and self.follower.stage != stage:
            self.end()
        if self.follower is None:
            self.follower, self._asked = self.opened.follow(stage, self.folder), 0
        self._asked += 1
        return self.follower


_lock = threading.Lock()
_workers: dict[str, Worker] = {}  # the run of this process; one entry, because a model takes memory


def measure(job: Job, task: Task, name: str) -> Reply:
    """Measure a task as the worker `name`; the job is opened at its first task."""
    with _lock:
        worker = _workers.get(job.run)
        if worker is None:
            for earlier in _workers.values():
                earlier.close()
            _workers.clear()
            worker = _workers[job.run] = Worker(job, name)
        return worker.measure(task)
