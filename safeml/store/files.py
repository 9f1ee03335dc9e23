"""Atomic writes, content keys, and the results of a run folder.

A run folder holds `results.json`, `run.json` and the report; the journal stores the work of an unfinished run.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from pydantic import ValidationError

from safeml.errors import ConfigError, InputRefused, MissingInput, StageError
from safeml.links import resolved
from safeml.results import ARTEFACTS, Record, Run, RunTimes

MAX_RESULTS_BYTES = 256 * 1024 * 1024
# Temporary files that a killed `atomic_write` leaves in a run folder.
LEFT = re.compile(
    r"\.(results\.json|run\.json|[a-z][a-z0-9_-]*\.(html|json|log)|[a-z0-9][a-z0-9_.-]*\.npz|junit\.xml|summary\.md|signature\.dsse\.json|SHA256SUMS)"
    r"\.[a-z0-9_]{8}\.tmp"
)


class FolderError(StageError):
    """A run folder that cannot be written. No later stage can be stored either, so the run ends."""


def content_key(parts: Any) -> str:
    """Return the sha256 of the canonical JSON of `parts`: equal content, equal key."""
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def file_sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def atomic_write(path: Path, content: bytes | str) -> None:
    """Replace `path` by `content` in one step; on failure the earlier file is intact and no temporary file is left.

    The temporary file is in the same folder, because a rename is atomic only within one file system; file and folder
        are synced, so that a power cut after the return cannot undo it. Raises ConfigError where `path` is a device.
    """
    if path.is_char_device() or path.is_block_device():  # the rename would replace the device
        raise ConfigError(f"{path}: is a device, not a file; set another path.")
    data = content.encode() if isinstance(content, str) else content
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    try:
        with _stream(handle) as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, 0o666 & ~umask)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _stream(handle: int) -> IO[bytes]:
    try:
        return os.fdopen(handle, "wb")
    except BaseException:
        os.close(handle)
        raise


def to_json(record: Record) -> str:
    """Serialise a record: sorted keys, UTF-8, no NaN, one trailing newline."""
    values = record.model_dump(mode="json")
    return json.dumps(values, sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def make_folder(path: Path) -> Path:
    """Return the folder at `path`, created if needed. Raises ConfigError if that is impossible."""
    if os.path.lexists(path) and not path.is_dir():
        raise ConfigError(f"{path}: exists and is not a folder; set another one with --out.")
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"{path}: cannot be created ({error.strerror}); set another folder with --out."
        ) from error
    if not os.access(path, os.W_OK):
        raise ConfigError(f"{path}: is not writable; set another folder with --out.")
    return path


def keep(path: Path, content: bytes | str) -> None:
    """Write a file of a run folder atomically. Raises FolderError if the system refuses."""
    try:
        atomic_write(path, content)
    except OSError as error:
        raise _cannot(path, error) from error


def keep_folder(path: Path) -> Path:
    """Return a folder inside a run folder, created if needed. Raises FolderError if the system refuses."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _cannot(path, error) from error
    return path


def _cannot(path: Path, error: OSError) -> FolderError:
    return FolderError(
        f"{path}: cannot be written ({error.strerror}); fix that and run the same command: finished work is stored."
    )


def read_plain(path: Path, most: int) -> bytes:
    """Read a plain file of at most `most` bytes, without following a link or waiting for a pipe.

    Raises OSError if it cannot be opened (ELOOP for a link), ValueError with a clause if it is too large or not plain.
    """
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    with os.fdopen(handle, "rb") as stream:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise ValueError("is not a plain file")
        content = stream.read(most + 1)
    if len(content) > most:
        raise ValueError("is larger than a file of this kind")
    return content


def sweep(folder: Path) -> None:
    """Remove temporary files of killed runs from a run folder; only the holder of the lock may do that."""
    places = (folder, folder / "stages", *_folders(folder / "work"), *_folders(folder / ARTEFACTS))
    for place in places:
        with suppress(OSError):
            for entry in place.iterdir():
                if LEFT.fullmatch(entry.name):
                    entry.unlink()


def _folders(path: Path) -> list[Path]:
    try:
        return [entry for entry in path.iterdir() if entry.is_dir() and not entry.is_symlink()]
    except OSError:
        return []


def read_run(path: Path) -> Run:
    """Read the results at `path` (a `results.json` or its folder). Raises InputRefused if they are invalid."""
    file = path / "results.json" if path.is_dir() else path
    run: Run = _read(file, Run, "results.json of `safeml audit`")
    return run


def read_times(path: Path) -> RunTimes | None:
    """Read `run.json` beside the results, if it exists."""
    folder = path if path.is_dir() else path.parent
    return _read(folder / "run.json", RunTimes, "run.json") if (folder / "run.json").is_file() else None


def _read(file: Path, model: type[Any], expected: str) -> Any:
    try:
        raw = read_plain(resolved(file), MAX_RESULTS_BYTES)  # results may be a link; never wait for a pipe
        text = raw.decode("utf-8-sig")
        values = json.loads(text, parse_constant=_no_constant, object_pairs_hook=_no_duplicates)
        if "\\ud" in text.lower():  # an escape of half a character, which no report can be written with
            json.dumps(values, ensure_ascii=False).encode()
        found = values.get("schema_version", 1) if isinstance(values, dict) else 1
        if isinstance(found, int) and found > 1:
            raise InputRefused(
                f"{file}: has schema version {found}, which is newer than this safeml; upgrade safeml."
            )
        return model.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        where = f"{file}: {place}" if place else str(file)
        raise InputRefused(f"{where}: {first['msg']}; expected {expected}.") from None
    except FileNotFoundError as error:
        raise MissingInput(f"{file}: there is no such file; expected {expected}.") from error
    except OSError as error:
        raise InputRefused(f"{file}: cannot be read ({error.strerror}); expected {expected}.") from error
    except (ValueError, RecursionError) as error:
        raise InputRefused(f"{file}: is not valid JSON ({str(error)[:120]}); expected {expected}.") from error


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not a number")


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) != len(pairs):
        raise ValueError("a key occurs twice")
    return values
