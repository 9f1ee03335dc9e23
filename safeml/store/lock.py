"""One run per folder: a lock that the system releases when its holder dies.

`FOLDER/.lock` is locked with flock(2) and names its holder. The lock decides, not the file: a file left by a killed run
is unlocked, and tells the next run that this one did not finish. On a file system without locks the file decides: it is
valid as long as the process that it names is alive.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from safeml.errors import ConfigError, InputRefused
from safeml.store.files import read_plain

LOCK = ".lock"
MOST_BYTES = 16 * 1024
MOST_COMMAND = 1000
UNSUPPORTED = frozenset({errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL})


@dataclass(frozen=True)
class Holder:
    """The present or last holder of a folder.

    start: ISO time, UTC.
    born: distinguishes the process from a later one with the same id.
    """

    pid: int
    host: str
    start: str
    command: str
    born: str


@contextmanager
def folder_lock(folder: Path, command: tuple[str, ...] = (), resumes: bool = True) -> Iterator[Holder | None]:
    """Lock `folder` for one run; yields the earlier unfinished run in it, or None.

    resumes: whether an unfinished run leaves work for the next one; without, the file is always removed. Raises ConfigError if another run holds the folder. After success, or a refusal before the run began, the file is
    removed; otherwise it remains, unlocked, to inform the next run.
    """
    path = folder / LOCK
    handle = _take(path)
    try:
        earlier = _read(handle)
        _write(handle, path, command)
        yield earlier
    except (ConfigError, InputRefused):
        _remove(path)
        raise
    except BaseException:
        if not resumes:
            _remove(path)
        raise
    else:
        _remove(path)
    finally:
        os.close(handle)


def lock_content(folder: Path) -> str:
    """Return what the holder of a folder wrote into its lock; "" if there is none."""
    try:
        return read_plain(folder / LOCK, MOST_BYTES).decode("utf-8", "replace")
    except (OSError, ValueError):
        return ""


def _take(path: Path) -> int:
    """Open and lock the file; in a loop, because its holder may remove it between the two calls."""
    while True:
        handle = _open(path)
        try:
            if not _locked(handle):
                _refuse_if_alive(path, _read(handle))
            if _is_at(handle, path):
                return handle
        except BlockingIOError:
            holder = _read(handle)
            os.close(handle)
            raise _in_use(path, holder) from None
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)


def _open(path: Path) -> int:
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666)
    except OSError as error:
        raise ConfigError(
            f"{path}: cannot be opened ({error.strerror}); set another folder with --out."
        ) from error
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise ConfigError(f"{path}: is not a plain file; remove it, or set another folder with --out.")
    return handle


def _locked(handle: int) -> bool:
    """Return whether we hold the lock; False on a file system without locks. Raises BlockingIOError if another does."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError as error:
        if error.errno in UNSUPPORTED:
            return False
        raise
    return True


def _is_at(handle: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), os.stat(path, follow_symlinks=False))
    except FileNotFoundError:
        return False


def _read(handle: int) -> Holder | None:
    """Read the holder from the file; None for an empty file, whose run had not begun, or an invalid one."""
    raw = os.pread(handle, MOST_BYTES, 0)
    if not raw:
        return None
    try:
        values = json.loads(raw)
        pid = values["pid"]
        texts = {name: str(values[name])[:MOST_COMMAND] for name in ("host", "start", "command", "born")}
        return Holder(pid=pid if isinstance(pid, int) else 0, **texts)
    except (ValueError, TypeError, KeyError, RecursionError):
        return Holder(0, "", "", "", "")


def _write(handle: int, path: Path, command: tuple[str, ...]) -> None:
    start = datetime.now(UTC).isoformat(timespec="seconds")
    mine = Holder(os.getpid(), _host(), start, " ".join(command)[:MOST_COMMAND], _born(os.getpid()))
    try:
        os.ftruncate(handle, 0)
        os.pwrite(handle, (json.dumps(asdict(mine), sort_keys=True) + "\n").encode(), 0)
        os.fsync(handle)
    except OSError as error:
        raise ConfigError(
            f"{path}: cannot be written ({error.strerror}); free disk space, or set another folder with --out."
        ) from error


def _remove(path: Path) -> None:
    with suppress(OSError):
        os.unlink(path)


def _refuse_if_alive(path: Path, holder: Holder | None) -> None:
    """Use the file in place of a lock. A holder on another machine cannot be checked, so it counts as alive."""
    if holder is None or holder.pid <= 0 or (holder.host == _host() and holder.pid == os.getpid()):
        return
    if holder.host != _host():
        raise _in_use(path, holder)
    try:
        os.kill(holder.pid, 0)
    except ProcessLookupError:
        return
    except PermissionError:
        pass  # it is alive, as another user
    if holder.born == _born(holder.pid):
        raise _in_use(path, holder)


def _in_use(path: Path, holder: Holder | None) -> ConfigError:
    who = "another process"
    if holder is not None and holder.pid > 0:
        elsewhere = f" on {holder.host}" if holder.host != _host() else ""
        who = f"process {holder.pid}{elsewhere}, since {holder.start}"
    return ConfigError(
        f"{path.parent}: another run uses it ({who}); wait for its end, stop it, or set another folder with --out."
    )


def _host() -> str:
    return socket.gethostname()


def _born(pid: int) -> str:
    """Return the start of a process in kernel ticks; "" if the system does not report it."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    # The second field, the program's name in brackets, may itself hold spaces and brackets.
    fields = text.rpartition(")")[2].split()
    return fields[19] if len(fields) > 19 else ""
