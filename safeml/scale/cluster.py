"""Workers of a Dask scheduler: the extra `dask`. The only file that imports it.

References:
    M. Rocklin, "Dask: parallel computation with blocked algorithms and task scheduling", 2015.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from safeml.errors import ConfigError, first_line
from safeml.scale import remote
from safeml.scale.base import Job, Reply, Task
from safeml.wording import counted

EXTRA = "pip install 'safeml-suite[dask]'"
CONNECT = 10.0  # seconds until a scheduler must have answered
WITHOUT = 60.0  # seconds without any worker, after which the stage ends
CHECK = 600.0  # seconds in which a worker must have opened the model and the data


class Cluster:
    """A `Transport` on the workers of a Dask scheduler, each with one thread."""

    def __init__(self, client: Any, cluster: Any, words: str, without: float = WITHOUT) -> None:
        self.words, self.without = words, without
        self._client, self._cluster = client, cluster
        self._job: Job | None = None
        self._numbers: dict[Any, int] = {}
        self._unsent: list[tuple[int, Reply]] = []
        self._alone = 0.0  # since when there is no worker

    def begin(self, job: Job) -> list[Reply]:
        """See `Transport`. Workers that come later are checked at their first task."""
        from distributed import TimeoutError as NoWorkers

        self._job = job
        with suppress(NoWorkers):
            self._client.wait_for_workers(1, timeout=self.without)
        workers = self._workers()
        if not workers:
            return [Reply("gone", "", reason=f"the scheduler has no worker after {self.without:.0f} s")]
        crowded = [
            Reply("refused", name, reason=f"has {facts['nthreads']} threads; start it with --nthreads 1")
            for name, facts in workers.items()
            if facts["nthreads"] != 1
        ]
        return crowded or self._check(job, list(workers))

    def submit(self, number: int, task: Task, worker: str = "") -> None:
        """See `Transport`. A task that cannot be sent ends as one whose scheduler is lost."""
        where = {"workers": [worker], "allow_other_workers": True} if worker else {}
        key = f"safeml-{self._run}-{number}"
        try:
            future = self._client.submit(remote.measure, self._job, task, "", key=key, pure=False, **where)
        except Exception as error:  # the client closes itself when it cannot reach the scheduler again
            self._unsent.append((number, Reply("gone", reason=first_line(error))))
        else:
            self._numbers[future] = number

    def finished(self, seconds: float) -> tuple[int, Reply] | None:
        """See `Transport`. Dask gives the task of a worker that died to another one, up to its `allowed-failures`."""
        from distributed import TimeoutError as NotYet
        from distributed import wait

        if self._unsent:
            return self._unsent.pop()
        if self._client.status not in ("running", "connecting"):
            return self._first(Reply("gone", reason="the connection to the scheduler is lost"))
        try:
            with self._client.as_current():
                done, _ = wait(list(self._numbers), timeout=seconds, return_when="FIRST_COMPLETED")
        except NotYet:
            return self._alone_for_long()
        except Exception as error:  # the scheduler has gone while waiting
            return self._first(Reply("gone", reason=first_line(error)))
        self._alone = 0.0
        future = next(iter(done))
        number = self._numbers.pop(future)
        return number, _reply(future)

    def forget(self) -> None:
        """See `Transport`."""
        with suppress(Exception):  # the scheduler may have gone
            self._client.cancel(list(self._numbers), force=True)
        self._numbers.clear()
        self._unsent.clear()

    def close(self) -> None:
        """See `Transport`."""
        for part in (self._client, self._cluster):
            with suppress(Exception):  # of no use any more, whatever its state
                if part is not None:
                    part.close()

    @property
    def _run(self) -> str:
        return self._job.run if self._job is not None else ""

    def _workers(self) -> dict[str, dict[str, Any]]:
        """Return facts of each worker by its address."""
        with suppress(Exception):  # the scheduler has gone
            return dict(self._client.scheduler_info(n_workers=-1)["workers"])
        return {}

    def _check(self, job: Job, workers: Sequence[str]) -> list[Reply]:
        """Open the job on each worker."""
        task = Task("", ())
        futures = {
            name: self._client.submit(
                remote.measure, job, task, "", key=f"safeml-{job.run}-{name}", pure=False, workers=[name]
            )
            for name in workers
        }
        replies = [_reply(future, CHECK, name) for name, future in futures.items()]
        return [reply for reply in replies if reply.kind != "stored"]

    def _alone_for_long(self) -> tuple[int, Reply] | None:
        if self._workers():
            self._alone = 0.0
            return None
        self._alone = self._alone or time.monotonic()
        if time.monotonic() - self._alone < self.without:
            return None
        return self._first(Reply("gone", reason=f"none for {self.without:.0f} s"))

    def _first(self, reply: Reply) -> tuple[int, Reply] | None:
        """Return the reply as the end of the first task that is under way."""
        future = next(iter(self._numbers), None)
        return None if future is None else (self._numbers.pop(future), reply)


def connect(address: str) -> Cluster:
    """Connect to the scheduler at `address`. Raises ConfigError if none answers, or without the extra."""
    Client = _distributed().Client
    try:
        client = Client(address, timeout=CONNECT, set_as_default=False)
    except Exception as error:  # each transport of Dask has its own
        raise ConfigError(
            f"--scheduler {address}: no Dask scheduler answers ({first_line(error, 120).rstrip('.')}); start one with `dask scheduler`, "
            "and give the address that it prints."
        ) from None
    return Cluster(client, None, f"workers of the Dask scheduler {address}")


def local(size: int, gpus: Sequence[str] = ()) -> Cluster:
    """Start a scheduler and `size` workers on this machine; worker i sees the GPU i, in turn."""
    distributed = _distributed()
    for name in ("distributed", "tornado"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # a killed worker is reported by the run
    security = distributed.Security.temporary()  # no other user of the machine can connect
    worker = {"nthreads": 1, "memory_limit": 0, "security": security, "silence_logs": logging.CRITICAL}
    workers = {}
    for place in range(size):
        env = {"TF_FORCE_GPU_ALLOW_GROWTH": "true"}
        if gpus:
            env["CUDA_VISIBLE_DEVICES"] = gpus[place % len(gpus)]
        workers[place] = {
            "cls": distributed.Nanny,
            "options": {**worker, "dashboard": False, "env": env},
        }
    scheduler = {
        "cls": distributed.Scheduler,
        "options": {"host": "127.0.0.1", "port": 0, "dashboard": False, "security": security},
    }
    cluster = distributed.SpecCluster(
        workers=workers, scheduler=scheduler, security=security, silence_logs=logging.CRITICAL
    )
    client = distributed.Client(cluster, timeout=CONNECT, set_as_default=False, security=security)
    return Cluster(client, cluster, f"{counted(size, 'worker')} of a local Dask cluster")


def own_address() -> str:
    """Return the address of the worker that runs this task."""
    return str(_distributed().get_worker().address)


def _distributed() -> Any:
    try:
        import distributed
    except ImportError as error:
        raise ConfigError(
            f"--scheduler needs Dask, which is not installed ({first_line(error)}); {EXTRA}, or use --workers on one machine."
        ) from None
    return distributed


def _reply(future: Any, seconds: float = CONNECT, name: str = "") -> Reply:
    """Return the reply of a finished task, or why there is none."""
    from distributed import CancelledError, KilledWorker

    try:
        reply: Reply = future.result(timeout=seconds)
        future.release()  # else Dask measures it again where the worker that has the reply dies
        return reply
    except KilledWorker as error:
        return Reply(
            "killed",
            reason=f"it ended {error.allowed_failures + 1} workers one after the other (KilledWorker)",
        )
    except CancelledError as error:
        return Reply("gone", name, reason=first_line(error))
    except ImportError as error:  # raised on the worker, where the task could not be unpacked
        return Reply("refused", name, reason=f"has no safeml that can be imported ({first_line(error)})")
    except Exception as error:
        return Reply("refused", name, reason=f"{type(error).__name__}: {first_line(error)}")
