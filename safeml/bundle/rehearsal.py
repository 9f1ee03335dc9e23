"""A rehearsal: the edge runtime on this machine installs a bundle, tests it and runs it on frames, as a device does, with ONNX Runtime.

It is a separate record, made after the bundle. No latency of a device is measured by it.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from safeml.bundle.reading import OpenedBundle, read_bundle, refusals
from safeml.bundle.signing import public_bytes, sign
from safeml.edge import container, dsse
from safeml.edge.errors import REFUSED
from safeml.edge.settings import Key
from safeml.errors import ConfigError, InputRefused
from safeml.store.files import atomic_write, make_folder

RECORD, PAGE, SETTINGS, ROOT = "rehearsal.json", "device.html", "device.json", "device"
FRAMES_FILE, TRIAL = "frames.npz", "trial.safeml"
FRAMES, SEED = 300, 11
CALLS = 200
MOST_SIDE = 128


@dataclass(frozen=True)
class Step:
    """One command of the edge runtime.

    command: its arguments. exit_code: of `safeml-edge`. output: what it printed, without an end of line.
    """

    command: tuple[str, ...]
    exit_code: int
    output: str


@dataclass(frozen=True)
class Rehearsal:
    """What a rehearsal did.

    folder: with the device, its page and the record.
    refused: how a device refuses the bundle as it is; "" for a signed one.
    steps: in their order; none follows a step that failed.
    """

    folder: Path
    refused: str
    steps: tuple[Step, ...]

    @property
    def exit_code(self) -> int:
        """Return the first exit code that is not 0, else 0."""
        return next((step.exit_code for step in self.steps if step.exit_code), 0)

    @property
    def page(self) -> Path:
        """Return the page of the device; it exists if the steps reached it."""
        return self.folder / PAGE


def rehearse(
    bundle: Path,
    folder: Path,
    keys: list[Key],
    source: Path | None = None,
    *,
    allow_override: bool = False,
    show: Callable[[Step], None] = lambda step: None,
) -> Rehearsal:
    """Install a bundle on a device that exists in `folder` alone, test it and run it.

    keys: the public keys that this device trusts; at least one for a signed bundle.
    source: frames, as `safeml-edge run` takes them; by default rendered signs.
    allow_override: as in the settings of a device. An unsigned bundle is refused first, which is recorded; then a copy that is signed
        by a key for this rehearsal alone goes through, whatever its override.
    Raises InputRefused for a bundle that no device could read, ConfigError for a folder with other content or a signed bundle without keys.
    """
    opened = read_bundle(bundle, keys)
    if opened.signers and not keys:
        raise ConfigError(f"{bundle}: is signed; name the public key that a device trusts with --public.")
    _empty(folder)
    make_folder(folder)
    refused = ""
    path = bundle.absolute()
    if not opened.signers:
        public, path = _signed_copy(bundle, folder)
        _settings(folder, opened, [public], True)
        refused = _refusal(bundle, folder)
    else:
        _settings(folder, opened, [key.public for key in keys], allow_override)
    frames = source.absolute() if source is not None else _rendered(folder, opened)
    steps: list[Step] = []
    for command in (
        ("preflight",),
        ("install", str(path)),
        ("selftest",),
        ("bench", "--calls", str(CALLS)),
        ("run", str(frames), "--out", str(folder.absolute() / "frames.jsonl")),
        ("report", "--out", str(folder.absolute() / PAGE)),
    ):
        steps.append(_run(folder, command))
        show(steps[-1])
        if steps[-1].exit_code:
            break
    made = Rehearsal(folder, refused, tuple(steps))
    record = {
        "bundle": bundle.name,
        "sha256": opened.sha256,
        "refused": refused,
        "steps": [asdict(step) for step in steps],
    }
    atomic_write(folder / RECORD, json.dumps(record, indent=1) + "\n")
    if not opened.signers:
        path.unlink()
    return made


def _empty(folder: Path) -> None:
    """Remove an earlier rehearsal; other content is not touched."""
    if not folder.exists():
        return
    if not folder.is_dir() or (any(folder.iterdir()) and not (folder / SETTINGS).is_file()):
        raise ConfigError(f"{folder}: holds no earlier rehearsal; name another folder with --out.")
    for key in folder.glob("trusted-*.pub"):
        key.unlink()
    for name in (RECORD, PAGE, SETTINGS, "frames.jsonl", FRAMES_FILE, TRIAL):
        (folder / name).unlink(missing_ok=True)
    shutil.rmtree(folder / ROOT, ignore_errors=True)


def _signed_copy(bundle: Path, folder: Path) -> tuple[bytes, Path]:
    """Write a copy of an unsigned bundle, signed by a key that is not kept; return its public half and the copy."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    key, copy = Ed25519PrivateKey.generate(), folder / TRIAL
    with refusals(bundle):
        source = container.open_container(str(bundle))
        with source.stream, copy.open("wb") as out:
            envelope = sign(dsse.parse_envelope(source.envelope).payload, [key])
            out.write(container.HEAD.pack(container.MAGIC, len(envelope), len(source.manifest)))
            out.write(envelope)
            out.write(source.manifest)
            shutil.copyfileobj(source.stream, out)
    return public_bytes(key), copy.absolute()


def _refusal(bundle: Path, folder: Path) -> str:
    """Return how the device refuses the unsigned bundle; one that accepts it ends the rehearsal."""
    step = _run(folder, ("verify", str(bundle.absolute())))
    if step.exit_code != REFUSED or "[unsigned]" not in step.output:
        raise InputRefused(
            f"{bundle}: is unsigned, and the edge runtime did not refuse it for that: {step.output}"
        )
    return step.output


def _settings(folder: Path, opened: OpenedBundle, keys: list[bytes], allow_override: bool) -> None:
    names = [f"trusted-{place}.pub" for place in range(len(keys))]
    for name, public in zip(names, keys, strict=True):
        atomic_write(folder / name, public.hex() + "\n")
    settings = {
        "format": 1,
        "product": opened.manifest.product,
        "device_id": "rehearsal",
        "root": str(folder.absolute() / ROOT),
        "keys": [{"file": name} for name in names],
        "allow_override": allow_override,
        "backend": "onnxruntime",
    }
    atomic_write(folder / SETTINGS, json.dumps(settings, indent=1) + "\n")


def _rendered(folder: Path, opened: OpenedBundle) -> Path:
    """Write rendered signs as frames, larger than the input of the model."""
    from safeml.data.rendered import render

    side = max(opened.manifest.input.height, opened.manifest.input.width)
    data = render(images=FRAMES, seed=SEED, size=min(MOST_SIDE, 2 * side))
    path = folder / FRAMES_FILE
    np.savez(path, images=data.images, tracks=np.asarray(data.tracks))
    return path.absolute()


def _run(folder: Path, command: tuple[str, ...]) -> Step:
    """Run a command of the edge runtime in a separate process."""
    child = subprocess.run(
        [
            sys.executable,
            "-P",
            "-m",
            "safeml.edge",
            "--settings",
            str(folder.absolute() / SETTINGS),
            *command,
        ],
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    return Step(command, child.returncode, (child.stdout + child.stderr).strip())
