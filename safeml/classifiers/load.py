"""From a file that somebody else made to a model in memory: scanned, loaded first in a child, and then from the same bytes."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safeml import framework
from safeml.classifiers.base import Model
from safeml.classifiers.identity import file_title
from safeml.classifiers.opening import describe, open_copy
from safeml.errors import InputRefused, MissingInput, StageError
from safeml.limits import GIB, LIMITS
from safeml.results import ModelOrigin
from safeml.sandbox import Outcome, run_limited
from safeml.scan.formats import ONNX, SAVED_MODEL
from safeml.scan.scan import Scanned, scanned
from safeml.scan.snapshot import fingerprint
from safeml.scan.sources import Source


@dataclass(frozen=True)
class Opened:
    """A loaded model and where it came from.

    source: the file, and the manifest of its training where there is one. origin: for the report.
    """

    model: Model
    source: Source
    origin: ModelOrigin

    @property
    def title(self) -> str:
        """The name of a model that was given none."""
        return file_title(self.source.file)

    @property
    def manifest(self) -> Mapping[str, Any] | None:
        """The decoded `training.json` of `safeml train`, where there is one."""
        return self.source.manifest

    @property
    def file_sha256(self) -> str:
        """The sha256 of the file."""
        return self.origin.scan.sha256

    def check_unchanged(self) -> None:
        """Raise StageError where the file has disappeared since, and InputRefused where it is not the scanned one any more."""
        beside = self.source.architecture
        for file in filter(None, (self.source.file, beside)):
            if not file.exists():
                raise StageError(f"{file}: disappeared while it was audited; the run is void, run it again.")
        if fingerprint(self.source.file) != self.origin.scan.sha256 or (
            beside is not None and fingerprint(beside) != self.origin.scan.facts.get("architecture sha256")
        ):
            raise InputRefused(
                f"{self.source.file}: changed while it was audited; the run is void, run it again."
            )


def load_model(path: Path) -> Opened:
    """The model at `path`: a .keras, .h5 or ONNX file, weights beside a JSON architecture, a SavedModel folder, a folder of
    checkpoints, or one of `safeml train`.

    Raises InputRefused where the scan or the loader refuses it, and StageError where it could not be judged.
    """
    with scanned(path) as found:
        file, scan = found.source.file, found.scan
        if not found.source.file.exists():
            raise MissingInput(f"{scan.path}: {scan.reason}.")
        if scan.status == "refused":
            raise InputRefused(f"{scan.path}: {scan.reason}.")
        if scan.status == "inconclusive" or found.copy is None:
            raise StageError(f"{file}: is not known to be safe, so it is not loaded: {scan.reason}.")
        outcome = _trial(found)
        framework.start()
        model = open_copy(scan.format, found.copy, found.architecture, str(file))
    if describe(model) != outcome.value:
        raise InputRefused(
            f"{file}: loading it twice gave two different models; give a file that always loads as the same model."
        )
    origin = ModelOrigin(
        scan=scan.model_copy(update={"path": file.name}),
        network=outcome.network,
        confined=outcome.confined,
        memory_limit=LIMITS.load_memory if sys.platform == "linux" else 0,
        seconds_limit=LIMITS.load_seconds,
        safeml_trained=(found.source.manifest or {}).get("model_fingerprint") == model.fingerprint,
    )
    return Opened(model, found.source, origin)


def _trial(found: Scanned) -> Outcome:
    """The outcome of the first load, where it is "ok"; every other outcome is an error of one sentence."""
    file = found.source.file
    outcome = run_limited(
        "safeml.classifiers.trial:try_model",
        {
            "format_name": found.scan.format,
            "path": str(found.copy),
            "architecture": str(found.architecture or ""),
            "where": str(file),
        },
        memory=LIMITS.load_memory,
        seconds=LIMITS.load_seconds,
        # A graph has no reason to write; files of Keras are rewritten in the private folder.
        files=0 if found.scan.format in (ONNX.name, SAVED_MODEL.name) else LIMITS.model_bytes,
        folders=tuple(entry.parent for entry in (found.copy, found.architecture) if entry is not None),
        threads=2,
        meanwhile=framework.start,  # the child imports it too, which is most of its time
    )
    if outcome.kind == "ok":
        return outcome
    if outcome.kind == "refused":
        raise InputRefused(outcome.reason)
    if outcome.kind == "out of memory":
        raise InputRefused(
            f"{file}: needs more than {LIMITS.load_memory // GIB} GiB of memory to load and run once beyond the framework; "
            "it is far larger than its file, or too large for this audit."
        )
    if outcome.kind == "timeout":
        raise InputRefused(f"{file}: does not load and run once within {LIMITS.load_seconds} seconds.")
    raise StageError(
        f"{file}: its first load, in a separate process, failed: {outcome.reason.removesuffix('.')}."
    )
