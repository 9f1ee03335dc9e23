"""The page of bad inputs is that of the data, and each test that it names exists."""

from __future__ import annotations

import pytest

from tests.security.rows import SECTIONS, SUBJECTS, Row, Subject
from tests.security.table import TESTS, places, reliability

ROWS = [row for section in SECTIONS.values() for row in section]
ENTRIES: list[Row | Subject] = [*ROWS, *SUBJECTS]


def test_the_page_is_current() -> None:
    written = (TESTS.parent / "docs" / "reliability.md").read_text(encoding="utf-8")
    assert written == reliability(), "run python -m tests.security.table reliability > docs/reliability.md"


def test_the_rows_are_in_order_and_none_is_missing() -> None:
    numbers = [row.number for row in ROWS]
    assert numbers == sorted(numbers)
    assert set(numbers) == set(range(1, 81))


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: " ".join(map(str, entry[:2]))[:40])
def test_each_test_of_an_entry_exists(entry: Row | Subject) -> None:
    assert entry.tests
    assert [name for name in entry.tests if name not in places()] == []
    assert len(set(entry.tests)) == len(entry.tests)


def test_an_entry_stays_in_its_cells() -> None:
    for entry in ENTRIES:
        words = [str(word) for word in entry[:-1]]
        assert all(words), entry
        assert "|" not in "".join(words), entry


def test_a_test_that_is_only_named_in_a_text_is_not_found() -> None:
    """def test_that_is_none() is no definition here."""
    assert "test_that_is_none" not in places()
    assert places()["test_the_page_is_current"] == {"security/test_reliability_page.py"}
