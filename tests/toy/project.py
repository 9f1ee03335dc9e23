"""A project whose model and images are toys, and processes that audit it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests import tiny
from tests.toy.classifier import write_data, write_model

ROOT = Path(__file__).parents[2]
CONFIG = f"""
[model]
path = "toy.model"
[data.test]
kind = "npz"
path = "test.npz"
frames_per_sign = 1
[data.train]
kind = "npz"
path = "train.npz"
[stages.performance]
bootstrap = 100
[stages.calibration]
resamples = 100
{tiny.without("adversarial", "physical", "perturbation", "fairness", "data_quality", "privacy", "explainability", "monitors")}
[[gates]]
id = "accuracy"
stage = "performance"
metric = "clean_accuracy"
op = ">="
threshold = 0.95
[[gates]]
id = "dimmed"
stage = "toy"
metric = "dimmed_accuracy"
op = ">="
threshold = 0.5
"""


def write_toy(folder: Path) -> Path:
    """Write model, images and settings; return the settings."""
    write_model(folder / "toy.model")
    for seed, name in enumerate(("test", "train")):
        write_data(folder / f"{name}.npz", seed)
    (folder / "safeml.toml").write_text(CONFIG)
    return folder / "safeml.toml"


def command(project: Path, out: str, *more: str, before: str = "") -> list[str]:
    """Return the command of an audit into `out`; before: lines of a program that run first."""
    program = f"from tests.toy.run import main\n{before}\nmain()\n"
    paths = ["--config", str(project / "safeml.toml"), "--out", str(project / out)]
    return [sys.executable, "-c", program, "audit", *paths, *more]


def start(project: Path, out: str) -> subprocess.Popen[str]:
    """Start an audit into `out`."""
    return subprocess.Popen(
        command(project, out), cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )


def finish(
    project: Path, out: str, *more: str, before: str = "", **options: Any
) -> subprocess.CompletedProcess[str]:
    """Audit into `out` to the end."""
    arguments = command(project, out, *more, before=before)
    return subprocess.run(
        arguments, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120, **options
    )


def toy(*arguments: object, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run a command with the toy stage installed."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    line = [sys.executable, "-m", "tests.toy.run", *map(str, arguments)]
    return subprocess.run(
        line, capture_output=True, text=True, check=False, timeout=120, env=environment, **options
    )
