"""Tiny bundles for tests: signed with keys of fixed bytes, some 5 KB long, changed at will.

`Bundle` holds the JSON values of a good bundle; a test changes them and calls `write`, which seals and signs what is there.
`pack_freely` writes what `container.pack` refuses to write.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from safeml.bundle.signing import public_bytes
from safeml.edge import container, dsse
from safeml.edge.errors import REASONS, Refused
from safeml.edge.settings import DeviceSettings, Key, key_id
from safeml.edge.verify import Verified, verify_bundle, verify_folder

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
SECOND = Ed25519PrivateKey.from_private_bytes(bytes(range(32, 64)))
FOREIGN = Ed25519PrivateKey.from_private_bytes(bytes(range(64, 96)))
PRODUCT = "test signs"
CREATED, EXPIRES = "2026-11-01T00:00:00Z", "2027-11-01T00:00:00Z"
NOW = 1_796_000_000  # 30 November 2026
FINGERPRINT = "sha256:" + "5" * 64
FLOAT_FINGERPRINT = "f" * 64
FILES = {
    "audit/results.json": b'{"results": []}',
    "golden/golden.npz": b"golden",
    "golden/raw.npz": b"raw",
    "labels.json": b'["stop", "yield"]',
    "models/model.int8.onnx": b"model" * 20,
    "monitor/monitor.json": b"{}",
    "monitor/monitor.npz": b"arrays",
    "preprocessing.json": b"{}",
}


class Facts(NamedTuple):
    """The facts of a device that verification reads; any of them may be None."""

    architecture: str | None = "aarch64"
    compute_capability: str | None = "8.7"
    tensorrt: str | None = "10.3.0"
    jetpack: str | None = "6.2"
    memory_mb: int | None = 7620


FACTS = Facts()


def settings(folder: Path | str = "/nowhere", **changes: Any) -> DeviceSettings:
    """Return the settings of a device that trusts `KEY`."""
    return DeviceSettings(PRODUCT, "device-1", str(folder), (trust(KEY),))._replace(**changes)


def trust(key: Ed25519PrivateKey, **changes: Any) -> Key:
    """Return a trust key."""
    public = public_bytes(key)
    return Key(key_id(public), public)._replace(**changes)


def write_settings(
    folder: Path, root: Path, signers: tuple[Ed25519PrivateKey, ...] = (KEY,), **changes: Any
) -> Path:
    """Write device.json with its key files to a folder and return its path."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o755)
    rows = []
    for place, key in enumerate(signers):
        file = folder / f"key{place}.pub"
        file.write_text(public_bytes(key).hex() + "\n")
        file.chmod(0o644)
        rows.append({"file": file.name})
    value = {"format": 1, "product": PRODUCT, "device_id": "device-1", "root": str(root), "keys": rows}
    path = folder / "device.json"
    path.write_text(json.dumps({**value, **changes}))
    path.chmod(0o644)
    return path


def digest(content: bytes) -> str:
    """Return the sha256 in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


class Bundle:
    """A good bundle to change.

    files: content by name.
    manifest: the JSON value without `files`, which `seal` adds, unless it is there.
    statement: the JSON value without `subject`, which `seal` adds, unless it is there.
    keys: that sign.
    """

    def __init__(self, release: int = 5, files: dict[str, bytes] | None = None) -> None:
        self.files = dict(FILES if files is None else files)
        self.keys: tuple[Ed25519PrivateKey, ...] = (KEY,)
        self.payload_type = dsse.PAYLOAD_TYPE
        tests = {"passedTests": ["accuracy"], "warnedTests": [], "failedTests": []}
        self.manifest: dict[str, Any] = {
            "format": 1,
            "product": PRODUCT,
            "release": release,
            "version": f"1.{release}",
            "created": CREATED,
            "expires": EXPIRES,
            "runtime": "0.1",
            "classes": 2,
            "features": 4,
            "input": {
                "height": 8,
                "width": 8,
                "depth": 3,
                "channels": "rgb",
                "low": 0.0,
                "high": 1.0,
                "mean": [],
                "std": [],
                "standardise": False,
            },
            "models": {
                "int8": {
                    "file": "models/model.int8.onnx",
                    "fingerprint": FINGERPRINT,
                    "kind": "onnx",
                    "precision": "int8",
                    "opset": 13,
                    "inputs": ["images"],
                    "outputs": ["logits", "features"],
                }
            },
            "labels": "labels.json",
            "preprocessing": {"file": "preprocessing.json", "raw": "golden/raw.npz"},
            "golden": {"file": "golden/golden.npz", "tolerances": {"int8": {"max_abs": 0.01, "flips": 0}}},
            "monitor": "monitor/",
            "monitor_model": FINGERPRINT,
            "constraints": {
                "architectures": ["aarch64"],
                "compute_capabilities": ["8.7"],
                "tensorrt": {"least": "8.2", "below": "11"},
                "jetpack": {"least": "4.6", "below": "7"},
                "memory_mb": 2000,
            },
            "evidence": {
                "verdict": "passed",
                "profile": "full",
                "rules": "1",
                "results_sha256": digest(self.files.get("audit/results.json", b"")),
                "gates": {"passed": 1, "failed": 0, "not_proven": 0, "waived": 0},
                "model_fingerprint": FINGERPRINT,
            },
        }
        self.statement: dict[str, Any] = {
            "_type": "https://in-toto.io/Statement/v1",
            "predicateType": "https://in-toto.io/attestation/test-result/v0.1",
            "predicate": {
                "result": "PASSED",
                "configuration": [subject("safeml.toml", digest(b"settings"))],
                **tests,
                "safeml": {
                    "profile": "full",
                    "verdict": "passed",
                    "exit_code": 0,
                    "override": None,
                    "release": release,
                    "product": PRODUCT,
                },
            },
        }

    def overridden(self, reason: str = "bench test") -> Bundle:
        """Make it the bundle of a failed audit with an override."""
        self.statement["predicate"].update(result="FAILED", failedTests=["robustness"])
        self.statement["predicate"]["safeml"].update(
            verdict="failed", exit_code=1, override={"reason": reason}
        )
        self.manifest["evidence"]["verdict"] = "failed"
        return self

    def with_float(self, **changes: Any) -> Bundle:
        """Add the float model with its monitor. changes: of `float_monitor`."""
        self.files |= {
            "models/model.float.onnx": b"float model" * 9,
            "monitor-float/monitor.json": b"{}",
            "monitor-float/monitor.npz": b"arrays",
            "audit-float/results.json": b"{}",
        }
        row = self.manifest["models"]["int8"]
        self.manifest["models"]["float"] = {
            **row,
            "file": "models/model.float.onnx",
            "fingerprint": FLOAT_FINGERPRINT,
            "precision": "float",
        }
        self.manifest["golden"]["tolerances"]["float"] = {"max_abs": 0.1, "flips": 0}
        self.manifest["float_monitor"] = {
            "folder": "monitor-float/",
            "model": FLOAT_FINGERPRINT,
            "max_abs": 0.05,
            "verdict": "passed",
            "profile": "full",
            "results_sha256": digest(self.files["audit-float/results.json"]),
            **changes,
        }
        return self

    def listed(self) -> list[dict[str, Any]]:
        """Return the rows of `files` of the manifest."""
        return [
            {"name": name, "bytes": len(content), "sha256": digest(content)}
            for name, content in sorted(self.files.items())
        ]

    def manifest_bytes(self) -> bytes:
        """Return the manifest as JSON."""
        return as_json({"files": self.listed(), **self.manifest})

    def statement_bytes(self) -> bytes:
        """Return the statement as JSON, about the manifest as it is now."""
        models = [one["file"] for one in self.manifest["models"].values() if "file" in one]
        named = [name for name in [*models, "audit/results.json"] if name in self.files]
        subjects = [
            subject("manifest.json", digest(self.manifest_bytes())),
            *(subject(name, digest(self.files[name])) for name in named),
        ]
        return as_json({"subject": subjects, **self.statement})

    def envelope_bytes(self) -> bytes:
        """Return the statement signed by each key."""
        return signed(self.statement_bytes(), self.keys, self.payload_type)

    def content(self) -> bytes:
        """Return the container, with whatever is in it."""
        return pack_freely(
            self.envelope_bytes(), self.manifest_bytes(), [c for _, c in sorted(self.files.items())]
        )

    def write(self, path: Path) -> Path:
        """Write the container and return its path."""
        path.write_bytes(self.content())
        return path


def subject(name: str, sha256: str) -> dict[str, Any]:
    """Return a subject of a statement."""
    return {"name": name, "digest": {"sha256": sha256}}


def as_json(value: Any) -> bytes:
    """Return compact JSON, also of what strict JSON has not (NaN)."""
    return json.dumps(value, separators=(",", ":")).encode()


def signed(payload: bytes, keys: tuple[Ed25519PrivateKey, ...], kind: str = dsse.PAYLOAD_TYPE) -> bytes:
    """Return the envelope of any payload, signed by each key."""
    message = dsse.pae(kind, payload)
    signatures = tuple(dsse.Signature(trust(key).keyid, key.sign(message)) for key in keys)
    return dsse.write_envelope(dsse.Envelope(kind, payload, signatures))


def pack_freely(envelope: bytes, manifest: bytes, contents: list[bytes]) -> bytes:
    """Return a container without a check of what is in it."""
    head = container.HEAD.pack(container.MAGIC, len(envelope), len(manifest))
    return head + envelope + manifest + b"".join(contents)


@contextmanager
def refused(reason: str, words: str = "") -> Iterator[None]:
    """Expect a refusal with this reason code, and one sentence that matches `words`."""
    assert reason in REASONS
    with pytest.raises(Refused, match=words or None) as caught:
        yield
    assert caught.value.reason == reason, caught.value
    assert caught.value.message.isprintable()
    assert caught.value.message.endswith(".")


class Device(NamedTuple):
    """A device that is asked about a bundle."""

    settings: DeviceSettings = settings()
    facts: Facts = FACTS
    last_release: int = 4
    now: float = NOW


THIS = Device()


def verified(path: Path, device: Device = THIS) -> Verified:
    """Return what a device believes of a bundle."""
    return verify_bundle(str(path), *device)


def started(folder: Path, device: Device = THIS) -> Verified:
    """Return what a device believes of the folder of a slot."""
    return verify_folder(str(folder), device.settings, device.facts, device.now)


def relisted(change: Callable[[list[dict[str, Any]]], Any]) -> Callable[[Bundle], None]:
    """A change of the list of files, which the contents do not follow."""

    def apply(bundle: Bundle) -> None:
        rows = bundle.listed()
        change(rows)
        bundle.manifest["files"] = sorted(rows, key=lambda row: row["name"])

    return apply


INDEX: dict[str, Any] = {
    "format": 1,
    "product": "signs",
    "release": 7,
    "file": "signs-7.safeml",
    "bytes": 1000,
}


def index(**changes: Any) -> bytes:
    """Return the index of release 7, with changes."""
    return json.dumps({**INDEX, **changes}).encode()
