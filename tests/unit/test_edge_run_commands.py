"""The commands of a device that run a release, from the command line."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from safeml.edge.cli import main
from tests.edge_bundles import write_settings
from tests.edge_slots import LABELS, images, make_slot, slot_bundle

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def device(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with device settings, a bundle, its unpacked slot and frames."""
    folder = tmp_path_factory.mktemp("device")
    make_slot(folder)
    write_settings(folder / "etc", folder / "device", backend="onnxruntime", run={"threads": 1})
    np.savez(folder / "frames.npz", images=images(40, 9, 24))
    return folder


def command(device: Path, *words: str) -> int:
    return main(["--settings", str(device / "etc" / "device.json"), *words])


def test_the_commands_of_a_device_end_to_end(device: Path, capsys: pytest.CaptureFixture[str]) -> None:
    slot, lines = str(device / "slot"), device / "lines.jsonl"
    for words in (["preflight"], ["build"], ["selftest"], ["bench", "--calls", "5"]):
        assert command(device, words[0], "--folder", slot, *words[1:]) == 0
    assert (
        command(
            device, "run", str(device / "frames.npz"), "--folder", slot, "--out", str(lines), "--frames", "30"
        )
        == 0
    )
    assert command(device, "report") == 0
    records = [json.loads(line) for line in lines.read_text().splitlines()]
    assert records[0]["event"] == "start"
    assert records[-1]["event"] == "summary"
    assert records[-1]["frames"] == 30
    assert [record["label"] for record in records[1:-1]] == LABELS * 15
    assert "SELF-TEST" not in capsys.readouterr().err
    assert "self-test passed" in (device / "device" / "records" / "device.html").read_text()


def test_a_run_below_its_share_of_trust_ends_with_code_1(device: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "blank.npz", images=np.full((4, 8, 8, 3), 128, np.uint8))
    words = ["run", str(tmp_path / "blank.npz"), "--folder", str(device / "slot"), "--out", ""]
    assert command(device, *words) == 0
    assert command(device, *words, "--least-trusted", "0.5") == 1


def test_a_model_that_is_not_the_audited_one_is_not_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = slot_bundle(tmp_path / "state")
    other = slot_bundle(tmp_path / "other", scale=11.0)
    bundle.files["models/model.int8.onnx"] = other.files["models/model.int8.onnx"]
    make_slot(tmp_path, bundle)
    write_settings(tmp_path / "etc", tmp_path / "device", backend="onnxruntime")
    np.savez(tmp_path / "frames.npz", images=images(4))
    assert command(tmp_path, "run", str(tmp_path / "frames.npz"), "--folder", str(tmp_path / "slot")) == 4
    assert "does not compute the model that was audited" in capsys.readouterr().err


def test_an_installed_release_is_counted_for_its_probation(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    slot_bundle(tmp_path / "state").write(tmp_path / "release.safeml")
    write_settings(tmp_path / "etc", tmp_path / "device", backend="onnxruntime")
    np.savez(tmp_path / "frames.npz", images=images(6))
    assert command(tmp_path, "install", str(tmp_path / "release.safeml")) == 0
    assert command(tmp_path, "run", str(tmp_path / "frames.npz"), "--out", "") == 0
    state = json.loads((tmp_path / "device" / "state.json").read_text())
    assert state["body"]["trial"]["starts"] == 1
    assert state["body"]["trial"]["frames"] == 6
    capsys.readouterr()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_a_signal_ends_a_run_with_a_summary(number: int, code: int, device: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "many.npz", images=np.repeat(images(2), 100_000, axis=0)[:200_000])
    lines = tmp_path / "lines.jsonl"
    words = ["run", str(tmp_path / "many.npz"), "--folder", str(device / "slot"), "--out", str(lines)]
    start = [sys.executable, "-m", "safeml.edge", "--settings", str(device / "etc" / "device.json"), *words]
    child = subprocess.Popen(
        start,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
    )
    for _ in range(600):
        if lines.exists() and lines.stat().st_size > 2000:
            break
        time.sleep(0.05)
    child.send_signal(number)
    output, errors = child.communicate(timeout=60)
    assert child.returncode == code, errors
    assert b"Traceback" not in errors
    assert b"frames in" in output
    summary = json.loads(lines.read_text().splitlines()[-1])
    assert summary["event"] == "summary"
    assert summary["signal"] == number


def test_preflight_of_a_release_that_is_not_believed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_slot(tmp_path)
    write_settings(tmp_path / "etc", tmp_path / "device", backend="onnxruntime")
    (tmp_path / "slot" / "more").write_text("x")
    assert command(tmp_path, "preflight", "--folder", str(tmp_path / "slot")) == 4
    assert "[extra-file]" in capsys.readouterr().out
