"""From the options of a command to workers."""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safeml.errors import ConfigError
from safeml.scale.base import OPENER, Job, Transport
from safeml.scale.shards import RESUME, Shards

LOCAL = re.compile(r"local(?::([1-9][0-9]{0,3}))?")
REMOTE = re.compile(r"(?:tcp|tls)://[^\s/]+:[0-9]+")
DEVICES = Path("/dev")
MOST = 1024  # workers on one machine


@dataclass(frozen=True)
class Scale:
    """Where slices are measured. None of it changes a number, so results.json does not record it; run.json does.

    workers: processes on this machine; 0 for none.
    scheduler: address of a Dask scheduler, or "local" or "local:N" for one on this machine; "" for none.
    slices: per shard.
    """

    workers: int = 0
    scheduler: str = ""
    slices: int = 1

    def check(self) -> None:
        """Raise ConfigError for values that exclude each other or that mean nothing."""
        if self.workers and self.scheduler:
            raise ConfigError(
                "--workers and --scheduler are given; use --workers for processes of this machine, or --scheduler for Dask."
            )
        if not 0 <= self.workers <= MOST:
            raise ConfigError(f"--workers {self.workers}: expected 0 to {MOST}; 0 measures in one process.")
        if not 1 <= self.slices <= MOST:
            raise ConfigError(f"--slices-per-shard {self.slices}: expected 1 to {MOST}.")
        if self.scheduler and not (LOCAL.fullmatch(self.scheduler) or REMOTE.fullmatch(self.scheduler)):
            raise ConfigError(
                f"--scheduler {self.scheduler}: is no address of a scheduler; expected tcp://HOST:PORT, tls://HOST:PORT, local or local:N."
            )

    def __bool__(self) -> bool:
        return bool(self.workers or self.scheduler)


HERE = Scale()  # in one process


@contextmanager
def connected(scale: Scale, threads: int) -> Iterator[Transport | None]:
    """Connect to a scheduler, if one is given; workers of this machine start with the first shard. threads: of the settings.

    Raises ConfigError where no scheduler answers, or where the number of threads is not set.
    """
    scale.check()
    if not scale:
        yield None
        return
    if not threads:
        raise ConfigError(
            f"--{'workers' if scale.workers else 'scheduler'}: [run] threads is not set; set threads = 1 in the settings, because the "
            "last digits can depend on it and must not differ between one process and several."
        )
    os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")  # the client shares a GPU with a worker
    transport = _transport(scale)
    try:
        yield transport
    finally:
        transport.close()


def begun(
    transport: Transport, scale: Scale, config: Any, base: Path, data_root: Path | None, model: Path, folder: Path, lock: str,
    identity: dict[str, Any],
) -> Shards:  # fmt: skip
    """Open the run on the workers. Raises ConfigError for a worker that differs from the client."""
    job = Job(
        run=secrets.token_hex(8),
        config=config.model_dump(mode="json"),
        base=str(base.absolute()),
        data_root=str(data_root.absolute()) if data_root is not None else "",
        model=str(model.absolute()),
        folder=str(folder.absolute()),
        lock=lock,
        identity=identity,
        opener=OPENER,
    )
    for reply in transport.begin(job):
        if reply.kind == "gone":
            raise ConfigError(
                f"--scheduler {scale.scheduler}: {reply.reason}; start workers with `dask worker ADDRESS --nthreads 1`, and {RESUME}"
            )
        raise ConfigError(f"worker {reply.worker}: {reply.reason}; stop it, or make it equal, and {RESUME}")
    return Shards(transport, scale.slices)


def gpus() -> list[str]:
    """Return the identifiers of the NVIDIA GPUs that this process may use, [] without any."""
    count = len(list(DEVICES.glob("nvidia[0-9]*")))
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    named = [str(number) for number in range(count)] if visible is None else visible.split(",")
    return [name for name in named if name][:count]


def _transport(scale: Scale) -> Transport:
    if scale.workers:
        from safeml.scale.processes import Processes

        return Processes(scale.workers, gpus())
    from safeml.scale import cluster

    chosen = LOCAL.fullmatch(scale.scheduler)
    if chosen is None:
        return cluster.connect(scale.scheduler)
    found = gpus()
    size = int(chosen[1]) if chosen[1] else len(found) or len(os.sched_getaffinity(0))
    return cluster.local(size, found)
