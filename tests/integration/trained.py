"""One tiny model, trained once a session, and the one run of it that the tests read: also where several workers share it."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import budget, tiny

# Correct for a third of the test images: enough for every attack to have some, and few enough to fail.
RECIPE = """
name = "tiny"
architecture = "lenet"
width = 4
epochs = 6
batch = 16
learning_rate = 0.01
[data.train]
kind = "rendered"
images = 860
seed = 1
[data.valid]
kind = "rendered"
images = 430
seed = 2
[augment]
shift = 0
rotation_degrees = 0
zoom = 0
brightness = 0
contrast = 0
"""
CONFIG = f"""
[model]
recipe = "recipe.toml"
[data.test]
kind = "rendered"
images = 430
seed = 3
[data.train]
kind = "rendered"
images = 860
seed = 1
[data.valid]
kind = "rendered"
images = 430
seed = 2
{tiny.toml(physical={"images": 16, "patch_pair": ["No entry", "No passing"]})}
[[gates]]
id = "accuracy"
stage = "performance"
metric = "clean_accuracy"
op = ">="
threshold = THRESHOLD
"""


def write_project(folder: Path, threshold: float = 0.95, extra: str = "") -> Path:
    """Write recipe and settings; return the settings."""
    (folder / "recipe.toml").write_text(RECIPE)
    (folder / "safeml.toml").write_text(CONFIG.replace("THRESHOLD", str(threshold)) + extra)
    return folder / "safeml.toml"


def safeml(*arguments: object, **options: object) -> subprocess.CompletedProcess[str]:
    """Run a command."""
    command = [sys.executable, "-m", "safeml.cli.main", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300, **options)  # type: ignore[call-overload]


def trained_model(project: Path) -> Path:
    """Return the folder of the model that was trained in `project`."""
    [trained] = (project / "reports" / "trained").iterdir()
    return trained


def session_project(factory: pytest.TempPathFactory) -> Path:
    """Return the folder `project` whose model is trained and whose run is in `run`. The first to ask makes it."""
    shared = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    folder = shared / "tiny" / "project"
    folder.parent.mkdir(exist_ok=True)
    with (folder.parent / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            folder.mkdir()
            with budget.shared("the run that files share"):
                done = safeml("run", "--config", write_project(folder), "--out", folder / "run")
            (folder / "run.log").write_text(f"{done.returncode}\n{done.stderr}")
    code, _, errors = (folder / "run.log").read_text().partition("\n")
    assert code == "1", errors
    return folder
