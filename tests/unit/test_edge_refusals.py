"""The table of reason codes: one meaning each, the same in the docs, and each with a test that raises it."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from safeml.edge.errors import REASONS, REFUSALS, EdgeError, EdgeFailure, Refused, Usage
from safeml.errors import ExitCode
from tests.device_pythons import room

ROOT = Path(__file__).parents[2]
ROW = re.compile(r"^\| `([a-z-]+)` \| (.+) \|$", re.MULTILINE)


def texts(file: Path) -> set[str]:
    """All string literals of a file."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    return {
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }


def raised(file: Path) -> set[str]:
    """The literal first arguments of `Refused(...)` in a file."""
    return {
        node.args[0].value
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        and getattr(node.func, "id", getattr(node.func, "attr", "")) == "Refused"
        and isinstance(node.args[0], ast.Constant)
    }


def test_each_code_has_one_row_and_one_sentence() -> None:
    assert len(REASONS) == len(REFUSALS)
    for code, meaning in REFUSALS:
        assert re.fullmatch(r"[a-z]+(-[a-z]+)*", code)
        assert re.fullmatch(r"[A-Z].{20,120}\.", meaning), code


def test_the_docs_have_the_same_table() -> None:
    text = (ROOT / "docs" / "edge.md").read_text(encoding="utf-8")
    section = text.split("\n## Refusals\n")[1].split("\n## ")[0]
    assert tuple(ROW.findall(section)) == REFUSALS


def test_every_code_is_in_a_test_and_in_the_code() -> None:
    files = [file for file in (ROOT / "tests" / "unit").glob("test_*.py") if file.name != Path(__file__).name]
    tests = set().union(*(texts(file) for file in files if "safeml.edge" in file.read_text(encoding="utf-8")))
    source = set().union(*(texts(file) for file in room("edge") if file.name != "errors.py"))
    assert set(REASONS) - tests == set()
    # container.py makes two of them of the name of the part.
    assert {code for code in REASONS if code not in source} <= {"envelope-length", "manifest-length"}


def test_no_code_is_raised_that_is_not_in_the_table() -> None:
    assert set().union(*map(raised, room("edge"))) <= set(REASONS)
    with pytest.raises(ValueError, match="no-such-code is no reason code"):
        Refused("no-such-code", "x")


def test_the_exit_codes_are_those_of_safeml() -> None:
    assert (Usage.exit_code, EdgeError.exit_code, Refused.exit_code) == (
        ExitCode.USAGE,
        ExitCode.INCOMPLETE,
        ExitCode.REFUSED,
    )
    for kind in (Usage, EdgeError):
        assert issubclass(kind, EdgeFailure)
        assert not issubclass(kind, Refused)
    assert str(Refused("expired", "It is.")) == "[expired]: It is."


def test_a_message_is_one_printable_line() -> None:
    for kind in (Usage, EdgeError, lambda text: Refused("expired", text)):
        error = kind("a\u202eb\nc\x1b[31m é.")
        assert error.message == "a\\u202eb\\nc\\x1b[31m é."
        assert error.message in str(error)
