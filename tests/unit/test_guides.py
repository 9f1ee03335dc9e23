"""The guides in docs: each stage has its section, and each recipe is a file that the settings accept."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from safeml.config.audit import parse_config
from safeml.report.page import page_of
from safeml.results import MODEL, StageResult
from safeml.stages import OWN

DOCS = Path(__file__).parents[2] / "docs"
SECTIONS = dict(re.findall(r"^## (.+)\n\n((?:(?!^## ).*\n?)+)", (DOCS / "reading.md").read_text(encoding="utf-8"), re.MULTILINE))  # fmt: skip
RECIPES = re.findall(r"```toml\n(.*?)```", (DOCS / "recipes.md").read_text(encoding="utf-8"), re.DOTALL)
LEAST: dict[str, Any] = {
    "model": {"path": "m.keras"},
    "data": {"test": {"kind": "npz", "path": "t.npz"}},
    "gates": [
        {
            "id": "clean-accuracy",
            "stage": "performance",
            "metric": "clean_accuracy",
            "op": ">=",
            "threshold": 0.9,
        }
    ],
}


@pytest.mark.parametrize("stage", OWN, ids=lambda stage: stage.name)
def test_each_stage_has_a_section_that_names_its_page(stage: Any) -> None:
    page = page_of(StageResult(stage=stage.name, subject=MODEL, title=stage.title))
    assert stage.title in SECTIONS
    assert SECTIONS[stage.title].startswith(f"`{page}`")
    assert len(SECTIONS[stage.title].split()) > 50


def test_there_is_no_section_without_a_stage() -> None:
    assert set(SECTIONS) - {stage.title for stage in OWN} == {
        "Verdict",
        "Safety case",
        "Loss against a baseline",
    }


@pytest.mark.parametrize("recipe", RECIPES)
def test_each_recipe_is_accepted(recipe: str) -> None:
    values = tomllib.loads(recipe)
    gates = [*LEAST["gates"], *values.get("gates", [])]
    data = {**LEAST["data"], **values.get("data", {})}
    config = parse_config({**LEAST, **values, "gates": gates, "data": data}, "safeml.toml")
    assert len(config.gates) == 1 + len(values.get("gates", []))


def test_there_are_recipes_for_what_people_ask() -> None:
    text = "".join(RECIPES)
    assert all(
        word in text
        for word in ("waiver", "[[accepted]]", 'slice = "class:', "baseline", "groups", "[[requirements]]")
    )
