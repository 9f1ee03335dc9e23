"""docs/python.ipynb runs as it stands, and docs/python.md names what exists."""

from __future__ import annotations

import json
import re

import pytest

import safeml
from tests import notebook

GUIDE = notebook.NOTEBOOK.with_name("python.md")


@pytest.mark.slow
def test_every_cell_runs_and_the_stored_outputs_are_of_the_same_kind() -> None:
    stored, fresh = notebook.read(), notebook.execute(notebook.read())
    for old, new in zip(stored["cells"], fresh["cells"], strict=True):
        assert _kinds(old) == _kinds(new), old["source"]
    texts = json.dumps(fresh)
    assert "Model file not audited: the model was given in memory" in texts
    assert "<Run failed (exit code 1)" in texts  # a network of seconds does not pass


def _kinds(cell: dict[str, object]) -> list[tuple[str, list[str]]]:
    outputs = cell.get("outputs", [])
    assert isinstance(outputs, list)
    return [(output["output_type"], sorted(output.get("data", {}))) for output in outputs]


def test_the_notebook_is_stored_with_its_outputs_and_without_a_path_of_a_machine() -> None:
    cells = [cell for cell in notebook.read()["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    assert sum("text/html" in output.get("data", {}) for cell in cells for output in cell["outputs"]) == 1
    text = notebook.NOTEBOOK.read_text(encoding="utf-8")
    assert not re.search(r"/(home|root|work|tmp|Users)/", text)
    assert len(text) < 100_000


def test_a_cell_that_fails_fails_the_run() -> None:
    cells = [{"cell_type": "code", "source": ["x = 1\n", "x / 0"]}]
    with pytest.raises(ZeroDivisionError):
        notebook.execute({"cells": cells})


def test_the_guide_names_only_what_is_public() -> None:
    text = GUIDE.read_text(encoding="utf-8")
    names = set(re.findall(r"\bsafeml\.([a-z_]+)\(", text))
    assert names <= set(safeml.__all__)
    assert {"audit", "attack", "robust_accuracy", "compare", "decide", "read_run", "dataset"} <= names


def test_the_guide_promises_the_tables_that_an_audit_accepts() -> None:
    from safeml.api.audit import TABLES

    text = GUIDE.read_text(encoding="utf-8")
    assert all(f"`{table}`" in text for table in TABLES)
