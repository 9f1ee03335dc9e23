"""A power cut: the process ends at one call, and what was not flushed to the disk may be lost.

The command runs in a child of this process. Three disks are told apart: one that has everything that was called (the process was
killed, the system lives on), one that has the names but only half of the data that was not flushed, and one that has
nothing of what was not flushed. A name is on the disk when its folder was flushed, data when its file was.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from tests.fault.faulty_os import DEVICE_CALLS, FaultyOs

KILLED, TORN, LOST = "killed", "torn", "lost"
DISKS = (KILLED, TORN, LOST)
DIED, ENDED = 77, 78


class _Undo(NamedTuple):
    """What undoes a change of a folder, and the paths that it takes, which later renames move."""

    undo: Callable[..., Any]
    paths: tuple[str, ...]


class PowerCut(FaultyOs):
    """Ends the process at the call number `fails_at`, and makes the disk what the power cut may leave."""

    def __init__(self, fails_at: int, disk: str) -> None:
        super().__init__(SystemExit(), fails_at, DEVICE_CALLS)
        self.disk = disk
        self.real = {name: getattr(os, name) for name in DEVICE_CALLS}
        self.unflushed: dict[str, None] = {}
        self.undo: list[_Undo] = []

    def fail(self) -> None:
        self.lose()
        os._exit(DIED)

    def lose(self) -> None:
        """Make the disk what a power cut now may leave."""
        for name, real in self.real.items():
            setattr(os, name, real)
        if self.disk in (TORN, LOST):
            for path in self.unflushed:
                if os.path.isfile(path):
                    os.truncate(path, os.path.getsize(path) // 2)
        if self.disk == LOST:
            for row in reversed(self.undo):
                if os.path.isdir(os.path.dirname(row.paths[0])):  # else its removal is on the disk
                    row.undo(*row.paths)

    def _counted(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        if name == "fsync":
            real = _nothing  # what is flushed is known here; the disk of this machine need not hear of it
        counted = super()._counted(name, real)

        def call(*arguments: Any, **options: Any) -> Any:
            before = self._before(name, arguments, options)
            result = counted(*arguments, **options)
            self._after(name, arguments, options, result, before)
            return result

        return call

    def _before(self, name: str, arguments: tuple[Any, ...], options: dict[str, Any]) -> Any:
        """Return what undoes the call, as far as it must be read before it."""
        if name in ("unlink", "rmdir"):
            path = _path(arguments[0], options.get("dir_fd"))
            return path, _restorer(path)
        if name in ("rename", "replace"):
            return _path(arguments[1], None), _restorer(arguments[1])
        if name in ("open", "open a stream"):
            path = _path(arguments[0], options.get("dir_fd"))
            return path, os.path.lexists(path)
        return None

    def _after(
        self, name: str, arguments: tuple[Any, ...], options: dict[str, Any], result: Any, before: Any
    ) -> None:
        if name == "fsync":
            path = _of_handle(arguments[0])
            if os.path.isdir(path):
                self._flushed(path)
            self.unflushed.pop(path, None)
        elif name == "write":
            self.unflushed[_of_handle(arguments[0])] = None
        elif name in ("open", "open a stream"):
            path, existed = before
            if not existed:
                self._made(path)
            if name == "open a stream" and not _reads(arguments, options):
                self.unflushed[path] = None
        elif name == "fdopen":
            if not _reads(arguments, options):
                self.unflushed[_of_handle(arguments[0])] = None
        elif name in ("mkdir", "symlink"):
            self._made(_path(arguments[-1] if name == "symlink" else arguments[0], options.get("dir_fd")))
        elif name in ("unlink", "rmdir"):
            self.undo.append(_Undo(before[1], (before[0],)))
        elif name in ("rename", "replace"):
            source, (path, restore) = _path(arguments[0], None), before
            real = self.real["rename"]
            self.unflushed = {_moved(one, source, path): None for one in self.unflushed}

            def back(there: str, here: str) -> None:
                real(there, here)
                restore(there)

            self.undo.append(_Undo(back, (path, source)))

    def _flushed(self, folder: str) -> None:
        """Forget the changes of a folder that are on the disk; a rename among them moves what was before it."""
        waiting: list[_Undo] = []
        for row in self.undo:
            if os.path.dirname(row.paths[0]) != folder:
                waiting.append(row)
            elif len(row.paths) == 2:
                target, source = row.paths
                waiting = [
                    _Undo(one.undo, tuple(_moved(path, source, target) for path in one.paths))
                    for one in waiting
                ]
        self.undo = waiting

    def _made(self, path: str) -> None:
        self.undo.append(_Undo(_remove, (path,)))


def cut(command: Callable[[], Any], at: int, disk: str) -> bool:
    """Run a command in a child whose power is cut at its call number `at`, or after its end; returns whether it was cut.

    A child that ends otherwise than by the cut or by success fails the test.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child == 0:
        try:
            system = PowerCut(at, disk)
            with system.installed():
                command()
                system.lose()
            os._exit(ENDED)
        except BaseException as error:
            os.write(2, f"the child ended by {error!r}\n".encode())
        finally:
            os._exit(1)
    status = os.waitpid(child, 0)[1]
    assert os.WIFEXITED(status)
    assert os.WEXITSTATUS(status) in (DIED, ENDED)
    return os.WEXITSTATUS(status) == DIED


def _nothing(what: Any) -> None:
    """Flush nothing, restore nothing."""


def _path(path: Any, folder: int | None) -> str:
    if isinstance(path, int):
        return _of_handle(path)
    base = "" if folder is None else _of_handle(folder)
    return os.path.abspath(os.path.join(base, os.fspath(path)))


def _of_handle(handle: int) -> str:
    return os.readlink(f"/proc/self/fd/{handle}")


def _reads(arguments: tuple[Any, ...], options: dict[str, Any]) -> bool:
    mode = options.get("mode", arguments[1] if len(arguments) > 1 else "r")
    return "w" not in mode and "a" not in mode and "+" not in mode and "x" not in mode


def _remove(path: str) -> None:
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    elif os.path.lexists(path):
        os.unlink(path)


def _restorer(path: str) -> Callable[[str], Any]:
    """Return what makes a path what it is now."""
    if os.path.islink(path):
        target = os.readlink(path)
        return lambda place: os.symlink(target, place)
    if os.path.isdir(path):
        return os.mkdir
    if os.path.isfile(path):
        content = Path(path).read_bytes()
        return lambda place: Path(place).write_bytes(content)
    return _nothing


def _moved(path: str, source: str, target: str) -> str:
    """Return a path after a rename of `source`, which may be a folder above it."""
    if path == source or path.startswith(source + os.sep):
        return target + path[len(source) :]
    return path
