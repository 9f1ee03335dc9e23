"""The parsed source files of safeml, each read once in a process: the tests of texts walk the same trees."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]


@cache
def sources() -> tuple[Path, ...]:
    """Return every Python file of safeml."""
    return tuple(sorted((ROOT / "safeml").rglob("*.py")))


@cache
def nodes(path: Path) -> tuple[ast.AST, ...]:
    """Return every node of a Python file."""
    return tuple(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))


@cache
def strings(path: Path) -> tuple[tuple[int, str], ...]:
    """Return line and text of each string literal with a space, the parts of f-strings included."""
    return tuple(
        (node.lineno, " ".join(node.value.split()))
        for node in nodes(path)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value
    )
