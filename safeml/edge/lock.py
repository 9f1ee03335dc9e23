"""One installer at a time: a lock that the system releases when its holder dies, and that names the holder."""

import fcntl
import os
from contextlib import contextmanager
from typing import Iterator, Optional

from .errors import EdgeError, Refused

LOCK, DOWNLOAD_LOCK = "lock", "download.lock"
MOST_BYTES = 64


@contextmanager
def installer_lock(root: str, name: str = LOCK) -> Iterator[Optional[int]]:
    """Hold a lock of `root`; yields the process id of an installer that died while it held the lock, or None.

    The lock decides, not the file: the file of a dead process is not locked. Raises Refused("locked") while another process holds the lock.
    """
    handle = os.open(os.path.join(root, name), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = _holder(handle)
            who = f"process {holder}" if holder else "another process"
            raise Refused("locked", f"{who} changes {root} at present; wait for its end.") from None
        except OSError as error:
            raise EdgeError(
                f"{root} cannot be locked ({error.strerror}); put the root of the device on a local file system."
            ) from None
        dead = _holder(handle)
        _write(handle, str(os.getpid()).encode("ascii"))
        try:
            yield dead
        except (Refused, EdgeError):  # an answer, not a death
            _write(handle, b"")
            raise
        _write(handle, b"")
    finally:
        os.close(handle)


def _holder(handle: int) -> Optional[int]:
    os.lseek(handle, 0, os.SEEK_SET)
    text = os.read(handle, MOST_BYTES)
    return int(text) if text.isdigit() else None


def _write(handle: int, data: bytes) -> None:
    os.ftruncate(handle, 0)
    os.lseek(handle, 0, os.SEEK_SET)
    if data:
        os.write(handle, data)
