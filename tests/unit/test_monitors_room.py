"""The room of the monitors travels: NumPy and the standard library alone, in the syntax of Python 3.6."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.device_pythons import ROOT, VERSIONS, check_grammar, imported, required, room

FILES = room("monitors")
SELF_TEST = Path(__file__).with_name("monitors_on_a_device.py")
# Modules of the standard library of every supported version, and NumPy.
ALLOWED = {"collections", "hashlib", "io", "json", "math", "os", "typing", "zipfile", "numpy"}


@pytest.mark.parametrize("file", [*FILES, SELF_TEST], ids=lambda file: file.name)
def test_a_file_is_python_3_6(file: Path) -> None:
    check_grammar(file)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_a_file_imports_numpy_and_the_standard_library_alone(file: Path) -> None:
    assert imported(file) <= ALLOWED


@pytest.mark.slow
@pytest.mark.parametrize("version", VERSIONS)
def test_a_real_interpreter_runs_the_room_as_this_one_does(version: str, tmp_path: Path) -> None:
    """The folder is copied under another name, so nothing else of the package can be imported."""
    program = required(version)
    shutil.copytree(ROOT / "monitors", tmp_path / "carried", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(SELF_TEST, tmp_path / "self_test.py")
    outputs = []
    for one in (program, sys.executable):
        child = subprocess.run(
            [one, "self_test.py"], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert child.returncode == 0, child.stderr
        outputs.append(child.stdout)
    assert outputs[0] == outputs[1]
