"""The page of bad inputs is that of the data, and each test that it names exists."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import pytest

from tests.security.rows import SECTIONS, SUBJECTS, Row, Subject
from tests.security.table import reliability

TESTS = Path(__file__).parents[1]
ROWS = [row for section in SECTIONS.values() for row in section]


def test_the_page_is_current() -> None:
    written = (TESTS.parent / "docs" / "reliability.md").read_text(encoding="utf-8")
    assert written == reliability(), "run python -m tests.security.table reliability > docs/reliability.md"


def test_the_rows_are_in_order_and_none_is_missing() -> None:
    numbers = [row.number for row in ROWS]
    assert numbers == sorted(numbers)
    assert set(numbers) == set(range(1, 81))


@cache
def functions(file: Path) -> frozenset[str]:
    """The test functions of a file, which is parsed and not imported."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))


@pytest.mark.parametrize("row", [*ROWS, *SUBJECTS], ids=lambda row: " ".join(map(str, row[:2]))[:40])
def test_each_test_of_a_row_exists(row: Row | Subject) -> None:
    assert row.tests
    for test in row.tests:
        file, name = test.split("::")
        assert (TESTS / file).is_file(), test
        assert name.startswith("test_"), test
        assert name in functions(TESTS / file), test


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.number} {row.given[:40]}")
def test_a_row_stays_in_its_cells(row: Row) -> None:
    assert row.given
    assert row.outcome
    assert "|" not in row.given + row.outcome
