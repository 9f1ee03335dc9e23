"""Workers on this machine: child processes that read tasks and write replies as lines of JSON. Standard library only."""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

from safeml.scale.base import DEATHS, Job, Reply, Task
from safeml.wording import counted

CHILD = "safeml.worker.child"
SECONDS = 5.0  # between the end of a worker's output and its own
TAIL = 4096  # bytes of a dead worker's output, of which the last line is reported


@dataclass
class _Waiting:
    """A task without a worker. deaths: workers that it has ended."""

    number: int
    task: Task
    deaths: int = 0


@dataclass(eq=False)
class _Child:
    """A worker process. task: what it measures. output: its standard error."""

    name: str
    process: subprocess.Popen[bytes]
    output: IO[bytes]
    task: _Waiting | None = None


class Processes:
    """Up to `size` worker processes, started when there is work for them; a `Transport`.

    gpus: identifiers of the GPUs; worker i sees the GPU i, in turn.
    """

    def __init__(self, size: int, gpus: Sequence[str] = ()) -> None:
        self.size, self.gpus = size, gpus
        self.words = f"{counted(size, 'process', 'processes')} of this machine"
        self._job = ""
        self._queue: deque[_Waiting] = deque()
        self._children: dict[int, _Child] = {}
        self._selector = selectors.DefaultSelector()

    def begin(self, job: Job) -> list[Reply]:
        """Remember the job. The code and the machine are those of the client, so each worker checks itself at its first task."""
        self._job = json.dumps(asdict(job))
        return []

    def submit(self, number: int, task: Task, worker: str = "") -> None:
        """See `Transport`."""
        self._queue.append(_Waiting(number, task))

    def finished(self, seconds: float) -> tuple[int, Reply] | None:
        """See `Transport`. A worker that ended is replaced, and its task is given to another one."""
        self._assign()
        for key, _ in self._selector.select(seconds):
            place: int = key.data
            child = self._children[place]
            line = child.process.stdout.readline() if child.process.stdout else b""
            waiting, child.task = child.task, None
            if line.endswith(b"\n"):
                values = json.loads(line)
                reply = Reply(**{**values, "present": tuple(values["present"])})
                if waiting is not None:
                    return waiting.number, reply
                continue
            reason = self._ended(place, SECONDS)
            if waiting is None:
                continue
            waiting.deaths += 1
            if waiting.deaths >= DEATHS:
                why = f"it ended {DEATHS} workers one after the other, the last {reason}"
                return waiting.number, Reply("killed", child.name, reason=why)
            self._queue.appendleft(waiting)
        return None

    def forget(self) -> None:
        """See `Transport`. A busy worker is ended, because it would finish its task first."""
        self._queue.clear()
        for place, child in list(self._children.items()):
            if child.task is not None:
                self._ended(place)

    def close(self) -> None:
        """See `Transport`."""
        for place in list(self._children):
            self._ended(place)
        self._selector.close()

    def _assign(self) -> None:
        for place in range(self.size):
            if not self._queue:
                return
            child = self._children.get(place) or self._start(place)
            if child.task is None:
                child.task = self._queue.popleft()
                line = json.dumps({"stage": child.task.task.stage, "slices": child.task.task.slices}) + "\n"
                with suppress(BrokenPipeError):  # a worker that has ended is noticed when its reply is read
                    self._write(child, line)

    def _start(self, place: int) -> _Child:
        environment = {**os.environ, "PYTHONPATH": _path(), "TF_FORCE_GPU_ALLOW_GROWTH": "true"}
        if self.gpus:
            environment["CUDA_VISIBLE_DEVICES"] = self.gpus[place % len(self.gpus)]
        output = tempfile.TemporaryFile()  # noqa: SIM115 - closed in `_ended`
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", CHILD],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=output,
            env=environment,
            start_new_session=True,  # Ctrl-C reaches the client, which ends the workers
        )
        child = self._children[place] = _Child(f"process {process.pid}", process, output)
        self._selector.register(process.stdout, selectors.EVENT_READ, place)  # type: ignore[arg-type]
        with suppress(BrokenPipeError):
            self._write(child, self._job + "\n")
        return child

    def _write(self, child: _Child, line: str) -> None:
        stream = child.process.stdin
        assert stream is not None
        stream.write(line.encode())
        stream.flush()

    def _ended(self, place: int, seconds: float = 0.0) -> str:
        """Return how the worker ended; one that has not ended within `seconds` is killed."""
        child = self._children.pop(place)
        if child.process.stdout is not None:
            self._selector.unregister(child.process.stdout)
        with suppress(subprocess.TimeoutExpired):
            child.process.wait(seconds)
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(child.process.pid, signal.SIGKILL)
        code = child.process.wait()
        for stream in (child.process.stdin, child.process.stdout):
            if stream is not None:
                with suppress(BrokenPipeError):
                    stream.close()
        size = child.output.seek(0, os.SEEK_END)
        child.output.seek(max(0, size - TAIL))
        last = (child.output.read().decode("utf-8", "replace").strip().splitlines() or [""])[-1][:200]
        child.output.close()
        if code < 0:
            return f"by {signal.Signals(-code).name}"
        return f"with code {code}{': ' if last else ''}{last}"


def _path() -> str:
    """Return the search path of a worker: that of the client, with the folder of this safeml in front."""
    here = str(Path(__file__).parents[2])
    return os.pathsep.join([here, *filter(None, [os.environ.get("PYTHONPATH")])])
