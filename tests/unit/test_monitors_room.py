"""The room of the monitors travels: NumPy and the standard library alone, in the syntax of Python 3.6."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import safeml.monitors

ROOM = Path(safeml.monitors.__file__).parent
FILES = sorted(ROOM.glob("*.py"))
SELF_TEST = Path(__file__).with_name("monitors_on_a_device.py")
# Modules of the standard library of every supported version, and NumPy.
ALLOWED = {"collections", "hashlib", "io", "json", "math", "os", "typing", "zipfile", "numpy"}
VERSIONS = ("3.6", "3.8", "3.10", "3.12")


@pytest.mark.parametrize("file", [*FILES, SELF_TEST], ids=lambda file: file.name)
def test_a_file_is_python_3_6(file: Path) -> None:
    tree = ast.parse(file.read_text(encoding="utf-8"), feature_version=(3, 6))
    for node in ast.walk(tree):
        assert not isinstance(node, ast.NamedExpr), file.name
        if isinstance(node, ast.ImportFrom):
            assert node.module != "__future__", file.name


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_a_file_imports_numpy_and_the_standard_library_alone(file: Path) -> None:
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            assert {alias.name.split(".")[0] for alias in node.names} <= ALLOWED
        elif isinstance(node, ast.ImportFrom) and not node.level:
            assert (node.module or "").split(".")[0] in ALLOWED


def interpreter(version: str) -> str | None:
    """Return an interpreter of this version that has NumPy; SAFEML_PYTHONS names folders to look in, as PATH does."""
    path = os.pathsep.join([os.environ.get("SAFEML_PYTHONS", ""), os.environ.get("PATH", "")])
    for folder in filter(None, path.split(os.pathsep)):
        program = shutil.which(f"python{version}", path=folder)
        if program is None:
            continue
        probe = [program, "-I", "-c", "import numpy, sys; print('%d.%d' % sys.version_info[:2])"]
        child = subprocess.run(probe, capture_output=True, text=True, check=False)
        if child.stdout.strip() == version:
            return program
    return None


@pytest.mark.slow
@pytest.mark.parametrize("version", VERSIONS)
def test_a_real_interpreter_runs_the_room_as_this_one_does(version: str, tmp_path: Path) -> None:
    """The folder is copied under another name, so nothing else of the package can be imported."""
    program = interpreter(version)
    if program is None:
        pytest.skip(f"no python{version} with NumPy is installed; its grammar is checked instead")
    shutil.copytree(ROOM, tmp_path / "carried", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(SELF_TEST, tmp_path / "self_test.py")
    outputs = []
    for one in (program, sys.executable):
        child = subprocess.run(
            [one, "self_test.py"], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert child.returncode == 0, child.stderr
        outputs.append(child.stdout)
    assert outputs[0] == outputs[1]
