"""The stored work of a run: finished stages, and slices of the unfinished stage.

    stages/NAME.json               a finished stage under its key
    artefacts/STAGE/NAME           a file that a stage handed over; without it, or with another, the stage counts as unfinished
    work/STAGE/ITEM-KEY.npz        one slice of one item of a stage, until the stage is finished

The key is a hash of all inputs of the numbers. An entry with another key, or a damaged one, is measured again and
noted, never repaired.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from safeml.results import Artefact, Recomputed, StageResult, artefact_path
from safeml.store.artefacts import artefact_fault, keep_artefact
from safeml.store.files import MAX_RESULTS_BYTES, content_key, keep, keep_folder, read_plain
from safeml.store.slices import SLICE, WORK, Elsewhere, StoredWork
from safeml.version import __version__

STAGES = "stages"
REASONS = {errno.ELOOP: "is a link", errno.EISDIR: "is a folder"}


class KeptStage(NamedTuple):
    """A finished stage and the seconds of its measurement."""

    result: StageResult
    seconds: float


@dataclass
class Journal:
    """The stored work of a run folder, and its use in this run.

    elsewhere: measures announced slices in other processes; None: all are measured here.
    slices: number of slices that an earlier run had stored.
    recomputed: entries that could not be used.
    """

    folder: Path
    elsewhere: Elsewhere | None = None
    slices: int = 0
    recomputed: list[Recomputed] = field(default_factory=list)

    def stage(self, name: str, key: str) -> KeptStage | None:
        """Read the finished stage with this key; None for another key, a damaged or an edited file, or a missing artefact."""
        path = self.folder / STAGES / f"{name}.json"
        raw = self.read(path, MAX_RESULTS_BYTES)
        if raw is None:
            return None
        try:
            envelope = json.loads(raw)
            whole = {part: envelope[part] for part in ("key", "safeml", "seconds", "result")}
            if envelope["sha256"] != content_key(whole):
                raise ValueError(name)
            kept = KeptStage(StageResult.model_validate(envelope["result"]), float(envelope["seconds"]))
        except (ValueError, KeyError, TypeError, RecursionError):
            self.note(path, "is damaged or was edited")
            return None
        if envelope["key"] == key:
            return kept if self._has_artefacts(kept.result) else None
        other = envelope["safeml"] != __version__
        self.note(
            path,
            "was measured by another version of safeml" if other else "was measured from other evidence",
        )
        return None

    def _has_artefacts(self, result: StageResult) -> bool:
        faults = [
            (artefact_path(result.stage, artefact.name), artefact_fault(self.folder, result.stage, artefact))
            for artefact in result.artefacts
        ]
        for path, fault in faults:
            if fault:
                self.note(self.folder / path, fault)
        return not any(fault for _, fault in faults)

    def hand_over(self, stage: str) -> Callable[[str, bytes], Artefact]:
        """Return what stores an artefact of `stage`."""
        return lambda name, content: keep_artefact(self.folder, stage, name, content)

    def keep_stage(self, result: StageResult, key: str, seconds: float) -> None:
        """Store a finished stage under its key; its slices become obsolete."""
        whole = {
            "key": key,
            "safeml": __version__,
            "seconds": seconds,
            "result": result.model_dump(mode="json"),
        }
        folder = keep_folder(self.folder / STAGES)
        envelope = {**whole, "sha256": content_key(whole)}
        keep(folder / f"{result.stage}.json", json.dumps(envelope, sort_keys=True, allow_nan=False) + "\n")
        self.clear(result.stage)

    def work(self, stage: str, evidence: Mapping[str, Any]) -> StoredWork:
        """Return a `Work` that stores the slices of `stage` as long as `evidence` (JSON-able) is the same."""
        return StoredWork(self, stage, evidence, self.elsewhere)

    def clear(self, stage: str) -> None:
        """Remove the slices of a stage; a slice that cannot be removed is obsolete but harmless."""
        folder = self.folder / WORK / stage
        with suppress(OSError):
            for entry in folder.iterdir() if not folder.is_symlink() else ():
                if SLICE.fullmatch(entry.name):  # other files are not ours
                    with suppress(OSError):
                        entry.unlink()
            folder.rmdir()
        with suppress(OSError):
            folder.parent.rmdir()

    def read(self, path: Path, most: int) -> bytes | None:
        """Read a file of at most `most` bytes; None, with a note where there is something else at the path."""
        try:
            return read_plain(path, most)
        except FileNotFoundError:
            return None
        except OSError as error:
            self.note(
                path, REASONS.get(error.errno or 0, f"cannot be read ({os.strerror(error.errno or 0)})")
            )
        except ValueError as error:
            self.note(path, str(error))
        return None

    def note(self, path: Path, reason: str) -> None:
        """Record that an entry could not be used."""
        entry = path.relative_to(self.folder).as_posix()
        self.recomputed.append(Recomputed(entry=entry, reason=reason))
