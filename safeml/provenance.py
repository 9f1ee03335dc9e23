"""The environment of a run: code, packages and machine."""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import os
import platform
import subprocess
import sys
from pathlib import Path

from safeml.errors import ConfigError

# Packages and files that call, plan, decide, compare, display or store, and so change no recorded number. All others count as
# measuring code, including new ones.
NOT_MEASURING = (
    "api",
    "cli",
    "comparison",
    "defaults.py",
    "gates.py",
    "interruption.py",
    "planning",
    "recipes.py",
    "report",
    "scale",
    "store",
    "verdict_text.py",
    "version.py",
    "worker",
)
CODE = (".py", ".so", ".pyd")
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
    """Return the sha256 of the measuring code: results of other code are measured again, whatever the version."""
    digest = hashlib.sha256()
    for file in sorted(package.rglob("*.py")):
        name = file.relative_to(package)
        if name.parts[0] not in NOT_MEASURING:
            digest.update(f"{name.as_posix()}\0".encode() + file.read_bytes())
    return digest.hexdigest()


def code_of(function: str) -> str:
    """Return the sha256 of the package that holds "module:function", or of the module where it is in none.

    For a stage of another package: `measuring_code` does not cover it.
    """
    top = function.partition(":")[0].partition(".")[0]
    spec = importlib.util.find_spec(top)
    if spec is None:
        raise ConfigError(f"{function}: the package {top} cannot be found; install it again.")
    digest = hashlib.sha256()
    for root in map(Path, spec.submodule_search_locations or ()):
        for file in sorted(path for path in root.rglob("*") if path.suffix in CODE):
            digest.update(f"{file.relative_to(root).as_posix()}\0".encode() + file.read_bytes())
    if spec.submodule_search_locations is None and spec.origin is not None:
        digest.update(Path(spec.origin).read_bytes())
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
    """Return what a run was measured on, with the devices of TensorFlow where it was started: "CPU:0", "GPU:0"."""
    known = {"system": platform.system(), "machine": platform.machine(), "cores": str(os.cpu_count() or 0)}
    tensorflow = sys.modules.get("tensorflow")
    if tensorflow is not None:
        devices = tensorflow.config.list_physical_devices()
        known["devices"] = " and ".join(device.name.removeprefix("/physical_device:") for device in devices)
    return known


def commit(folder: Path) -> str:
    """Return the commit of the checkout of the settings, with '+' for local changes; '' outside a checkout."""
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
