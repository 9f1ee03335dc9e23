"""What a run depended on beside model and data: code, packages, machine."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path

MEASURING = ("attacks", "audits", "classifiers", "data", "metrics", "scan", "statistics")
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


def measuring_code() -> str:
    """sha256 of the code that measures: numbers of other code are measured again, whatever the version says."""
    package = Path(__file__).parent
    digest = hashlib.sha256()
    for room in MEASURING:
        for file in sorted((package / room).rglob("*.py")):
            digest.update(f"{file.relative_to(package).as_posix()}\0".encode() + file.read_bytes())
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
