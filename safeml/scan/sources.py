"""Which file is the model, where the user named a folder, a file of weights, or an architecture."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safeml.errors import InputRefused
from safeml.limits import LIMITS
from safeml.scan.base import Refused
from safeml.scan.checkpoints import choose
from safeml.scan.strict_json import parse

MANIFEST = "training.json"
WEIGHTS = (".weights.h5", ".h5", ".hdf5")
HEAD_BYTES = 4096


@dataclass(frozen=True)
class Source:
    """file: the model's file, or its SavedModel folder. chosen: one sentence why it is this one of its folder, or "".

    architecture: the JSON architecture that the user named, where the file holds weights alone.
    manifest: `training.json` of `safeml train`, where the file is the checkpoint that it chose.
    """

    file: Path
    chosen: str = ""
    architecture: Path | None = None
    manifest: dict[str, Any] | None = None


def find_model(path: Path) -> Source:
    """The model that `path` names. Raises InputRefused where a folder does not say which of its files it is."""
    if os.path.islink(path) or not os.path.isdir(path):
        if path.suffix == ".json":
            return Source(_weights_beside(path), architecture=path)
        manifest = read_manifest(path.parent)
        chosen = (manifest or {}).get("chosen", {})
        is_chosen = isinstance(chosen, dict) and chosen.get("file") == path.name
        return Source(path, manifest=manifest if is_chosen else None)
    if os.path.exists(path / "saved_model.pb"):
        return Source(path)
    manifest = read_manifest(path)
    if manifest is not None and "chosen" in manifest:
        return Source(_chosen(path, manifest), "the checkpoint that training.json names", manifest=manifest)
    checkpoint = choose(path)
    return Source(checkpoint.path, checkpoint.reason)


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """`training.json` in `folder`, or None where there is none."""
    path = folder / MANIFEST
    if not os.path.isfile(path):
        return None
    try:
        with path.open("rb") as stream:
            raw = stream.read(LIMITS.config_bytes + 1)
        if len(raw) > LIMITS.config_bytes:
            raise Refused(f"is larger than {LIMITS.config_bytes >> 20} MiB")
        manifest = parse(raw, "it")
    except (OSError, Refused) as error:
        raise InputRefused(f"{path}: {error}; expected the manifest of `safeml train`.") from error
    if not isinstance(manifest, dict):
        raise InputRefused(f"{path}: is not a manifest of `safeml train`; expected a JSON object.")
    return manifest


def architecture_beside(weights: Path) -> Path:
    """The JSON architecture beside a file of weights: of the same name, else the only one."""
    stem = weights.name.removesuffix(weights.suffix).removesuffix(".weights")
    named = weights.with_name(f"{stem}.json")
    if os.path.isfile(named):
        return named
    others = [path for path in sorted(weights.parent.glob("*.json")) if _is_architecture(path)]
    if len(others) == 1:
        return others[0]
    raise InputRefused(
        f"{weights}: holds weights alone, and {len(others)} JSON architectures stand beside it; "
        f"expected that of model.to_json() as {named.name}."
    )


def _is_architecture(path: Path) -> bool:
    """By a look at its head, to tell it from histories; the scan reads it whole."""
    if os.path.islink(path) or not os.path.isfile(path):
        return False
    try:
        with path.open("rb") as stream:
            return b'"class_name"' in stream.read(HEAD_BYTES)
    except OSError:
        return False


def _weights_beside(architecture: Path) -> Path:
    for suffix in WEIGHTS:
        weights = architecture.with_name(architecture.stem + suffix)
        if os.path.isfile(weights):
            return weights
    others = [path for suffix in WEIGHTS[1:] for path in sorted(architecture.parent.glob(f"*{suffix}"))]
    if len(others) == 1:
        return others[0]
    raise InputRefused(
        f"{architecture}: is an architecture without weights; {len(others)} HDF5 files stand beside it, "
        f"expected {architecture.stem}.weights.h5."
    )


def _chosen(folder: Path, manifest: dict[str, Any]) -> Path:
    chosen = manifest.get("chosen")
    name = Path(str(chosen.get("file", ""))).name if isinstance(chosen, dict) else ""
    if name in ("", ".", "..") or not name.isprintable():
        raise InputRefused(f"{folder / MANIFEST}: names no chosen checkpoint; train again.")
    return folder / name
