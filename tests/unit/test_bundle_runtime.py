"""The runtime of the device as a wheel and a zipapp: made without network, the same bytes each time, and they start."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

from safeml.bundle import devices, runtime
from safeml.edge.version import VERSION

HELP = "Verify, test, run and update"


def members(data: bytes) -> dict[str, bytes]:
    """Return the content of each member of a zip file."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_the_record_of_the_wheel_covers_each_file() -> None:
    files = members(runtime.wheel_bytes())
    record = f"{runtime.DIST_INFO}/RECORD"
    rows = {row[0]: row[1:] for row in csv.reader(io.StringIO(files[record].decode()))}
    assert set(rows) == set(files)
    assert rows.pop(record) == ["", ""]
    for name, (digest, size) in rows.items():
        expected = base64.urlsafe_b64encode(hashlib.sha256(files[name]).digest()).rstrip(b"=").decode()
        assert (digest, size) == (f"sha256={expected}", str(len(files[name]))), name


def test_wheel_and_zipapp_carry_both_rooms_and_the_same_code_and_repeat() -> None:
    wheel, app = members(runtime.wheel_bytes()), members(runtime.zipapp_bytes())
    assert runtime.wheel_bytes() == runtime.wheel_bytes()
    assert runtime.zipapp_bytes().startswith(b"#!/usr/bin/env python3\n")
    for name, content in runtime.package_files().items():
        assert wheel[name] == app[name] == content
    for room in runtime.ROOMS:
        here = {path.name for path in (runtime.HERE / room).glob("*.py")}
        assert here
        assert here <= {name.rpartition("/")[2] for name in wheel if name.startswith(f"safeml_edge/{room}/")}
    text = wheel[f"{runtime.DIST_INFO}/METADATA"].decode()
    assert f"Version: {VERSION}\n" in text
    assert "Requires-Python: >=3.6\nRequires-Dist: numpy\n" in text
    assert not any("__pycache__" in name or name.endswith(".pyc") for name in wheel)


@pytest.mark.slow
def test_the_wheel_installs_without_network_and_starts_in_an_empty_folder(tmp_path: Path) -> None:
    pytest.importorskip("pip", reason="no pip is installed here")
    wheel = tmp_path / runtime.WHEEL
    wheel.write_bytes(runtime.wheel_bytes())
    venv.create(tmp_path / "v", with_pip=False, symlinks=True)
    python = tmp_path / "v" / "bin" / "python"
    place = subprocess.run(
        [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        capture_output=True, text=True, check=True,
    ).stdout.strip()  # fmt: skip
    install = [sys.executable, "-m", "pip", "--python", str(python), "install", "--no-index", "--no-deps", "--quiet", str(wheel)]  # fmt: skip
    subprocess.run(install, check=True, capture_output=True, text=True)
    empty = tmp_path / "empty"
    empty.mkdir()
    command = tmp_path / "v" / "bin" / "safeml-edge"
    shown = subprocess.run([command, "--help"], cwd=empty, capture_output=True, text=True, check=True)
    assert HELP in shown.stdout
    assert (Path(place) / "safeml_edge" / "monitors" / "runtime.py").is_file()
    child = subprocess.run([python, "-c", "import safeml"], cwd=empty, capture_output=True, text=True, check=False)  # fmt: skip
    assert "No module named 'safeml'" in child.stderr


@pytest.mark.slow
def test_the_zipapp_starts_in_an_empty_folder_and_imports_nothing_from_it(tmp_path: Path) -> None:
    app = tmp_path / runtime.ZIPAPP
    app.write_bytes(runtime.zipapp_bytes())
    empty = tmp_path / "empty"
    empty.mkdir()
    (empty / "argparse.py").write_text("raise SystemExit('imported from the current folder')\n")
    shown = subprocess.run(
        [sys.executable, app, "--help"], cwd=empty, capture_output=True, text=True, check=True
    )
    assert HELP in shown.stdout
    version = subprocess.run(
        [sys.executable, app, "--version"], cwd=empty, capture_output=True, text=True, check=True
    )
    assert version.stdout.strip() == f"safeml-edge {VERSION}"


def test_devices_without_fast_int8_need_the_float_model() -> None:
    assert devices.capabilities(float_model=True) == ("5.3", "6.2", "7.2", "8.7", "11.0")
    assert devices.capabilities(float_model=False) == ("7.2", "8.7", "11.0")
    assert devices.oldest_tensorrt(float_model=True) == "8.0"
    assert devices.oldest_tensorrt(float_model=False) == "8.5"
    assert devices.memory_mb(100 * 2**20) == 912


def test_the_table_of_devices_is_that_of_the_runtime() -> None:
    from safeml.edge.devices import CHIPS

    here = {capability: device.int8 for device in devices.DEVICES for capability in device.capabilities}
    assert here == {chip.capability: chip.fast_int8 for chip in CHIPS.values()}
