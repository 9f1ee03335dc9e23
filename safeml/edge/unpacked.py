"""The folder of an unpacked bundle: written so that a power cut leaves it whole or incomplete, and read as what an attacker may have changed."""

import os
import stat
from typing import BinaryIO, Dict, Iterator

from . import container, limits
from .durable import sync_folder
from .errors import Refused, Usage
from .manifest import File
from .strict_json import quoted


def store(folder: str, one: File, parts: Iterator[bytes]) -> None:
    """Write a file of the manifest below `folder`, flush it to the disk, and refuse it unless it is the one that was signed."""
    place = folder
    for part in one.name.split("/")[:-1]:
        place = os.path.join(place, part)
        if not os.path.isdir(place):
            os.mkdir(place, 0o755)  # os.makedirs gives this mode to the last folder alone
    with new_file(os.path.join(folder, one.name)) as stream:
        container.copy(one, parts, stream.write)
        _flush(stream)


def write(path: str, data: bytes) -> None:
    """Write a new file and flush it to the disk."""
    with new_file(path) as stream:
        stream.write(data)
        _flush(stream)


def new_file(path: str) -> BinaryIO:
    """Open a file that must not exist, for writing; other users may not write it, whatever the umask."""
    return os.fdopen(
        os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644), "wb"
    )


def _flush(stream: BinaryIO) -> None:
    stream.flush()
    os.fsync(stream.fileno())


def sync_folders(folder: str) -> None:
    """Make the names durable: each folder, innermost first, and the parent of `folder`."""
    for place, _, _ in os.walk(folder, topdown=False):
        sync_folder(place)
    sync_folder(os.path.dirname(os.path.abspath(folder)))


def sizes_of(folder: str) -> Dict[str, int]:
    """Return the length of each file below a folder; refuse links, other kinds, empty folders and what other users may change."""
    if not os.path.isdir(folder):
        raise Usage(f"{folder}: there is no such folder.")
    sizes: Dict[str, int] = {}
    waiting, seen = [""], 0
    while waiting:
        place = waiting.pop()
        where = os.path.join(folder, place)
        _check_safe(os.stat(where), where)
        names = os.listdir(where)
        if place and not names:
            raise Refused(
                "extra-file",
                f"{folder} has the empty folder {quoted(place)}, which the manifest does not list.",
            )
        for name in names:
            path = os.path.join(place, name)
            seen += 1
            if seen > 2 * limits.FILES or len(path) > limits.NAME_CHARACTERS:
                raise Refused(
                    "extra-file", f"{folder} has more files or longer names than a bundle may have."
                )
            facts = os.lstat(os.path.join(folder, path))
            if stat.S_ISDIR(facts.st_mode):
                waiting.append(path)
            elif stat.S_ISREG(facts.st_mode):
                _check_safe(facts, os.path.join(folder, path))
                sizes[path] = facts.st_size
            else:
                raise Refused("unsafe-folder", f"{folder}: {quoted(path)} is a link or no regular file.")
    return sizes


def _check_safe(facts: os.stat_result, where: str) -> None:
    if facts.st_uid not in (0, os.geteuid()):
        raise Refused(
            "unsafe-folder",
            f"{where}: it belongs to another user; expected root or the user of this program; install the bundle again.",
        )
    if facts.st_mode & 0o022:
        raise Refused(
            "unsafe-folder",
            f"{where}: other users may change it; run chmod go-w on it, and install the bundle again if in doubt.",
        )
