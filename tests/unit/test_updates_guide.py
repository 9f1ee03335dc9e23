"""The guide of the updates and its examples say what the code does."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from safeml.edge.cli import parser
from safeml.edge.policy import UpdatePolicy, read_policy
from safeml.edge.state import MARKS

DOCS = Path(__file__).parents[2] / "docs"
GUIDE = (DOCS / "updates.md").read_text(encoding="utf-8")
EXAMPLES = sorted((DOCS / "examples").iterdir())


def test_the_settings_of_the_guide_are_the_defaults() -> None:
    block = re.search(r"```json\n(.*?)```", GUIDE, re.S)
    assert block is not None
    update = json.loads(block[1])["update"]
    assert set(update) == set(UpdatePolicy._fields)
    assert read_policy(update) == UpdatePolicy()
    for part in ("probation", "shadow"):
        assert set(update[part]) == set(getattr(UpdatePolicy(), part)._fields)


def test_every_mark_is_explained() -> None:
    assert all(f"`{mark}`" in GUIDE for mark in MARKS)


@pytest.mark.parametrize(
    "text", [GUIDE, *[file.read_text() for file in EXAMPLES]], ids=["guide", "mender", "rauc"]
)
def test_every_command_exists(text: str) -> None:
    commands = parser()._subparsers._group_actions[0].choices  # type: ignore[union-attr]
    named = re.findall(r"safeml-edge ([a-z]+)((?: --[a-z-]+)*)", text)
    assert named
    for command, options in named:
        assert command in commands
        known = commands[command]._option_string_actions  # type: ignore[index]
        assert set(options.split()) <= set(known)


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.name)
def test_an_example_is_valid_shell_and_says_that_it_was_never_run(file: Path) -> None:
    assert "never run" in file.read_text()
    assert subprocess.run(["sh", "-n", str(file)], check=False).returncode == 0
