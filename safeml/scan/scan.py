"""The scan of a model as a whole: a private copy, its format, its scanner in a limited process, and the record."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from safeml.errors import InputRefused
from safeml.limits import LIMITS
from safeml.results import ModelScan
from safeml.sandbox import Outcome, run_limited
from safeml.scan.formats import identify, scan_architecture
from safeml.scan.snapshot import Snapshot, snapshot
from safeml.scan.sources import Source, architecture_beside, find_model

SCANNER = 2  # raised with every change of what is accepted


@dataclass(frozen=True)
class Scanned:
    """A model that was looked at, with the private copies that the scan was of.

    copy: None where nothing could be copied. architecture: the copy of the JSON beside weights alone.
    """

    source: Source
    scan: ModelScan
    copy: Path | None = None
    architecture: Path | None = None


def scan_path(path: Path) -> ModelScan:
    """What the scan says of the model at `path`: a file, a SavedModel folder, or a folder of checkpoints."""
    with scanned(path) as result:
        return result.scan


@contextmanager
def scanned(path: Path) -> Iterator[Scanned]:
    """The scan of the model at `path`, and its private copies for as long as the context lasts. Raises nothing about files."""
    with ExitStack() as stack:
        source, copy, beside = Source(path), None, None
        try:
            source = find_model(path)
            copy = stack.enter_context(snapshot(source.file))
            architecture = source.architecture
            if architecture is not None:
                beside = stack.enter_context(snapshot(architecture))
            scan = _scan(copy, beside)
            if scan.status == "accepted" and scan.facts.get("holds") == "weights alone" and beside is None:
                source = replace(source, architecture=architecture_beside(source.file))
                beside = stack.enter_context(snapshot(source.architecture or source.file))
                scan = _scan(copy, beside)
        except InputRefused as error:
            scan = _refused(source.file, copy, str(error))
        except (OSError, ValueError, RecursionError) as error:
            # Much can be called a path, and lie in a folder.
            scan = _unjudged(source.file, error)
        scan = scan.model_copy(update={"chosen": source.chosen})
        yield Scanned(source, scan, copy.copy if copy else None, beside.copy if beside else None)


def scan_copy(path: str, architecture: str) -> dict[str, int | str]:
    """The facts of the private copies at `path` and, where it is not "", `architecture`. Called in a limited process.

    Raises: Refused, Inconclusive.
    """
    found = identify(Path(path))
    facts = found.scan(Path(path))
    if architecture:
        facts |= scan_architecture(Path(architecture))
    return {"format": found.name, **facts}


def _scan(copy: Snapshot, beside: Snapshot | None) -> ModelScan:
    size = copy.bytes + (beside.bytes if beside else 0)
    outcome = run_limited(
        "safeml.scan.scan:scan_copy",
        {"path": str(copy.copy), "architecture": "" if beside is None else str(beside.copy)},
        memory=LIMITS.scan_memory,
        seconds=LIMITS.scan_seconds + size // LIMITS.scan_bytes_per_second,
        files=LIMITS.model_bytes,
        folders=tuple(entry.copy.parent for entry in (copy, beside) if entry is not None),
    )
    facts = dict(outcome.value)
    name = str(facts.pop("format", "unknown"))
    if beside is not None:
        facts["architecture"] = beside.source.name
        facts["architecture sha256"] = beside.sha256
    return ModelScan(
        status=_status(outcome),
        path=str(copy.source),
        format=name,
        sha256=copy.sha256,
        bytes=size,
        facts=facts,
        reason=_reason(outcome),
        scanner=SCANNER,
    )


def _status(outcome: Outcome) -> Literal["accepted", "refused", "inconclusive"]:
    if outcome.kind == "ok":
        return "accepted"
    return "refused" if outcome.kind == "refused" else "inconclusive"


def _reason(outcome: Outcome) -> str:
    if outcome.kind in ("ok", "refused", "inconclusive"):
        return outcome.reason
    return f"the scan did not finish: {outcome.reason}; a file that cannot be judged is not loaded"


def _refused(file: Path, copy: Snapshot | None, message: str) -> ModelScan:
    """The record of a refusal outside of the scanner; its message starts with the path that it speaks of."""
    where = str(file) if message.startswith(f"{file}: ") else message.partition(": ")[0]
    return ModelScan(
        status="refused",
        path=where,
        format="unknown",
        sha256="" if copy is None else copy.sha256,
        bytes=0 if copy is None else copy.bytes,
        reason=message.removeprefix(f"{where}: ").removesuffix("."),
        scanner=SCANNER,
    )


def _unjudged(file: Path, error: Exception) -> ModelScan:
    reason = f"it cannot be looked at ({type(error).__name__}); expected a model's file or folder"
    return ModelScan(
        status="inconclusive",
        path=str(file),
        format="unknown",
        sha256="",
        bytes=0,
        reason=reason,
        scanner=SCANNER,
    )
