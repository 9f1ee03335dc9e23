"""The workflows of docs/pipelines.md: every command line is one that safeml accepts, and the files that they name are written."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import typer.main

from safeml.cli.main import app
from safeml.report.write import write_report
from tests.sample_run import TIMES, run_with

DOC = (Path(__file__).parents[2] / "docs" / "pipelines.md").read_text(encoding="utf-8")
LINES = re.findall(
    r"^[\s-]*(?:run: )?(safeml (?:audit|gate|run|compare|history)[^\n>#|]*)", DOC, re.MULTILINE
)


def test_each_workflow_audits() -> None:
    assert len([line for line in LINES if line.startswith("safeml audit")]) == 3


@pytest.mark.parametrize("line", LINES)
def test_every_option_exists(line: str) -> None:
    words = shlex.split(line)[1:]
    command = typer.main.get_command(app).commands[words[0]]  # type: ignore[attr-defined]
    known = {option for parameter in command.params for option in parameter.opts}
    assert {word for word in words[1:] if word.startswith("--")} <= known


def test_the_files_that_the_workflows_collect_are_those_of_a_report(tmp_path: Path) -> None:
    names = {path.name for path in write_report(run_with("fail"), tmp_path, TIMES)}
    assert "run/junit.xml" in DOC
    assert "junit.xml" in names
