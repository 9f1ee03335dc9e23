"""A private copy of a model: what is scanned is what is loaded, whatever happens to the file meanwhile."""

from __future__ import annotations

import errno
import hashlib
import itertools
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from safeml.errors import InputRefused
from safeml.limits import LIMITS, MIB

BLOCK = 1 * MIB
HEAD = 64
# Keras and others choose their reader by the ending; any other name of the user's does not reach them.
SUFFIXES = frozenset({".keras", ".h5", ".hdf5", ".onnx", ".json"})


@dataclass(frozen=True)
class Snapshot:
    """A copy in a private folder of mode 0700, which is removed after use.

    source: what the user named. copy: the same file, or folder, in private. sha256, bytes: see `ModelScan`.
    """

    source: Path
    copy: Path
    sha256: str
    bytes: int


@contextmanager
def snapshot(source: Path) -> Iterator[Snapshot]:
    """A private copy of the file or folder `source`, for as long as the context lasts.

    Raises InputRefused where it is absent, unreadable, a link, no regular file, or larger than the limit.
    """
    with tempfile.TemporaryDirectory(prefix="safeml-") as private:
        target = Path(private) / ("model" + (source.suffix if source.suffix in SUFFIXES else ""))
        if os.path.isdir(source) and not os.path.islink(source):
            try:
                digest, size = _copy_folder(source, target)
            except OSError as error:
                raise InputRefused(f"{source}: cannot be copied whole ({error.strerror}).") from error
        else:
            digest, size = copy_file(source, target)
        yield Snapshot(source, target, digest, size)


def fingerprint(source: Path) -> str:
    """sha256 of the file or folder as it is now, as `Snapshot.sha256` was of the copy."""
    with snapshot(source) as now:
        return now.sha256


def copy_file(source: Path, target: Path, *, any_start: bool = False) -> tuple[str, int]:
    """Copy a regular file and return its sha256 and size. It is opened once, never through a link, and never waited for.

    any_start: the file is one of a folder, whose numbers may begin with zeros. No model in one file does, and a sparse one
    of gigabytes is left at its first block.
    """
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        handle = os.open(source, flags)
    except OSError as error:
        raise InputRefused(_why_not_open(source, error)) from error
    digest, size = hashlib.sha256(), 0
    with os.fdopen(handle, "rb", buffering=0) as stream, target.open("xb") as out:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise InputRefused(f"{source}: is not a regular file; expected a model file.")
        try:
            while block := stream.read(BLOCK):
                if not (size or any_start or any(block[:HEAD])):
                    raise InputRefused(f"{source}: starts with zeros only; it is damaged, or no model file.")
                size += len(block)
                if size > LIMITS.model_bytes:
                    raise InputRefused(
                        f"{source}: is larger than {LIMITS.model_bytes >> 20:,} MiB, the most that is read."
                    )
                digest.update(block)
                out.write(block)
        except OSError as error:
            raise InputRefused(f"{source}: cannot be read to its end ({error.strerror}).") from error
    if size == 0:
        raise InputRefused(f"{source}: is empty; expected a model file, so copy or save it again.")
    return digest.hexdigest(), size


def _copy_folder(source: Path, target: Path) -> tuple[str, int]:
    digest, total = hashlib.sha256(), 0
    target.mkdir()
    # A SavedModel has two levels; what lies deeper is refused by the scan without being copied.
    paths = list(
        itertools.islice(itertools.chain(source.glob("*"), source.glob("*/*")), LIMITS.model_files + 1)
    )
    if len(paths) > LIMITS.model_files:
        raise InputRefused(
            f"{source}: holds more than {LIMITS.model_files:,} files; expected a model's folder."
        )
    for path in sorted(paths):
        name = path.relative_to(source)
        if path.is_symlink():
            raise InputRefused(f"{path}: is a symbolic link; a model's folder holds its files themselves.")
        if path.is_dir():
            (target / name).mkdir()
            digest.update(f"{name.as_posix()}/\n".encode())
            continue
        if path.is_file() and path.stat().st_size == 0:
            (target / name).touch()
            digest.update(f"{name.as_posix()}\0empty\n".encode())
            continue
        one, size = copy_file(path, target / name, any_start=True)
        digest.update(f"{name.as_posix()}\0{one}\n".encode())
        total += size
        if total > LIMITS.model_bytes:
            raise InputRefused(
                f"{source}: is larger than {LIMITS.model_bytes >> 20:,} MiB, the most that is read."
            )
    return digest.hexdigest(), total


def _why_not_open(source: Path, error: OSError) -> str:
    if error.errno == errno.ELOOP:
        return f"{source}: is a symbolic link; give the file itself."
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        return f"{source}: there is no such file; expected a trained model."
    if error.errno == errno.ENXIO:
        return f"{source}: is not a regular file; expected a model file."
    return f"{source}: cannot be opened ({error.strerror}); expected a readable model file."
