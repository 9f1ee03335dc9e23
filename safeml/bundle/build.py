"""A bundle: one signed file with the models, their evidence and their monitor, made of a finished run and its export.

Order: the evidence is checked and decided again; the export is compared with it; golden images are computed; then manifest and
statement are written, signed, and packed under a temporary name. Nothing half-written is left.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

from safeml import framework
from safeml.bundle import contract, golden, runtime, tolerances
from safeml.bundle.arrays import json_bytes, npz_bytes
from safeml.bundle.evidence import MONITOR, Evidence, NotReleased, class_names, read_evidence
from safeml.bundle.float_run import AUDIT as FLOAT_AUDIT
from safeml.bundle.float_run import MONITOR as FLOAT_MONITOR_FOLDER
from safeml.bundle.float_run import FloatRun, read_float_run
from safeml.bundle.manifest import (
    Entry,
    Release,
    check_release,
    last_day,
    manifest_bytes,
    statement_bytes,
)
from safeml.bundle.models import FOLDER, Exported, ModelFile, classes, read_export
from safeml.bundle.reading import AUDIT, BUNDLED_SIGNATURE, BUNDLED_SUMS, MONITOR_FOLDER
from safeml.edge.container import pack
from safeml.edge.errors import Refused
from safeml.errors import ConfigError, InputRefused, MissingInput, StageError
from safeml.export.acceptance import TFTRT
from safeml.export.ends import FEATURES, LOGITS
from safeml.export.tftrt import GOLDEN
from safeml.monitors.errors import MonitorRefused
from safeml.monitors.state import State, load_state
from safeml.report.signature import SIGNATURE, stale_sentence
from safeml.report.write import CHECKSUMS
from safeml.scan.sources import EXPORT
from safeml.settings.bundle import BundleSettings
from safeml.settings.model import VALUES
from safeml.store.files import file_sha256, read_plain

Content = bytes | Path
Sign = Callable[[bytes], bytes]
SUFFIX = ".safeml"
TFTRT_GOLDEN = f"{TFTRT}/{GOLDEN}"
NO_MONITOR = (
    "The run stored no monitor; audit again with the stage monitors, so that the device can fall back."
)
LONGEST_REASON = 500
MOST_LABEL_BYTES = 1024 * 1024


@dataclass(frozen=True)
class Request:
    """What to make a bundle of.

    run: the run folder of the INT8 model.
    export: the folder of `safeml export`.
    settings: of the table `[bundle]`, with product and release.
    today: ISO date (UTC) against which waivers expire.
    created: when the bundle counts as made; None takes the end of the run.
    override: why a run that is no release becomes a bundle; "" for none.
    labels: a JSON list of the class names; None takes those of the run.
    float_run: the run folder of the float file of the export, whose monitor goes along; None for none.
    """

    run: Path
    export: Path
    settings: BundleSettings
    today: str
    created: datetime | None = None
    override: str = ""
    labels: Path | None = None
    float_run: Path | None = None


@dataclass(frozen=True)
class Built:
    """What was made.

    path: of the bundle.
    sha256: of its bytes. size: their number.
    manifest, statement, envelope: as they are in it.
    reasons: why the run is no release, which the override answers; empty for a release.
    measured: what each tolerance was derived from.
    """

    path: Path
    sha256: str
    size: int
    manifest: bytes
    statement: bytes
    envelope: bytes
    reasons: tuple[str, ...]
    measured: dict[str, tolerances.Tolerance]


def build(request: Request, sign: Sign, out: Path) -> Built:
    """Make a bundle, and write it to `out` in one step.

    sign: returns the envelope of a statement, as `safeml.bundle.signing` does.
    Raises NotReleased for a run that needs an override, InputRefused for evidence, export and model that do not belong together,
    ConfigError for invalid settings, and StageError where the file cannot be written.
    """
    check_release(request.settings)
    if len(request.override) > LONGEST_REASON or not request.override.isprintable():
        raise ConfigError(f"--override is no text of one line with at most {LONGEST_REASON} characters.")
    evidence = read_evidence(request.run, request.today)
    if evidence.run.model.input.get("outputs") == VALUES:
        raise InputRefused(
            f"{request.run}: audits a regression model, and the runtime of the device decides classes; bundles of regression models are "
            "not supported."
        )
    exported = read_export(request.export, evidence)
    stale = stale_sentence(evidence.folder)
    if stale:
        raise InputRefused(f"{evidence.folder}: {stale}")
    spec = contract.spec_of(evidence.run)
    float_run = read_float_run(request.float_run, exported, evidence, spec, request.today)
    reasons = (*evidence.reasons, *(() if evidence.monitor else (NO_MONITOR,)))
    reasons += float_run.reasons() if float_run is not None else ()
    check_override(reasons, request.override, evidence)
    release = Release(
        request.settings, request.created or _end_of(evidence), request.override if reasons else ""
    )
    _check_dates(release, evidence, request.today)
    state = _monitor(evidence, exported.int8)
    float_state = _monitor(float_run.evidence, float_run.model) if float_run is not None else None
    framework.start()
    fixed = {str(key): value for key, value in request.settings.tolerances.items()}
    made = golden.make_golden(exported, spec, state, fixed, float_state)
    files = _files(request, evidence, exported, spec, made)
    if float_run is not None:
        files |= _float_files(float_run)
    entries = {name: _entry(content) for name, content in files.items()}
    _check_unchanged(evidence, exported, entries, float_run)
    try:
        manifest = manifest_bytes(
            release, evidence, exported, spec, made, entries, state is not None, float_run
        )
        statement = statement_bytes(release, evidence, _entry(manifest), entries, exported)
        envelope = sign(statement)
        _write(out, lambda stream: pack(envelope, manifest, sorted(files.items()), stream))
    except Refused as error:
        raise InputRefused(f"{out}: a device would refuse this bundle: {error.message}") from error
    return Built(
        out, file_sha256(out), out.stat().st_size, manifest, statement, envelope, reasons, made.tolerances
    )


def check_override(reasons: Sequence[str], override: str, evidence: Evidence) -> None:
    """Raise NotReleased where the run is no release and no person says why it becomes one."""
    if reasons and not override.strip():
        code = evidence.verdict.exit_code or evidence.run.verdict.exit_code or 4
        raise NotReleased(
            f"{evidence.folder}: is no release. {' '.join(reasons)} A device takes a bundle of it only with --override and its reason, and "
            "only where its settings allow that.",
            code,
        )


def _check_dates(release: Release, evidence: Evidence, today: str) -> None:
    """Raise ConfigError for a bundle that no device would install any more."""
    ends = last_day(release, evidence)
    if ends is not None and ends.date().isoformat() <= today:
        raise ConfigError(
            f"the bundle was made on {release.created.date()} and expired on {ends.date()}; set --created to the day of the release, or a larger "
            "--expires-days."
        )


def _check_unchanged(
    evidence: Evidence, exported: Exported, entries: dict[str, Entry], float_run: FloatRun | None
) -> None:
    """Raise InputRefused for a file that changed after it was checked: `pack` compares with these entries alone."""
    checked = {f"{AUDIT}/{name}": sha256 for name, sha256 in evidence.files.items()}
    checked |= {f"{MONITOR_FOLDER}/{Path(name).name}": evidence.files[name] for name in MONITOR if name in evidence.files}  # fmt: skip
    if float_run is not None:
        own = float_run.evidence.files
        checked |= {name: own[path.relative_to(float_run.evidence.folder).as_posix()] for name, path in _float_files(float_run).items() if path.name != CHECKSUMS}  # fmt: skip
    checked |= {
        f"{FOLDER}/{name}": sha256 for name, sha256 in exported.hashes.items() if name != TFTRT_GOLDEN
    }
    for name, entry in entries.items():
        if checked.get(name, entry.sha256) != entry.sha256:
            raise InputRefused(f"{name}: changed while the bundle was made; make it again when nothing writes to the run or its export.")  # fmt: skip


def _end_of(evidence: Evidence) -> datetime:
    try:
        return datetime.fromisoformat(evidence.times.finished).astimezone(UTC)
    except ValueError:
        raise InputRefused(
            f"{evidence.folder / 'run.json'}: finished is no moment ({evidence.times.finished[:40]}); set --created."
        ) from None


def source_date() -> datetime | None:
    """Return the moment in SOURCE_DATE_EPOCH (reproducible-builds.org), or None where it is not set."""
    text = os.environ.get("SOURCE_DATE_EPOCH", "")
    if not text:
        return None
    try:
        return datetime.fromtimestamp(int(text), UTC)
    except (ValueError, OverflowError, OSError):
        raise ConfigError(f"SOURCE_DATE_EPOCH is {text[:40]!r}; expected seconds since 1970.") from None


def _monitor(evidence: Evidence, file: ModelFile) -> State | None:
    """Return the monitor that the run measured, checked against the audited file; None where the run stored none."""
    if not evidence.monitor:
        return None
    folder = (evidence.folder / MONITOR[0]).parent
    facts = file.facts
    try:
        # A monitor of logits alone was fitted without the features that the file gives.
        text = json.loads(read_plain(evidence.folder / MONITOR[0], MOST_LABEL_BYTES))
        width = facts.sizes.get(FEATURES, 0) if text.get("features") else 0
        return load_state(str(folder), facts.fingerprint, facts.sizes[LOGITS], width)
    except (MonitorRefused, OSError, ValueError, AttributeError) as error:
        raise InputRefused(f"the monitor of the run does not fit the audited file: {error}") from None


def _files(
    request: Request, evidence: Evidence, exported: Exported, spec: Any, made: golden.Golden
) -> dict[str, Content]:
    """Return the files of the bundle by name."""
    names = _labels(request.labels) if request.labels else class_names(evidence.run)
    raw = contract.raw_arrays(spec)
    files: dict[str, Content] = {
        contract.LABELS: json_bytes(contract.labels(names, classes(exported))),
        contract.PREPROCESSING: json_bytes(contract.preprocessing(spec, raw["values"])),
        contract.RAW: npz_bytes(raw),
        golden.FILE: npz_bytes(made.arrays),
        tolerances.FILE: json_bytes(tolerances.record(made.tolerances, made.float_scores)),
        BUNDLED_SUMS: evidence.folder / CHECKSUMS,
        f"{AUDIT}/{EXPORT}": request.export / EXPORT,
        f"runtime/{runtime.WHEEL}": runtime.wheel_bytes(),
    }
    files |= {model.name: model.path for model in exported.models}
    files |= {f"{AUDIT}/{name}": evidence.folder / name for name in evidence.files if name not in MONITOR}
    if (evidence.folder / SIGNATURE).exists():
        files[BUNDLED_SIGNATURE] = evidence.folder / SIGNATURE
    if evidence.monitor:
        files |= {f"{MONITOR_FOLDER}/{Path(name).name}": evidence.folder / name for name in MONITOR}
    if made.tftrt is not None:
        files |= {f"{FOLDER}/{name}": request.export / name for name in exported.tftrt_files}
        # The golden images of the export are the user's calibration images, which stay here.
        files[f"{FOLDER}/{TFTRT_GOLDEN}"] = npz_bytes(made.tftrt)
    return files


def _float_files(float_run: FloatRun) -> dict[str, Path]:
    """Return the files of the run of the float model: its results with their checksums, and its monitor."""
    folder = float_run.evidence.folder
    return {
        f"{FLOAT_AUDIT}/results.json": folder / "results.json",
        f"{FLOAT_AUDIT}/{CHECKSUMS.lower()}.txt": folder / CHECKSUMS,
        **{f"{FLOAT_MONITOR_FOLDER}/{Path(name).name}": folder / name for name in MONITOR},
    }


def _labels(path: Path) -> tuple[str, ...]:
    try:
        value = json.loads(read_plain(path, MOST_LABEL_BYTES))
    except FileNotFoundError:
        raise MissingInput(f"{path}: there is no such file; expected a JSON list of class names.") from None
    except (OSError, ValueError, RecursionError) as error:
        raise InputRefused(f"{path}: cannot be read ({str(error)[:100]}); expected a JSON list of class names.") from None  # fmt: skip
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise InputRefused(f"{path}: is no list of texts; expected a JSON list of class names.")
    return tuple(value)


def _entry(content: Content) -> Entry:
    if isinstance(content, bytes):
        return Entry(len(content), hashlib.sha256(content).hexdigest())
    return Entry(content.stat().st_size, file_sha256(content))


def _write(out: Path, write: Callable[[BinaryIO], None]) -> None:
    """Write a file under a temporary name beside `out` and rename it; on failure nothing is left and an older file stays."""
    temporary = None
    try:
        handle, temporary = tempfile.mkstemp(dir=out.parent, prefix=f".{out.name}.", suffix=".tmp")
        with os.fdopen(handle, "wb") as stream:
            write(stream)
            stream.flush()
            os.fsync(stream.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, out)
        temporary = None
        folder = os.open(out.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise StageError(f"{out}: cannot be written ({error.strerror}); free space, or set another file with --out.") from error  # fmt: skip
    finally:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)
