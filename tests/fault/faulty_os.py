"""The operating system as it fails: every call that writes is counted, and the n-th one raises."""

from __future__ import annotations

import builtins
import fcntl
import io
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import pytest

CALLS = (
    "open",
    "fdopen",
    "fsync",
    "chmod",
    "replace",
    "unlink",
    "mkdir",
    "rmdir",
    "ftruncate",
    "pwrite",
    "pread",
    "close",
)
# What a device calls besides these when it installs and switches.
DEVICE_CALLS = (*CALLS, "write", "rename", "symlink", "link")
MOST_CALLS = 200


class FaultyOs:
    """Counts the calls of `CALLS`, of `flock`, and of the streams that are opened; the call number `fails_at` raises.

    A close that fails has closed; every other call that fails has done nothing. names: the calls of `os` that are counted.
    """

    def __init__(self, error: BaseException, fails_at: int, names: tuple[str, ...] = CALLS) -> None:
        self.error, self.fails_at, self.names = error, fails_at, names
        self.calls: list[str] = []

    def count(self, name: str) -> None:
        self.calls.append(name)
        if len(self.calls) == self.fails_at:
            self.fail()

    def fail(self) -> None:
        raise self.error

    @property
    def failed(self) -> bool:
        return len(self.calls) >= self.fails_at

    @contextmanager
    def installed(self) -> Iterator[FaultyOs]:
        with pytest.MonkeyPatch.context() as patch:
            for name in self.names:
                patch.setattr(os, name, self._counted(name, getattr(os, name)))
            patch.setattr(fcntl, "flock", self._counted("flock", fcntl.flock))
            for module in (io, builtins):  # what writes past the store's own way is seen too
                patch.setattr(module, "open", self._counted("open a stream", io.open))
            yield self

    def _counted(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            if name == "close":
                real(*arguments, **options)
                return self.count(name)
            self.count(name)
            result = real(*arguments, **options)
            return _FaultyStream(result, self) if name in ("fdopen", "open a stream") else result

        return call


class _FaultyStream:
    """A stream whose writes and flushes are calls too."""

    def __init__(self, stream: IO[Any], system: FaultyOs) -> None:
        self.stream, self.system = stream, system

    def write(self, data: Any) -> int:
        self.system.count("write")
        return self.stream.write(data)

    def flush(self) -> None:
        self.system.count("flush")
        self.stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    def __enter__(self) -> _FaultyStream:
        return self

    def __exit__(self, *error: object) -> None:
        self.stream.close()


def temporary_files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*.tmp"))


def open_handles() -> int:
    return len(os.listdir("/proc/self/fd"))
