"""The whole runtime on real interpreters, from the folder that a device carries: each answers every frame as this one does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.device_pythons import VERSIONS, carry, required
from tests.edge_bundles import write_settings
from tests.edge_slots import images, slot_bundle

COMMANDS = (
    ("install", "release.safeml"),
    ("preflight",),
    ("build",),
    ("selftest",),
    ("bench", "--calls", "5", "--warm-up", "1"),
    ("run", "frames.npz", "--out", "lines.jsonl"),
    ("report",),
    ("status",),
)


def device(folder: Path) -> Path:
    """Return a folder with what a device carries, its settings, a bundle and frames: signs, a blank image and a frozen one."""
    carry(folder)
    folder.chmod(0o755)
    slot_bundle(folder / "state").write(folder / "release.safeml")
    write_settings(folder, folder / "root", backend="onnxruntime", run={"threads": 1})
    frames = [*images(20, 9, 24), np.full((24, 24, 3), 128, np.uint8), *[images(1, 4, 24)[0]] * 4]
    np.savez(folder / "frames.npz", images=np.stack(frames))
    return folder


def answers(program: str, folder: Path) -> list[dict[str, object]]:
    """Run every command, and return the lines without what is measured."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    for words in COMMANDS:
        command = [program, "-m", "safeml_edge.edge", "--settings", "device.json", *words]
        child = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, check=False
        )
        assert child.returncode == 0, (words, child.stdout, child.stderr)
        assert "Traceback" not in child.stderr
    assert "self-test passed" in (folder / "root" / "records" / "device.html").read_text()
    lines = [json.loads(line) for line in (folder / "lines.jsonl").read_text().splitlines()]
    assert [line.get("event") for line in (lines[0], lines[-1])] == ["start", "summary"]
    kept = (
        "frame",
        "decision",
        "reason",
        "class",
        "label",
        "predicted",
        "check",
        "source",
        "time",
        "monitor",
    )
    return [{key: line[key] for key in kept} for line in lines[1:-1]]


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, object]]:
    """The lines of this interpreter."""
    return answers(sys.executable, device(tmp_path_factory.mktemp("ours")))


@pytest.mark.slow
@pytest.mark.parametrize("version", VERSIONS)
def test_a_real_interpreter_runs_a_release_as_this_one_does(
    version: str, ours: list[dict[str, object]], tmp_path: Path
) -> None:
    program = required(version)
    probe = [program, "-I", "-c", "import onnxruntime"]
    if subprocess.run(probe, capture_output=True, check=False).returncode:
        pytest.skip(f"python{version} has no onnxruntime")
    theirs = answers(program, device(tmp_path))
    assert theirs == ours
    assert {line["check"] for line in theirs} == {None, "blank", "frozen"}
    assert {line["label"] for line in theirs} == {"red", "blue", "unknown"}
