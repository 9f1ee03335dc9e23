"""What the client of a run and its workers send each other: plain values that JSON can hold, and sealed slices as bytes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

# A shard that ended this many workers is not given to another one, as with Dask's default `allowed-failures` = 3.
DEATHS = 4
OPENER = "safeml.worker.opening:open_job"
MEASURE = "safeml.worker.process:measure"

Kind = Literal["stored", "missing", "refused", "failed", "killed", "gone"]


@dataclass(frozen=True)
class Job:
    """A run, as a worker needs it to open the same model and data.

    run: random name, so that a worker that lives longer than a run opens each run once.
    config: the settings, with the changes of the profile.
    base, data_root: folders of relative paths; data_root "" for that of the settings.
    model: path of the model.
    folder: the run folder.
    lock: content of the run folder's lock; a worker that reads the same content has the same folder.
    identity: what must be equal on every worker, see `safeml.scale.identity`.
    opener: "module:function" that opens the job on a worker.
    """

    run: str
    config: dict[str, Any]
    base: str
    data_root: str
    model: str
    folder: str
    lock: str
    identity: dict[str, Any]
    opener: str = OPENER


@dataclass(frozen=True)
class Task:
    """A shard: consecutive slices of one item.

    stage: name of the stage.
    slices: file names of the slices to measure, () to open the job only.
    entries: sealed slices by file name, for a worker that does not have the run folder.
    """

    stage: str
    slices: tuple[str, ...]
    entries: dict[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True)
class Reply:
    """The end of a task.

    kind:
        stored   the slices are in the run folder, or in `contents`
        missing  the worker lacks slices that the stage needs before these; it has those in `present`
        refused  the worker has another model, other data or other versions
        failed   a slice could not be measured; the client measures it, so that the error is that of one process
        killed   the task ended as many workers as are allowed
        gone     there is no worker any more
    worker: name of the worker.
    digests: sha256 of each sealed slice by file name.
    contents: the sealed slices, from a worker without the run folder.
    present: file names of the slices that the worker has.
    shared: the worker has the run folder.
    reason: a clause.
    """

    kind: Kind
    worker: str = ""
    digests: dict[str, str] = field(default_factory=dict)
    contents: dict[str, bytes] = field(default_factory=dict)
    present: tuple[str, ...] = ()
    shared: bool = True
    reason: str = ""


class Transport(Protocol):
    """Processes that measure shards, each one at a time."""

    words: str

    def begin(self, job: Job) -> list[Reply]:
        """Open the job on the workers that are known already; return what refused it."""
        ...

    def submit(self, number: int, task: Task, worker: str = "") -> None:
        """Give a task to a worker; worker: the one that should get it, if it still exists."""
        ...

    def finished(self, seconds: float) -> tuple[int, Reply] | None:
        """Return the number and the end of a finished task; None if none finishes within `seconds`."""
        ...

    def forget(self) -> None:
        """Drop all tasks; replies to them are ignored."""
        ...

    def close(self) -> None:
        """End the workers that this transport started."""
        ...
