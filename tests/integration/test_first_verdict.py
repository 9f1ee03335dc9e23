"""From somebody's own model to a verdict, as the README and docs/tutorial.md describe it, on a data set that has nothing to do with traffic signs."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from safeml.store.files import read_run
from tests.opening import command_here

pytestmark = pytest.mark.slow
NAMES = ("bolt", "gear", "nut", "washer")


def pictures(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return uint8 [N, 16, 16, 3] of coarse noise, each with one bright quarter, and the quarter as label."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 4
    scene = (
        rng.integers(20, 150, (count, 4, 4, 3)).repeat(4, axis=1).repeat(4, axis=2)
    )  # no two images are alike
    images = (scene + rng.integers(0, 40, (count, 16, 16, 3))).astype(np.uint8)
    for image, (row, column) in zip(images, (divmod(int(label), 2) for label in labels), strict=True):
        image[8 * row : 8 * row + 8, 8 * column : 8 * column + 8] = rng.integers(215, 256, (8, 8, 3))
    return images, labels


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder per class for test and training, a model that fits them, and one that was never trained."""
    import keras

    folder = tmp_path_factory.mktemp("project")
    for split, count, seed in (("test", 320, 0), ("train", 400, 1)):
        for number, (image, label) in enumerate(zip(*pictures(count, seed), strict=True)):
            file = folder / split / NAMES[label] / f"{number:04d}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(file)
    layers = keras.layers
    model = keras.Sequential(
        [layers.Input((16, 16, 3)), layers.AveragePooling2D(4), layers.Flatten(), layers.Dense(4)]
    )
    model.save(folder / "poor.keras")
    quarter = np.zeros((4, 4, 3, 4), np.float32)
    for label, (row, column) in enumerate(divmod(label, 2) for label in range(4)):
        quarter[2 * row : 2 * row + 2, 2 * column : 2 * column + 2, :, label] = 1.0
    model.layers[-1].set_weights([quarter.reshape(48, 4), np.zeros(4, np.float32)])
    model.save(folder / "good.keras")
    return folder


def installed(project: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command as a user does, in a process."""
    command = [sys.executable, "-m", "safeml.cli.entry", *arguments]
    return subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)


# The commands of the tutorial that take a while, run once.
INIT = "init --model good.keras --data test --train train --frames-per-sign 1"
AUDIT = "audit --profile quick --accept-quick --out run"
POOR = "audit --model poor.keras --only performance --out poor"


@pytest.fixture(scope="module")
def ran(project: Path) -> dict[str, subprocess.CompletedProcess[str]]:
    """`safeml init`, an audit of the good model into `run`, nothing in the settings edited; and one of the poor model."""
    made = command_here(*INIT.split(), folder=project)
    assert made.returncode == 0, made.stderr
    done = {
        INIT: made,
        AUDIT: installed(project, *AUDIT.split()),
        POOR: command_here(*POOR.split(), folder=project),
    }
    text = (project / "safeml.toml").read_text()
    (project / "signed.toml").write_text(text.replace('owner = ""', 'owner = "A. Engineer"'))
    return done


@pytest.fixture(scope="module")
def audited(ran: dict[str, subprocess.CompletedProcess[str]]) -> subprocess.CompletedProcess[str]:
    return ran[AUDIT]


def test_nobody_signed_so_it_is_not_proven(project: Path, audited: subprocess.CompletedProcess[str]) -> None:
    assert audited.returncode == 3, audited.stdout + audited.stderr
    run = read_run(project / "run")
    assert {result.status for result in run.verdict.gates} == {"pass"}
    assert "NOT PROVEN (exit code 3)" in audited.stdout
    assert "names no owner" in audited.stdout


def test_with_an_owner_the_same_evidence_passes(
    project: Path, audited: subprocess.CompletedProcess[str]
) -> None:
    done = command_here("gate", "run", "--config", "signed.toml", folder=project)
    assert done.returncode == 0, done.stdout
    assert "Accepted without a gate by A. Engineer" in done.stdout
    assert installed(project, "gate", "run").returncode == 3


def test_a_model_that_was_never_trained_fails_though_evidence_is_missing(
    ran: dict[str, subprocess.CompletedProcess[str]],
) -> None:
    done = ran[POOR]
    assert done.returncode == 1, done.stdout + done.stderr
    assert "FAILED (exit code 1)" in done.stdout
    assert "evidence is missing" in done.stdout


TUTORIAL = (Path(__file__).parents[2] / "docs" / "tutorial.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```console\n\$ safeml ([^\n]*)\n(.*?)```", TUTORIAL, re.DOTALL)


def plain(text: str) -> str:
    """Return a text without the differences between machines: the digits of numbers, narrow spaces and line widths."""
    return re.sub(r"\d[\d.,]*", "0", " ".join(text.replace("\u202f", " ").split()))


@pytest.mark.parametrize(("command", "shown"), BLOCKS, ids=[command.split()[0] for command, _ in BLOCKS])
def test_the_tutorial_shows_what_the_commands_print(
    command: str, shown: str, project: Path, ran: dict[str, subprocess.CompletedProcess[str]]
) -> None:
    done = ran.get(command) or command_here(*shlex.split(command), folder=project)
    printed = plain(done.stdout)
    for line in shown.splitlines():
        at = -1
        for part in line.split("..."):
            at = printed.find(plain(part), at + 1)
            assert at >= 0, f"`safeml {command}` does not print: {line}\n{done.stdout}{done.stderr}"


def test_the_tutorial_has_every_step() -> None:
    assert [command.split()[0] for command, _ in BLOCKS] == ["scan", "init", "plan", "audit", "gate", "audit"]
