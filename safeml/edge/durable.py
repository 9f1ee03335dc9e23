"""Files that survive a power cut: written under another name, flushed to the disk, renamed, and the folder flushed too."""

import contextlib
import os
import shutil

from .errors import DiskError

PART = ".new"


def write_whole(path: str, data: bytes, mode: int = 0o644) -> None:
    """Write `data` to `path` so that the file holds its old or its new bytes after a power cut at any moment.

    Raises DiskError where the disk refuses; the temporary file is removed.
    """
    temporary = path + PART
    try:
        _write(temporary, data, mode)
        os.replace(temporary, path)
        sync_folder(os.path.dirname(path) or ".")
    except OSError as error:
        with contextlib.suppress(OSError):
            remove(temporary)
        raise DiskError(path, error) from None


def _write(path: str, data: bytes, mode: int) -> None:
    remove(path)
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(handle, view) :]
        os.fsync(handle)
    finally:
        os.close(handle)


def point(link: str, target: str) -> None:
    """Make the symbolic link `link` name `target`; it names the old or the new target after a power cut at any moment."""
    temporary = link + PART
    remove(temporary)
    os.symlink(target, temporary)
    os.replace(temporary, link)
    sync_folder(os.path.dirname(link))


def sync_folder(folder: str) -> None:
    """Flush the entries of a folder to the disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def remove(path: str) -> None:
    """Remove a file, a link or a whole folder; a path that does not exist is no error."""
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    elif os.path.lexists(path):
        os.unlink(path)


def make_folder(folder: str) -> None:
    """Make a folder that other accounts cannot write, and flush its entry; one that exists is no error."""
    if not os.path.isdir(folder):
        os.makedirs(folder, 0o755)
        sync_folder(os.path.dirname(os.path.abspath(folder)))
