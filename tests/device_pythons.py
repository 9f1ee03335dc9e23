"""What a device carries, and the interpreters it may have: Python 3.6 to 3.12, where they are installed.

SAFEML_PYTHONS names folders with interpreters, as PATH does. A version that is not installed is skipped by the tests that run it, and
its grammar and its imports are checked instead.
"""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "safeml"
VERSIONS = ("3.6", "3.8", "3.10", "3.12")
# Names of `typing` that Python 3.6 has not.
LATER_TYPING = {"Final", "Literal", "Protocol", "TypedDict", "final", "runtime_checkable"}


def room(name: str) -> list[Path]:
    """Return the Python files of a room of safeml."""
    return sorted((ROOT / name).rglob("*.py"))


def check_grammar(file: Path) -> None:
    """Assert that a file is in the syntax of Python 3.6."""
    tree = ast.parse(file.read_text(encoding="utf-8"), feature_version=(3, 6))
    for node in ast.walk(tree):
        assert not isinstance(node, ast.NamedExpr), file.name
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            assert not node.args.posonlyargs, file.name
        if isinstance(node, ast.ImportFrom):
            assert node.module != "__future__", file.name
            if node.module == "typing":
                assert not {alias.name for alias in node.names} & LATER_TYPING, file.name
        if isinstance(node, ast.Call):
            words = {keyword.arg for keyword in node.keywords}
            name = node.func.attr if isinstance(node.func, ast.Attribute) else ""
            if name in ("run", "Popen", "check_output", "check_call"):
                assert not words & {"capture_output", "text"}, f"{file.name}:{node.lineno}"


def imported(file: Path) -> set[str]:
    """Return the first names of all absolute imports of a file, those inside of functions too."""
    names = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names.add((node.module or "").split(".")[0])
    return names


def relative_targets(file: Path) -> set[str]:
    """Return the rooms beside that of a file which its relative imports reach."""
    depth = len(file.relative_to(ROOT).parts)
    return {
        (node.module or "").split(".")[0]
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and node.level >= depth
    }


def interpreter(version: str) -> str | None:
    """Return an interpreter of this version that has NumPy."""
    path = os.pathsep.join([os.environ.get("SAFEML_PYTHONS", ""), os.environ.get("PATH", "")])
    probe = "import numpy, sys; print('%d.%d' % sys.version_info[:2])"
    for folder in filter(None, path.split(os.pathsep)):
        for name in (f"python{version}", "python3"):  # a virtual environment may have the short name alone
            program = shutil.which(name, path=folder)
            if program is not None:
                child = subprocess.run(
                    [program, "-I", "-c", probe], capture_output=True, text=True, check=False
                )
                if child.stdout.strip() == version:
                    return program
    return None


def required(version: str) -> str:
    """Return an interpreter of this version with NumPy, or skip the test."""
    program = interpreter(version)
    if program is None:
        pytest.skip(f"no python{version} with NumPy is installed; its grammar is checked instead")
    return program


def carry(folder: Path) -> Path:
    """Copy what a device carries to `folder`/safeml_edge, so that nothing else of safeml can be imported; return `folder`."""
    package = folder / "safeml_edge"
    for name in ("edge", "monitors"):
        shutil.copytree(ROOT / name, package / name, ignore=shutil.ignore_patterns("__pycache__"))
    (package / "__init__.py").write_text('"""The edge runtime."""\n')
    return folder
