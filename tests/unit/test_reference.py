"""docs/settings.md, docs/metrics.md and the tables of docs/export.md are what the classes and rows say, and every key has a meaning."""

from __future__ import annotations

from tests import reference


def test_the_pages_are_those_of_the_code() -> None:
    for name, page in (
        ("settings.md", reference.settings_page()),
        ("metrics.md", reference.metrics_page()),
        ("export.md", reference.export_page()),
    ):
        assert (reference.DOCS / name).read_text(encoding="utf-8") == page, (
            f"docs/{name}: run `python -m tests.reference`"
        )


def test_every_key_has_a_meaning() -> None:
    assert reference.undescribed() == []
