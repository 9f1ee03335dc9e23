"""Landlock of Linux: a process restricts itself to the files beneath given folders, without TCP connections.

It needs no privilege and is irreversible. It applies to the calling thread and the threads that it starts later, so it
precedes the threads of a framework. Numbers and structures are those of <linux/landlock.h>.

References: Linux kernel documentation, "Landlock: unprivileged access control", since Linux 5.13 (2021).
"""

from __future__ import annotations

import ctypes
import os
import stat
import sys
from collections.abc import Iterable
from pathlib import Path

CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446
VERSION = 1
PATH_BENEATH = 1
PR_SET_NO_NEW_PRIVS = 38

EXECUTE, WRITE_FILE, READ_FILE, READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
TRUNCATE, IOCTL_DEV = 1 << 14, 1 << 15
OF_A_FILE = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV
READING = EXECUTE | READ_FILE | READ_DIR
# Rights of each version of the interface; only these can be restricted.
FILES_OF = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 4: (1 << 15) - 1}
FILES_NOW = (1 << 16) - 1
TCP_SINCE, SCOPES_SINCE = 4, 6
BIND_AND_CONNECT, SOCKETS_AND_SIGNALS = 3, 3


def supported() -> int:
    """Return the version of the interface that this system supports, or 0."""
    if not sys.platform.startswith("linux"):
        return 0
    libc = ctypes.CDLL(None, use_errno=True)
    return max(0, int(libc.syscall(CREATE_RULESET, None, ctypes.c_size_t(0), VERSION)))


def confine(readable: Iterable[Path], writable: Iterable[Path]) -> bool:
    """Restrict file access to `readable` and, for writing, `writable`. Return False if Linux does not support it."""
    version = supported()
    if version < 1:
        return False
    libc = ctypes.CDLL(None, use_errno=True)
    files = FILES_OF.get(version, FILES_NOW)
    attributes = (ctypes.c_uint64 * 3)(
        files,
        BIND_AND_CONNECT if version >= TCP_SINCE else 0,
        SOCKETS_AND_SIGNALS if version >= SCOPES_SINCE else 0,
    )
    size = 8 * (1 + (version >= TCP_SINCE) + (version >= SCOPES_SINCE))
    rules = int(libc.syscall(CREATE_RULESET, attributes, ctypes.c_size_t(size), 0))
    if rules < 0:
        return False
    try:
        for path in readable:
            _allow(libc, rules, path, READING & files)
        for path in writable:
            _allow(libc, rules, path, files)
        promised = int(libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)) == 0
        return promised and int(libc.syscall(RESTRICT_SELF, rules, 0)) == 0
    finally:
        os.close(rules)


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = [("allowed", ctypes.c_uint64), ("parent", ctypes.c_int32)]


def _allow(libc: ctypes.CDLL, rules: int, path: Path, rights: int) -> None:
    """Allow a path; one that does not exist or cannot be opened stays forbidden."""
    try:
        handle = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    try:
        if not stat.S_ISDIR(os.fstat(handle).st_mode):
            rights &= OF_A_FILE
        libc.syscall(ADD_RULE, rules, PATH_BENEATH, ctypes.byref(_PathBeneath(rights, handle)), 0)
    finally:
        os.close(handle)
