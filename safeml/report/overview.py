"""Parts of a page in the overview frame: sections of tables, without an index."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from safeml.report.text import cell, head

Part = dict[str, Any]


def part(
    title: str,
    note: str,
    tables: Sequence[Part],
    empty: str = "",
    figure: Any = None,
    folded: Sequence[Part] = (),
) -> Part:
    """Return a section. empty: what it says without a table. folded: tables that a reader opens."""
    return {
        "title": title,
        "note": note,
        "tables": tables,
        "empty": empty,
        "figure": figure,
        "folded": folded,
    }


def table(
    labels: Sequence[str],
    rows: Sequence[Sequence[Any]],
    right: tuple[int, ...] = (),
    css: str = "",
) -> Part:
    """Return a table of texts; a cell may also be made by `cell`.

    right: the columns of numbers.
    """
    return {
        "heads": [head(label, place in right) for place, label in enumerate(labels)],
        "rows": [
            [value if isinstance(value, dict) else cell(value, place in right) for place, value in enumerate(row)]
            for row in rows
        ],
        "caption": "",
        "css": css,
    }  # fmt: skip
