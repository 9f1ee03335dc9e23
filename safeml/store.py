"""Files that are whole or absent: atomic writes, content keys, and the records of a run folder.

A run folder holds `stages/NAME.json` (finished stages with their keys), `results.json`, `run.json` and the report. A stage
whose key matches is read back instead of measured again; anything else in its place is measured again, never repaired.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from safeml.errors import ConfigError, InputRefused, StageError
from safeml.results import Record, Run, RunTimes, StageResult

MAX_RESULTS_BYTES = 256 * 1024 * 1024


def content_key(parts: Any) -> str:
    """sha256 of the canonical JSON of `parts`: equal content, equal key."""
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def file_sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def atomic_write(path: Path, content: bytes | str) -> None:
    """Replace `path` by `content` in one step; on any failure the earlier file is intact and no part is left.

    The temporary file stands in the same folder, because a rename is atomic only within one file system; file and folder
    are synced, so that a power cut after the return cannot undo it.
    """
    data = content.encode() if isinstance(content, str) else content
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as stream:
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


def to_json(record: Record) -> str:
    """The record as it is stored: sorted keys, UTF-8, no NaN, one trailing newline."""
    values = record.model_dump(mode="json")
    return json.dumps(values, sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def make_folder(path: Path) -> Path:
    """The folder at `path`, made if needed; a clear error where that is impossible."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"{path}: cannot be made a folder ({error.strerror}); choose another with --out."
        ) from error
    if not os.access(path, os.W_OK):
        raise ConfigError(f"{path}: is not writable; choose another folder with --out.")
    return path


def save_stage(folder: Path, result: StageResult, key: str) -> None:
    """Keep a finished stage under its key."""
    text = to_json(result)
    envelope = {"key": key, "sha256": hashlib.sha256(text.encode()).hexdigest(), "result": json.loads(text)}
    try:
        atomic_write(
            make_folder(folder / "stages") / f"{result.stage}.json",
            json.dumps(envelope, sort_keys=True) + "\n",
        )
    except OSError as error:
        raise StageError(
            f"{folder}: the stage {result.stage} cannot be written ({error.strerror})."
        ) from error


def load_stage(folder: Path, stage: str, key: str) -> StageResult | None:
    """The finished stage with this key, or None: another key, a damaged or an edited file are all measured again."""
    path = folder / "stages" / f"{stage}.json"
    try:
        envelope = json.loads(path.read_bytes())
        result = StageResult.model_validate(envelope["result"])
        intact = envelope["sha256"] == hashlib.sha256(to_json(result).encode()).hexdigest()
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    return result if intact and envelope["key"] == key else None


def read_run(path: Path) -> Run:
    """The results at `path` (a `results.json` or its folder). Raises InputRefused where they are not whole."""
    file = path / "results.json" if path.is_dir() else path
    run: Run = _read(file, Run, "results.json as `safeml audit` writes it")
    return run


def read_times(path: Path) -> RunTimes | None:
    """`run.json` beside the results, if it is there."""
    folder = path if path.is_dir() else path.parent
    return _read(folder / "run.json", RunTimes, "run.json") if (folder / "run.json").is_file() else None


def _read(file: Path, model: type[Any], expected: str) -> Any:
    try:
        if file.stat().st_size > MAX_RESULTS_BYTES:
            raise InputRefused(f"{file}: is larger than {MAX_RESULTS_BYTES >> 20} MiB; expected {expected}.")
        values = json.loads(file.read_bytes(), parse_constant=_no_constant, object_pairs_hook=_no_duplicates)
        found = values.get("schema_version", 1) if isinstance(values, dict) else 1
        if isinstance(found, int) and found > 1:
            raise InputRefused(
                f"{file}: has schema version {found}, which is newer than this safeml; upgrade safeml."
            )
        return model.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise InputRefused(f"{file}: {place}: {first['msg']}; expected {expected}.") from None
    except OSError as error:
        raise InputRefused(f"{file}: cannot be read ({error.strerror}); expected {expected}.") from error
    except (ValueError, RecursionError) as error:
        raise InputRefused(f"{file}: is not valid JSON ({str(error)[:120]}); expected {expected}.") from error


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not a number")


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) != len(pairs):
        raise ValueError("a key is given twice")
    return values
