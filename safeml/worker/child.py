"""A worker process of `safeml.scale.processes`: a job and tasks as lines on standard input, replies on standard output."""

from __future__ import annotations

import json
import os
import sys
import threading
from dataclasses import asdict
from queue import SimpleQueue
from typing import IO

from safeml.scale.base import Job, Task
from safeml.worker.process import measure


def main() -> None:
    """Measure tasks until the client closes the pipe, or ends."""
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what a library prints is no reply
    lines: SimpleQueue[str] = SimpleQueue()
    threading.Thread(target=_read, args=(sys.stdin, lines), daemon=True).start()
    job = Job(**json.loads(lines.get()))
    name = f"process {os.getpid()}"
    while True:
        values = json.loads(lines.get())
        reply = measure(job, Task(values["stage"], tuple(values["slices"])), name)
        replies.write(json.dumps(asdict(reply)) + "\n")
        replies.flush()


def _read(stream: IO[str], lines: SimpleQueue[str]) -> None:
    """Pass lines on. At the end of the stream the client has gone, so a measurement is of no use any more."""
    for line in stream:
        lines.put(line)
    os._exit(0)


if __name__ == "__main__":
    main()
