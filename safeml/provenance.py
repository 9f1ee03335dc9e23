"""What a run depended on beside model and data: code, packages, machine."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path

# Rooms and files that plan, decide, show, store or train, and so change no recorded number. Everything else is taken to
# measure: a room that is added does so by default.
NOT_MEASURING = (
    "cli",
    "defaults.py",
    "gates.py",
    "interruption.py",
    "planning",
    "recipes.py",
    "report",
    "store",
    "training",
    "verdict_text.py",
    "version.py",
)
PACKAGES = (
    "numpy",
    "scipy",
    "tensorflow",
    "keras",
    "h5py",
    "onnxruntime",
    "adversarial-robustness-toolbox",
    "pillow",
)


def measuring_code(package: Path = Path(__file__).parent) -> str:
    """Return the sha256 of the code that measures: a number of other code is measured again, whatever the version says."""
    digest = hashlib.sha256()
    for file in sorted(package.rglob("*.py")):
        name = file.relative_to(package)
        if name.parts[0] not in NOT_MEASURING:
            digest.update(f"{name.as_posix()}\0".encode() + file.read_bytes())
    return digest.hexdigest()


def versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def hardware() -> dict[str, str]:
    return {"system": platform.system(), "machine": platform.machine(), "cores": str(os.cpu_count() or 0)}


def commit(folder: Path) -> str:
    """The commit of the checkout that the settings stand in, '+' where it has local changes; '' outside of one."""
    try:
        done = subprocess.run(
            ["git", "describe", "--always", "--dirty=+", "--abbrev=10", "--exclude=*"],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
