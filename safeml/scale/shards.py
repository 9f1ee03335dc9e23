"""The client's side of scale-out: cut the slices of an item into shards, send them, verify and store what comes back.

Nothing that a worker reports is believed: each slice is read from the run folder, or from the reply, and must have the key, the
form and the seal that the client itself expects. A slice that cannot be had makes its stage an error, so the run is incomplete.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from safeml import interruption
from safeml.errors import StageError
from safeml.scale.base import Reply, Task, Transport
from safeml.sealed import largest
from safeml.store.slices import StoredWork
from safeml.wording import counted
from safeml.work import Request

ATTEMPTS = 3  # of a shard whose slices cannot be used
POLL = 0.5  # seconds between two looks for a stop request
SETTLE = 0.2  # seconds for a network file system to show what another machine wrote
RESUME = "run the same command again: finished work is stored."


@dataclass(eq=False)
class Shard:
    """Slices under way. attempts: how often it was sent because its slices could not be used."""

    requests: dict[str, Request]
    attempts: int = 0


@dataclass(eq=False)
class Shards:
    """Measures slices on the workers of a transport; an `Elsewhere` of the store.

    slices: per shard.
    measured: number of slices that workers measured.
    lost: why there are no workers any more; "" while there are.
    """

    transport: Transport
    slices: int = 1
    measured: int = 0
    lost: str = ""
    _number: int = 0
    _open: dict[int, Shard] = field(default_factory=dict)

    def measure(
        self, work: StoredWork, requests: Sequence[Request], done: Callable[[int], None]
    ) -> dict[str, str]:
        """See `Elsewhere`."""
        failed: dict[str, str] = {}
        if not requests:
            return failed
        if self.lost:
            raise StageError(self.lost)
        named = [(work.path(request).name, request) for request in requests]
        try:
            for start in range(0, len(named), self.slices):
                self._send(work, Shard(dict(named[start : start + self.slices])))
            while self._open:
                interruption.check()
                finished = self.transport.finished(POLL)
                if finished is None or finished[0] not in self._open:
                    continue
                shard = self._open.pop(finished[0])
                if finished[1].kind == "failed":
                    failed |= dict.fromkeys(
                        shard.requests, f"failed on worker {finished[1].worker}: {finished[1].reason}"
                    )
                else:
                    self._receive(work, shard, finished[1])
                done(len(requests) - sum(len(shard.requests) for shard in self._open.values()))
        finally:
            if self._open:
                self._open.clear()
                self.transport.forget()
        return failed

    def _send(
        self, work: StoredWork, shard: Shard, present: Sequence[str] | None = None, worker: str = ""
    ) -> None:
        """Send a shard. present: slices that the worker has, if it does not have the run folder."""
        entries = {} if present is None else _entries(work, present)
        self._number += 1
        self._open[self._number] = shard
        self.transport.submit(self._number, Task(work.stage, tuple(shard.requests), entries), worker)

    def _receive(self, work: StoredWork, shard: Shard, reply: Reply) -> None:
        name = next(iter(shard.requests))
        if reply.kind == "stored":
            self._verify(work, shard, reply)
        elif reply.kind == "missing":
            self._again(work, shard, f"worker {reply.worker} {reply.reason or 'lacks earlier slices'}", reply)
        elif reply.kind == "killed":
            raise StageError(
                f"{name}: {reply.reason}; it may need more memory than a worker has: start workers with more, or measure it in one process "
                f"without workers: {RESUME}"
            )
        elif reply.kind == "gone":
            self.lost = f"{name}: there are no workers any more ({reply.reason}); start them and {RESUME}"
            raise StageError(self.lost)
        else:
            raise StageError(
                f"worker {reply.worker}: {reply.reason}; stop it, or make it equal, and {RESUME}"
            )

    def _verify(self, work: StoredWork, shard: Shard, reply: Reply) -> None:
        """Accept the slices of a reply, and send those again that cannot be used."""
        refused: dict[str, Request] = {}
        why = ""
        for name, request in shard.requests.items():
            content = reply.contents.get(name)
            sealed = (
                content
                if content is not None
                else work.journal.read(work.path(request), largest(request.form))
            )
            digest = reply.digests.get(name, "")
            try:
                if sealed is None:
                    raise StageError("is reported as stored, and is not in the run folder")
                work.accept(request, sealed)
            except StageError as error:
                refused[name], why = request, f"{name} of worker {reply.worker} {error}"
                work.journal.note(work.path(request), f"{error} (worker {reply.worker})")
                continue
            if hashlib.sha256(sealed).hexdigest() != digest:
                raise StageError(
                    f"{name}: two workers measured it, and their bytes differ; the workers are not equal: use one type of processor "
                    f"and one number of threads, and {RESUME}"
                )
            if content is not None:
                work.store(request, sealed)
            self.measured += 1
        if refused:
            self._again(work, Shard(refused, shard.attempts), why, reply)

    def _again(self, work: StoredWork, shard: Shard, why: str, reply: Reply) -> None:
        """Send a shard again; Raises StageError after `ATTEMPTS`."""
        shard.attempts += 1
        if shard.attempts > ATTEMPTS:
            raise StageError(
                f"{counted(len(shard.requests), 'slice')} could not be measured by the workers: {why}; check that every worker can write "
                f"the run folder, and {RESUME}"
            )
        if reply.shared:
            time.sleep(SETTLE)
        self._send(work, shard, None if reply.shared else reply.present, reply.worker)


def _entries(work: StoredWork, present: Sequence[str]) -> dict[str, bytes]:
    """Return the stored slices of the stage that a worker does not have."""
    folder, there = work.folder, set(present)
    files = sorted(folder.glob("*.npz")) if folder.is_dir() else []
    return {file.name: file.read_bytes() for file in files if file.name not in there}
