"""The manifest and the statement of a bundle, written from the evidence and read back by the code that a device uses."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from safeml.bundle import contract, devices, golden
from safeml.bundle.evidence import Evidence
from safeml.bundle.float_run import MONITOR as FLOAT_FOLDER
from safeml.bundle.float_run import FloatRun
from safeml.bundle.models import FLOAT, FOLDER, Exported, classes, features
from safeml.bundle.reading import MONITOR_FOLDER
from safeml.classifiers.base import InputSpec
from safeml.edge.manifest import FORMAT, RESULTS_FILE, check_files, parse_manifest
from safeml.edge.statement import MANIFEST, Resource, Statement, write_statement
from safeml.edge.strict_json import write
from safeml.edge.version import VERSION
from safeml.errors import ConfigError, InputRefused
from safeml.export.tftrt import SAVED_MODEL
from safeml.settings.bundle import BundleSettings, ConstraintSettings
from safeml.store.files import content_key


@dataclass(frozen=True)
class Entry:
    """A file of a bundle: its length and the sha256 of its content."""

    bytes: int
    sha256: str


@dataclass(frozen=True)
class Release:
    """What the user says of a release.

    settings: of the table `[bundle]`.
    created: when it counts as made (UTC).
    override: why it is released without a passed full audit; "" where it needs no reason.
    """

    settings: BundleSettings
    created: datetime
    override: str

    @property
    def number(self) -> int:
        """The number of the release."""
        assert self.settings.release is not None  # checked by `check_release`
        return self.settings.release


def manifest_bytes(
    release: Release,
    evidence: Evidence,
    exported: Exported,
    spec: InputSpec,
    made: golden.Golden,
    entries: dict[str, Entry],
    monitor: bool,
    float_run: FloatRun | None = None,
) -> bytes:
    """Return the manifest. Raises InputRefused for a model that the format of a device cannot express."""
    settings = release.settings
    expires = last_day(release, evidence)
    value = {
        "format": FORMAT,
        "product": settings.product,
        "release": release.number,
        "version": settings.version or str(release.number),
        "created": utc(release.created),
        "expires": utc(expires) if expires else None,
        "runtime": VERSION,
        "files": [
            {"name": name, "bytes": entry.bytes, "sha256": entry.sha256}
            for name, entry in sorted(entries.items())
        ],
        "classes": classes(exported),
        "features": features(exported),
        "input": _input(spec),
        "models": _models(exported, made, entries),
        "labels": contract.LABELS,
        "preprocessing": {"file": contract.PREPROCESSING, "raw": contract.RAW},
        "golden": {
            "file": golden.FILE,
            "tolerances": {key: {"max_abs": one.max_abs, "flips": 0} for key, one in made.tolerances.items()},
        },
        "monitor": f"{MONITOR_FOLDER}/" if monitor else None,
        "monitor_model": exported.int8.facts.fingerprint if monitor else None,
        "constraints": constraints(settings.constraints, exported),
        "evidence": {
            "verdict": evidence.verdict.status,
            "profile": evidence.run.profile,
            "rules": str(evidence.verdict.rules),
            "results_sha256": evidence.results_sha256,
            "gates": evidence.counts(),
            "model_fingerprint": evidence.run.model.fingerprint,
        },
    }  # fmt: skip
    if float_run is not None:
        value["float_monitor"] = _float_monitor(float_run, made)
    data = write(value)
    check_files(parse_manifest(data))
    return data


def _float_monitor(float_run: FloatRun, made: golden.Golden) -> dict[str, Any]:
    assert made.float_scores is not None  # computed for its state
    own = float_run.evidence
    return {
        "folder": f"{FLOAT_FOLDER}/",
        "model": float_run.model.facts.fingerprint,
        "max_abs": made.float_scores.max_abs,
        "verdict": own.verdict.status,
        "profile": own.run.profile,
        "results_sha256": own.results_sha256,
    }


def _input(spec: InputSpec) -> dict[str, Any]:
    """Return the table `input`: mean and std are both there or both empty."""
    if spec.low > spec.high:
        raise InputRefused(
            f"results.json: the input range is {spec.low:g} to {spec.high:g}; a bundle needs the lower end first, so train with another range."
        )
    table = contract.input_table(spec)
    if spec.mean or spec.std:
        table["mean"] = list(spec.mean or (0.0,) * spec.depth)
        table["std"] = list(spec.std or (1.0,) * spec.depth)
    return table


def _models(exported: Exported, made: golden.Golden, entries: dict[str, Entry]) -> dict[str, Any]:
    models: dict[str, Any] = {
        model.key: {
            "file": model.name,
            "fingerprint": model.facts.fingerprint,
            "kind": "onnx",
            "precision": model.key,
            "opset": model.facts.opset,
            "inputs": list(model.facts.inputs),
            "outputs": sorted(model.facts.outputs, key="logits".__ne__),
        }
        for model in exported.models
    }
    if golden.TFTRT in made.tolerances:
        folder = f"{FOLDER}/{golden.TFTRT}/{SAVED_MODEL}"
        hashes = {name: entry.sha256 for name, entry in entries.items() if name.startswith(f"{folder}/")}
        models[golden.TFTRT] = {
            "folder": folder,
            "fingerprint": content_key(hashes),
            "kind": "saved_model",
            "precision": golden.TFTRT,
            "opset": 0,
            "inputs": ["image"],
            "outputs": ["logits"],
        }
    return models


def constraints(settings: ConstraintSettings, exported: Exported) -> dict[str, Any]:
    """Return the table `constraints`: the settings, and the defaults of the table of devices."""
    with_float = any(model.key == FLOAT for model in exported.models)
    largest = max(model.path.stat().st_size for model in exported.models)
    memory = settings.memory_mb
    return {
        "architectures": list(settings.architectures),
        "compute_capabilities": list(settings.compute_capabilities or devices.capabilities(with_float)),
        "tensorrt": {
            "least": settings.tensorrt_least or devices.oldest_tensorrt(with_float),
            "below": settings.tensorrt_below or devices.UNKNOWN_TENSORRT,
        },
        "jetpack": {"least": settings.jetpack_least or None, "below": settings.jetpack_below or None},
        "memory_mb": devices.memory_mb(largest) if memory is None else memory,
    }


def statement_bytes(
    release: Release, evidence: Evidence, manifest: Entry, entries: dict[str, Entry], exported: Exported
) -> bytes:
    """Return the statement to sign."""
    subjects = [Resource(MANIFEST, manifest.sha256)]
    subjects += [Resource(model.name, entries[model.name].sha256) for model in exported.models]
    subjects.append(Resource(RESULTS_FILE, entries[RESULTS_FILE].sha256))
    run = evidence.run
    limits = [entry.model_dump(mode="json") for entry in (*run.gates, *run.accepted, *run.requirements)]
    return write_statement(
        Statement(
            subjects=tuple(subjects),
            result=evidence.result(bool(release.override)),
            configuration=(
                Resource("settings", content_key(evidence.run.configuration)),
                Resource("limits", content_key(limits)),
            ),
            passed=tuple(evidence.tests("passed")),
            warned=tuple(evidence.tests("not_proven", "waived")),
            failed=tuple(evidence.tests("failed")),
            profile=evidence.run.profile,
            verdict=evidence.verdict.status,
            exit_code=evidence.verdict.exit_code,
            override=release.override or None,
            release=release.number,
            product=release.settings.product,
        )
    )


def last_day(release: Release, evidence: Evidence) -> datetime | None:
    """Return when the bundle expires: after the days of the settings, and not after a waiver that the verdict needs.

    None where nothing ends it.
    """
    days = release.settings.expires_days
    ends = [release.created + timedelta(days=days)] if days else []
    for result in evidence.verdict.gates:
        if result.status == "waived" and result.gate.waiver is not None:
            until = datetime.fromisoformat(result.gate.waiver.until).replace(tzinfo=UTC)
            ends.append(until + timedelta(days=1))
    return min(ends) if ends else None


def utc(moment: datetime) -> str:
    """Return a moment as the manifest writes it."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def check_release(settings: BundleSettings) -> None:
    """Raise ConfigError for a release without product or number."""
    if not settings.product:
        raise ConfigError("the bundle has no product; set bundle.product in the settings, or --product.")
    if settings.release is None:
        raise ConfigError(
            "the bundle has no release number; set --release, or bundle.release in the settings."
        )
