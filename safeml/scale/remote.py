"""The function that a worker of Dask runs. It is sent by its name, so that the code of the worker's own safeml runs."""

from __future__ import annotations

from safeml.scale.base import MEASURE, Job, Reply, Task
from safeml.stages.base import load


def measure(job: Job, task: Task, name: str) -> Reply:
    """Measure a task on this worker. name: of the worker; "" for the address that Dask gave it."""
    run = load(MEASURE)
    reply: Reply = run(job, task, name or _address())
    return reply


def _address() -> str:
    from safeml.scale.cluster import own_address

    return own_address()
