"""Trainings that are killed again and again end with the weights of one that was left alone."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.integration.odd import ODD, PROGRAM, environment, write_hooks
from tests.integration.trained import trained_model

pytestmark = pytest.mark.slow

KILLS = 5
SEED = int(os.environ.get("SAFEML_NIGHTLY_SEED", "4"))
EPOCHS = 24
RECIPE = f"""
name = "killed"
architecture = "resnet18"
width = 4
epochs = {EPOCHS}
batch = 64
dropout = 0.3
weight_average = 0.9
save_best_only = false
monitor = "val_loss"
[data.train]
kind = "rendered"
images = 860
seed = 1
classes = ["Stop", "Yield", "No entry", "Priority road"]
[data.valid]
kind = "rendered"
images = 430
seed = 2
classes = ["Stop", "Yield", "No entry", "Priority road"]
"""


def start(recipe: Path, out: Path, env: dict[str, str] | None = None) -> subprocess.Popen[str]:
    arguments = [sys.executable, "-c", PROGRAM, "train", str(recipe), "--out", str(out)]
    return subprocess.Popen(
        arguments, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, umask=0o077, env=env
    )


def finished_epochs(folder: Path) -> int:
    """By the checkpoints, the last of which may be half written: enough to choose a moment."""
    checkpoints = folder / "checkpoints"
    return sum(1 for _ in checkpoints.iterdir()) if checkpoints.is_dir() else 0


def kill_once(recipe: Path, out: Path, wait: float, more: int, env: dict[str, str] | None = None) -> bool:
    """Start a training; `wait` seconds after `more` further epochs kill it. Whether it was still alive then."""
    process = start(recipe, out, env)
    before = finished_epochs(out)
    try:
        while process.poll() is None and finished_epochs(out) < before + more:
            time.sleep(0.005)
        time.sleep(wait)
    finally:
        process.kill()
    process.communicate(timeout=120)
    return process.returncode == -signal.SIGKILL


def train(recipe: Path, out: Path, env: dict[str, str] | None = None) -> str:
    process = start(recipe, out, env)
    _, errors = process.communicate(timeout=600)
    assert process.returncode == 0, errors
    return errors


def outcome(folder: Path) -> tuple[Any, bytes]:
    """The manifest, and the bytes of the model that it names."""
    manifest = json.loads((folder / "training.json").read_text())
    return manifest, (folder / manifest["chosen"]["file"]).read_bytes()


def chain(folder: Path, kills: int, seed: int) -> dict[str, Any]:
    """Kill a training `kills` times at random moments, then let it end; compare it with one that was left alone."""
    recipe = folder / "recipe.toml"
    recipe.write_text(RECIPE)
    train(recipe, folder / "whole")
    rng = random.Random(seed)
    killed, epochs = 0, []
    for _ in range(kills):
        killed += kill_once(recipe, folder / "killed", rng.uniform(0, 0.4), rng.choice((0, 1, 1, 1)))
        epochs.append(finished_epochs(folder / "killed"))
    train(recipe, folder / "killed")
    left = [path.name for path in folder.joinpath("killed").iterdir()]
    return {
        "kills": kills,
        "killed_alive": killed,
        "epochs_on_disk_after_each": epochs,
        "same_manifest_and_model": outcome(folder / "killed") == outcome(folder / "whole"),
        "notes": json.loads((folder / "killed" / "run.json").read_text())["notes"],
        "left": sorted(name for name in left if name.endswith(".tmp") or name == ".lock"),
    }


def check_chain(found: dict[str, Any]) -> None:
    assert found["same_manifest_and_model"]
    assert found["killed_alive"] >= found["kills"] - 1
    assert any("resumed after epoch" in note for note in found["notes"])
    assert found["left"] == []


@pytest.mark.nightly
@pytest.mark.timeout(1800)
def test_a_training_that_is_killed_at_random_moments_ends_with_the_same_bytes(tmp_path: Path) -> None:
    print(f"SAFEML_NIGHTLY_SEED={SEED}")  # noqa: T201
    check_chain(chain(tmp_path, KILLS, SEED))


def test_a_training_that_is_killed_after_an_epoch_ends_with_the_same_bytes(
    tiny_project: Path, tmp_path: Path
) -> None:
    """The recipe of the session, whose uninterrupted training is there already, in everything at once that can be odd."""
    recipe, out = tmp_path / "recipe.toml", tmp_path / "killed"
    odd = environment(write_hooks(tmp_path / "hooks"), ODD)
    recipe.write_bytes((tiny_project / "recipe.toml").read_bytes())
    assert kill_once(recipe, out, wait=0.0, more=2, env=odd)
    errors = train(recipe, out, odd)
    assert "NETWORK" not in errors
    assert "Traceback" not in errors
    assert outcome(out) == outcome(trained_model(tiny_project))
    notes = json.loads((out / "run.json").read_text())["notes"]
    assert any("resumed after epoch" in note for note in notes)
    assert [path.name for path in out.iterdir() if path.name.endswith((".tmp", ".lock"))] == []
