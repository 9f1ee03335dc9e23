"""The guides in docs: each stage has its page, and each recipe is a file that the settings accept."""

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
from tests import stage_table

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
READING = (DOCS / "reading.md").read_text(encoding="utf-8")
READ = "How to read the page"
# Metrics that only other settings than the default ones record.
ON_REQUEST = {"smoothed_accuracy", "transfer_success"}
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


def sections(path: Path) -> dict[str, str]:
    """Return the text of each section of a page by its title."""
    return dict(
        re.findall(r"^## (.+)\n\n((?:(?!^## ).*\n?)+)", path.read_text(encoding="utf-8"), re.MULTILINE)
    )


@pytest.mark.parametrize("stage", OWN, ids=lambda stage: stage.name)
def test_each_stage_has_a_guide_that_says_how_to_read_its_page(stage: Any) -> None:
    page = page_of(StageResult(stage=stage.name, subject=MODEL, title=stage.title))
    parts = sections(ROOT / stage_table.guide(stage.name))
    assert parts[READ].startswith(f"`{page}`")
    assert all(len(text.split()) > 10 for text in parts.values())
    if stage.name not in stage_table.GUIDES:
        assert list(parts) == ["What it measures", "Why", "How it is measured", READ, "What it does not show"]
    assert f"]({stage_table.guide(stage.name).removeprefix('docs/')})" in READING
    assert f"[{stage.name}]({stage_table.guide(stage.name)})" in (ROOT / "README.md").read_text(
        encoding="utf-8"
    )


@pytest.mark.parametrize("stage", [stage for stage in OWN if stage.name not in stage_table.GUIDES], ids=lambda stage: stage.name)  # fmt: skip
def test_a_guide_names_the_default_gates_and_only_metrics_of_its_stage(stage: Any) -> None:
    text = sections(ROOT / stage_table.guide(stage.name))["What it measures"]
    for gate in stage.gates:
        assert f"`{gate.metric}` {gate.op} {gate.threshold:g}" in text
    rows = stage.records(stage.settings())
    known = {row.name for row in rows} | {row.name.partition(".")[0] for row in rows}
    named = set(re.findall(r"`([a-z]+(?:_[a-z0-9]+)+(?:\.[a-z0-9_]+)?)`", text))
    assert named - known <= ON_REQUEST
    assert {row.name.partition(".")[0] for row in rows if not row.context} - {
        name.partition(".")[0] for name in named
    } == set()


def test_no_guide_is_left_without_a_stage() -> None:
    assert {path.stem for path in (DOCS / "stages").iterdir()} == {stage.name for stage in OWN} - set(
        stage_table.GUIDES
    )
    assert set(sections(DOCS / "reading.md")) == {
        "Verdict",
        "Safety case",
        "Stages",
        "Loss against a baseline",
    }


def test_each_link_of_a_guide_leads_to_a_file() -> None:
    pages = [*(DOCS / "stages").iterdir(), *DOCS.glob("*.md"), ROOT / "README.md"]
    links = [
        (page, link)
        for page in pages
        for link in re.findall(r"\]\(([^)#\s]+)", page.read_text(encoding="utf-8"))
    ]
    local = [(page, link) for page, link in links if "://" not in link]
    assert len(local) > 100
    assert [f"{page.name}: {link}" for page, link in local if not (page.parent / link).exists()] == []


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
