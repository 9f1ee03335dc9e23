"""The signature beside a report: which files it covers, and whether they are still what was signed. No key is needed for that.

A report cannot say that it is signed, because the signature covers its pages. What it can say is that a signature beside it is
stale: made for other content. Who signed is for `safeml verify` to say (safeml/bundle/report_signing.py).
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path

from safeml.edge import dsse
from safeml.edge.errors import Refused
from safeml.edge.limits import ENVELOPE_BYTES
from safeml.edge.statement import Resource
from safeml.edge.strict_json import Malformed
from safeml.errors import InputRefused
from safeml.report.statement import RESULTS, ReportStatement, parse_statement
from safeml.store.files import file_sha256, read_plain
from safeml.store.lock import LOCK
from safeml.wording import counted

SIGNATURE = "signature.dsse.json"
# What a reader of the report does not see: the journal of an unfinished run, and reports by other limits, which have sums of their folder.
JOURNAL = ("stages", "work")
OTHER_LIMITS = "limits-"
STALE = f"The signature beside this report, {SIGNATURE}, was made for other content and does not cover this report."
REMEDY = "sign again with `safeml sign`"


@dataclass(frozen=True)
class Signed:
    """A signature whose form is that of safeml; nothing says by whom it is.

    envelope: with the signatures.
    statement: what it is about.
    """

    envelope: dsse.Envelope
    statement: ReportStatement


def read_signature(folder: Path) -> Signed | None:
    """Return the signature in a run folder, None where there is none; raises InputRefused for another file of that name."""
    path = folder / SIGNATURE
    try:
        content = read_plain(path, ENVELOPE_BYTES)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise InputRefused(f"{path}: cannot be read ({error.strerror}); remove it, or {REMEDY}.") from None
    except ValueError as error:
        raise InputRefused(f"{path}: {error}; remove it, or {REMEDY}.") from None
    return parse_signature(content, str(path))


def parse_signature(content: bytes, where: str) -> Signed:
    """Return a signature read from `where`; raises InputRefused for one that is not about a report of safeml."""
    try:
        envelope = dsse.parse_envelope(content)
        dsse.check_type(envelope)
        return Signed(envelope, parse_statement(envelope.payload))
    except Refused as error:
        reason = error.message.rstrip(".")
    except Malformed as error:
        reason = f"its statement is refused: {error}"
    raise InputRefused(f"{where}: is no signature of a report ({reason}); remove it, or {REMEDY}.")


def covered_files(folder: Path) -> tuple[Resource, ...]:
    """Return every file of a run folder that a signature covers: results.json first, then all by name.

    Raises InputRefused for what is no plain file: a link may show another content tomorrow.
    """
    found = [_resource(folder, name) for name in _names(folder)]
    return tuple(sorted(found, key=lambda one: _results_first(one.name)))


def not_covered(folder: Path) -> list[str]:
    """Return the folders in a run folder that no signature of it covers, sorted."""
    return sorted(entry.name + "/" for entry in folder.iterdir() if entry.is_dir() and _is_apart(entry.name))


def changes(folder: Path, statement: ReportStatement) -> list[str]:
    """Return how the files of a run folder differ from the signed ones, one clause each; empty where they do not."""
    try:
        present = {one.name: one for one in covered_files(folder)}
    except InputRefused as error:
        return [str(error).rstrip(".")]
    signed = {one.name: one for one in statement.files}
    common = signed.keys() & present.keys()
    return [
        *(f"{name} is missing" for name in sorted(signed.keys() - common)),
        *(f"{name} is not signed" for name in sorted(present.keys() - common)),
        *(f"{name} was changed" for name in sorted(common, key=_results_first) if signed[name] != present[name]),
    ]  # fmt: skip


def stale_sentence(folder: Path) -> str:
    """Return one sentence where the signature beside a report is not of its present content; "" where it is, or there is none."""
    try:
        signed = read_signature(folder)
    except InputRefused as error:
        return str(error)
    differences = changes(folder, signed.statement) if signed is not None else []
    if not differences:
        return ""
    more = f" and {counted(len(differences) - 1, 'more difference')}" if len(differences) > 1 else ""
    return f"{SIGNATURE} is stale: it was made for other content ({differences[0]}{more}); {REMEDY}."


def _results_first(name: str) -> tuple[bool, str]:
    return name != RESULTS, name


def _names(folder: Path) -> list[str]:
    names = []
    for place, folders, files in os.walk(folder, followlinks=False):
        top = Path(place) == folder
        if top:
            folders[:] = [name for name in folders if not _is_apart(name)]
        relative = Path(place).relative_to(folder)
        links = [name for name in folders if (Path(place) / name).is_symlink()]
        names += [
            (relative / name).as_posix()
            for name in (*files, *links)
            if not (top and name in (SIGNATURE, LOCK))
        ]
    return names


def _is_apart(name: str) -> bool:
    return name in JOURNAL or name.startswith(OTHER_LIMITS)


def _resource(folder: Path, name: str) -> Resource:
    path = folder / name
    status = path.lstat()
    if not stat.S_ISREG(status.st_mode):
        raise InputRefused(
            f"{path}: is not a plain file, so no signature covers it; replace it by a file, or remove it."
        )
    return Resource(name, file_sha256(path), status.st_size)
