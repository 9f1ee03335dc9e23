"""`safeml export`: the files for the device from the folder of `safeml quantize`, and export.json with every check.

The files are made in a hidden folder and renamed when all checks ended. A file that a check failed gets the name `rejected.NAME`,
and an older file NAME is removed, so that no file with a release name failed its checks. export.json is removed first and written
last: without it an export is not complete.
"""

from __future__ import annotations

import json
import math
import shutil
import tempfile
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safeml.errors import ConfigError, ExitCode, InputRefused, StageError, first_line
from safeml.export.acceptance import FIRST, INT8_ONNX, REAL_IMAGES, ROWS, Row
from safeml.export.checks import Check
from safeml.export.ends import OPSET, OPSETS
from safeml.export.material import Material, check_opset, read
from safeml.store.files import atomic_write, file_sha256, make_folder
from safeml.store.lock import folder_lock
from safeml.version import __version__

EXPORT, FORMAT = "export.json", 1
REJECTED = "rejected."


@dataclass(frozen=True)
class Export:
    """What an export wrote.

    path: of export.json.
    checks: in the order in which they ran.
    files: the released files, by name, with their sizes in bytes.
    rejected: the names under which rejected files are stored.
    """

    path: Path
    checks: tuple[Check, ...]
    files: dict[str, int]
    rejected: tuple[str, ...]

    @property
    def exit_code(self) -> ExitCode:
        """1 where a check failed. A check that did not run is no failure, and no proof."""
        failed = any(check.status == "failed" for check in self.checks)
        return ExitCode.FAILED if failed else ExitCode.PASSED


def export(
    folder: Path,
    out: Path | None = None,
    images: Path | None = None,
    batch: int | None = None,
    opset: int = OPSET,
    skip: Collection[str] = (),
    said: Callable[[Check], None] = lambda check: None,
) -> Export:
    """Write the files for the device into `out`, or into `folder`, and return what they are.

    folder: of `safeml quantize`. images: see `safeml.export.material.read`. batch, opset: of the ONNX files. skip: names of checks
    to leave out; their files are not written. said: gets each check when it ends. Raises InputRefused and MissingInput for a
    folder without a quantized model, and StageError where a file cannot be written.
    """
    check_opset(opset, *OPSETS)
    unknown = sorted(set(skip) - {row.name for row in ROWS if row.name != FIRST})
    if unknown:
        names = ", ".join(row.name for row in ROWS if row.name != FIRST)
        raise ConfigError(f"--skip {unknown[0]} is no check that can be left out; expected one of {names}.")
    target = out or folder
    if not folder.is_dir() or not (folder / "int8.keras").is_file():
        read(folder, folder, images, batch, opset)  # raises the reason before a folder is made
    with folder_lock(make_folder(target), resumes=False):
        work = Path(tempfile.mkdtemp(prefix=".export-", dir=target))
        try:
            material = read(folder, work, images, batch, opset)
            checks = _run(material, skip, said)
            return _release(material, checks, target)
        except OSError as error:
            raise StageError(
                f"{target}: cannot be written ({error.strerror or first_line(error)}); without {EXPORT} an export is not complete, so "
                "free space, or set another folder with --out, and export again."
            ) from error
        finally:
            shutil.rmtree(work, ignore_errors=True)


OF_CLASSES = "It counts agreeing classes, and this is a regression model; its file is not written."
HALF_ROW = "half"


def _run(material: Material, skip: Collection[str], said: Callable[[Check], None]) -> tuple[Check, ...]:
    checks = []
    for row in ROWS:
        checks.append(_outcome(row, material, skip))
        said(checks[-1])
    return tuple(checks)


def _outcome(row: Row, material: Material, skip: Collection[str]) -> Check:
    if row.name in skip:
        return Check(row.name, "not_run", "It was left out with --skip.")
    if material.values and (row.agrees or row.name == HALF_ROW):
        return Check(row.name, "not_run", OF_CLASSES)
    if row.agrees and not material.real:
        return Check(row.name, "not_run", REAL_IMAGES)
    try:
        return row.run(material)
    except InputRefused as error:
        if row.name == FIRST:
            raise
        return Check(row.name, "failed", str(error))


def _release(material: Material, checks: tuple[Check, ...], target: Path) -> Export:
    """Rename the files into `target`; see the module."""
    failed = {
        name
        for row, check in zip(ROWS, checks, strict=True)
        if check.status == "failed"
        for name in row.files
    }
    path = target / EXPORT
    path.unlink(missing_ok=True)
    files: dict[str, int] = {}
    hashes: dict[str, str] = {}
    rejected = []
    for name in dict.fromkeys(name for row in ROWS for name in row.files):
        made = material.work / name
        for old in (target / name, target / f"{REJECTED}{name}"):
            _remove(old)
        if not made.exists():
            continue
        if name in failed:
            rejected.append(f"{REJECTED}{name}")
            made.rename(target / rejected[-1])
            continue
        made.rename(target / name)
        for file in _files(target / name):
            shown = file.relative_to(target).as_posix()
            files[shown], hashes[shown] = file.stat().st_size, file_sha256(file)
    record: dict[str, Any] = {
        "format": FORMAT,
        "safeml": __version__,
        "status": "failed" if any(check.status == "failed" for check in checks) else "passed",
        "sources": material.sources,
        "onnx": {"opset": material.opset, "batch": material.batch, "file": INT8_ONNX},
        "images": {"count": len(material.images), "from": material.images_from},
        "files": [{"name": name, "bytes": size, "sha256": hashes[name]} for name, size in files.items()],
        "rejected": rejected,
        "checks": [check.as_json() for check in checks],
    }
    text = json.dumps(_finite(record), indent=1, ensure_ascii=False, allow_nan=False)
    atomic_write(path, f"{text}\n")
    return Export(path, checks, files, tuple(rejected))


def _finite(value: Any) -> Any:
    """Return plain data in which a number that JSON does not have is null."""
    if isinstance(value, dict):
        return {key: _finite(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _files(path: Path) -> list[Path]:
    return sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
