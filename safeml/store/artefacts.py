"""The artefacts of a run folder: `artefacts/STAGE/NAME`, written whole or not at all, and read only with the recorded sha256."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from safeml.errors import InputRefused, MissingInput
from safeml.results import ARTEFACTS, Artefact, StageResult, artefact_path
from safeml.store.files import keep, keep_folder, read_plain


def keep_artefact(folder: Path, stage: str, name: str, content: bytes) -> Artefact:
    """Write an artefact of a stage into its run folder and return its record. Raises FolderError if the system refuses."""
    artefact = Artefact.of(name, content)  # refuses a name with a path, and a file that is too large
    path = folder / artefact_path(stage, artefact.name)
    keep_folder(path.parent)
    keep(path, content)
    return artefact


def read_artefact(folder: Path, stage: str, artefact: Artefact) -> bytes:
    """Return the content of a recorded artefact. Raises MissingInput or InputRefused where it is not the recorded file."""
    path = folder / artefact_path(stage, artefact.name)
    remedy = f"run `safeml audit` with --out {folder} again: the stage is then measured again."
    try:
        content = read_plain(path, artefact.bytes)
    except FileNotFoundError:
        raise MissingInput(f"{path}: there is no such file; {remedy}") from None
    except OSError as error:
        raise InputRefused(f"{path}: cannot be read ({os.strerror(error.errno or 0)}); {remedy}") from error
    except ValueError as error:
        raise InputRefused(f"{path}: {error}; {remedy}") from None
    if not artefact.describes(content):
        raise InputRefused(f"{path}: does not have the sha256 that results.json records; {remedy}")
    return content


def artefact_fault(folder: Path, stage: str, artefact: Artefact) -> str:
    """Return why an artefact is not the recorded file, as a clause; "" if it is."""
    try:
        read_artefact(folder, stage, artefact)
    except MissingInput:
        return "is missing"
    except InputRefused:
        return "is not the file that the stage recorded"
    return ""


def drop_other_artefacts(folder: Path, results: Iterable[StageResult]) -> None:
    """Remove artefacts that none of `results` records: they belong to an earlier run of the folder.

    A file that cannot be removed is in no record and in no checksum, so it is obsolete but harmless.
    """
    recorded = {
        artefact_path(stage.stage, artefact.name) for stage in results for artefact in stage.artefacts
    }
    top = folder / ARTEFACTS
    with suppress(OSError):
        for place in [] if top.is_symlink() else sorted(top.iterdir()):
            with suppress(OSError):
                for entry in [] if place.is_symlink() else sorted(place.iterdir()):
                    if f"{ARTEFACTS}/{place.name}/{entry.name}" not in recorded and _may_be_ours(entry.name):
                        entry.unlink()
                place.rmdir()
        top.rmdir()


def _may_be_ours(name: str) -> bool:
    try:
        Artefact.of(name, b"")
    except ValueError:
        return False
    return True
