"""`safeml gate` and `safeml report` on recorded results: no framework, no forged verdict, no page of another run."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from safeml.report.write import write_report
from safeml.store.files import atomic_write, to_json
from tests.sample_run import CASES, TIMES, metric, run_of, run_with, sample_run, stage
from tests.sample_run import gate as gate_of

pytestmark = pytest.mark.slow  # each starts an interpreter


def safeml(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "safeml.cli.main", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def write(folder: Path, run: object, times: object = TIMES) -> Path:
    atomic_write(folder / "results.json", to_json(run))  # type: ignore[arg-type]
    atomic_write(folder / "run.json", to_json(times))  # type: ignore[arg-type]
    return folder


@pytest.mark.parametrize("state", sorted(CASES))
def test_the_gate_command_leaves_with_the_verdict(state: str, tmp_path: Path) -> None:
    run = run_with(state)
    done = safeml("gate", write(tmp_path, run))
    assert done.returncode == run.verdict.exit_code
    assert run.verdict.sentence.replace("\u202f", " ") in done.stdout


def test_a_forged_verdict_is_refused(tmp_path: Path) -> None:
    write(tmp_path, run_with("fail"))
    values = json.loads((tmp_path / "results.json").read_text())
    values["verdict"] |= {"status": "passed", "exit_code": 0}
    (tmp_path / "results.json").write_text(json.dumps(values))
    done = safeml("report", tmp_path)
    assert done.returncode == 5
    assert "does not follow from the evidence" in done.stderr
    assert not (tmp_path / "index.html").exists()
    assert safeml("gate", tmp_path).returncode == 1


def test_a_page_of_an_earlier_run_does_not_stay(tmp_path: Path) -> None:
    write_report(sample_run()[0], tmp_path, TIMES)
    (tmp_path / "notes.html").write_text("mine")
    assert (tmp_path / "adversarial.html").exists()
    write_report(run_of([stage("performance", metrics=[metric("a")])], [gate_of("a", "a")]), tmp_path, TIMES)
    assert not (tmp_path / "adversarial.html").exists()
    assert (tmp_path / "notes.html").read_text() == "mine"


def test_the_schema_is_printed() -> None:
    assert safeml("schema").stdout.strip() == Path("docs/results.schema.json").read_text().strip()
