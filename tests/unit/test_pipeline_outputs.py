"""SARIF and the annotations of GitHub: each gate that did not pass is there, at the line of its threshold."""

from __future__ import annotations

import json
import re
import unicodedata
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from safeml.cli.main import app
from safeml.cli.outputs import STEP_SUMMARY
from safeml.errors import ConfigError
from safeml.report.github import workflow_commands
from safeml.report.sarif import LEVELS, VERDICT_RULE, sarif
from safeml.results import Run, RunTimes
from safeml.settings.lines import threshold_lines
from safeml.store.files import atomic_write, to_json
from tests.sample_run import CASES, hostile_run, run_with, sample_run

SETTINGS = """\
# [[gates]] in a comment is no gate
[model]
path = "m.keras"   # id = "no"

[[gates]]
id = "first"
op = ">="
threshold = 0.95

[stages.adversarial]
threats = [
  {norm = "linf", eps = 4.0},
  [1, 2],
]
[[ gates ]]   # the second
threshold = 1
id = 'the-gate'
[gates.waiver]
owner = "A"
[[gates]]
id = "without"
"""


def test_the_line_of_each_threshold(tmp_path: Path) -> None:
    file = tmp_path / "safeml.toml"
    file.write_text(SETTINGS)
    lines = threshold_lines(file)
    assert lines == {"first": 8, "the-gate": 16, "without": 20}


def test_the_lines_of_every_reference_configuration() -> None:
    for file in sorted((Path(__file__).parents[2] / "models").glob("*/safeml.toml")):
        text = file.read_text().split("\n")
        lines = threshold_lines(file)
        assert len(lines) == sum(line.strip() == "[[gates]]" for line in text), file
        assert all(text[line - 1].startswith("threshold") for line in lines.values()), file


def test_settings_that_cannot_be_read_are_one_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        threshold_lines(tmp_path / "absent.toml")


@pytest.mark.parametrize("state", sorted(CASES))
def test_what_did_not_pass_is_a_result_of_its_level(state: str) -> None:
    run = run_with(state)
    log = json.loads(sarif(run, "models/a b/safeml.toml", {"the-gate": 15}))
    assert log["version"] == "2.1.0"
    [only] = log["runs"]
    results = {entry["ruleId"]: entry for entry in only["results"]}
    rules = {rule["id"] for rule in only["tool"]["driver"]["rules"]}
    assert set(results) <= rules
    assert ("the-gate" in results) == (state in LEVELS)
    assert (VERDICT_RULE in results) == (run.verdict.exit_code != 0)
    if state in LEVELS:
        [place] = results["the-gate"]["locations"]
        assert place["physicalLocation"]["artifactLocation"]["uri"] == "models/a%20b/safeml.toml"
        assert place["physicalLocation"]["region"]["startLine"] == 15
        assert results["the-gate"]["level"] == LEVELS[state]  # type: ignore[index]
        assert results["the-gate"]["message"]["text"]


@pytest.mark.parametrize("state", sorted(CASES))
def test_what_did_not_pass_is_an_annotation(state: str) -> None:
    run = run_with(state)
    lines = workflow_commands(run, "safeml.toml", {"the-gate": 15})
    gates = [line for line in lines if ",line=15," in line]
    assert len(gates) == (state in LEVELS)
    assert any(line.startswith("::error ") for line in lines) == (run.verdict.exit_code != 0)
    if state == "waived":
        assert gates[0].startswith("::notice ")


@pytest.mark.parametrize("make", [sample_run, hostile_run])
def test_no_text_of_a_user_starts_another_command(make: Callable[[], tuple[Run, RunTimes]]) -> None:
    made, _ = make()
    command = re.compile(r"::(error|warning|notice) file=[^:,]*,line=\d+,title=[^:,]*::[^\n\r]*")
    lines = workflow_commands(made, "a:b,c\n.toml", {})
    assert lines
    for line in lines:
        assert command.fullmatch(line), line
        assert "%3A" in line.partition(",line=")[0]
    results = json.loads(sarif(made, "safeml.toml", {}))["runs"][0]["results"]
    assert len(results) == len(lines)
    assert not any(unicodedata.category(c) == "Cc" for entry in results for c in entry["message"]["text"])


def gate(folder: Path, *options: object) -> Result:
    return CliRunner().invoke(app, ["gate", str(folder), *map(str, options)])


@pytest.fixture
def failed(tmp_path: Path) -> Path:
    """A run folder with one failed gate."""
    folder = tmp_path / "run"
    folder.mkdir()
    atomic_write(folder / "results.json", to_json(run_with("fail")))
    return folder


def test_json_is_all_of_standard_output(failed: Path) -> None:
    done = gate(failed, "--json")
    assert done.exit_code == 1
    assert Run.model_validate_json(done.stdout).verdict.exit_code == 1


def test_every_output_of_one_call(failed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    summary = tmp_path / "summary.md"
    summary.write_text("before\n")
    monkeypatch.setenv(STEP_SUMMARY, str(summary))
    monkeypatch.chdir(tmp_path)
    done = gate("run", "--github", "--sarif", "out.sarif", "--junit", "out.xml")  # type: ignore[arg-type]
    assert done.exit_code == 1
    assert "::error file=results.json,line=1," in done.stdout
    assert summary.read_text().startswith("before\n## ")
    assert json.loads(Path("out.sarif").read_text())["runs"][0]["results"][0]["ruleId"] == VERDICT_RULE
    assert ET.parse("out.xml").getroot().get("failures") == "1"


def test_no_summary_is_written_elsewhere(failed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(STEP_SUMMARY, raising=False)
    assert gate(failed, "--github").exit_code == 1


def test_an_output_that_cannot_be_written_is_refused_before_anything_is_printed(
    failed: Path, tmp_path: Path
) -> None:
    done = gate(failed, "--sarif", tmp_path / "absent" / "out.sarif")
    assert isinstance(done.exception, ConfigError)
    assert done.stdout == ""
