"""A new stage is one folder and one row: installed beside the suite, it appears wherever stages do, and no other file changes."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tomllib
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest

from safeml.results import Run
from safeml.store.files import read_run
from tests.toy.project import ROOT, finish, toy, write_toy
from tests.toy.row import TOY

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project that gates the toy stage, with a full run in `run`, made by `safeml run`."""
    folder = tmp_path_factory.mktemp("toy")
    write_toy(folder)
    done = toy("run", "--config", folder / "safeml.toml", "--out", folder / "run")
    assert done.returncode == 1, done.stderr
    return folder


def toy_result(run: Run) -> Any:
    return next(stage for stage in run.stages if stage.stage == TOY.name)


def test_a_run_measures_it_last_and_records_its_settings(project: Path) -> None:
    run = read_run(project / "run")
    assert [stage.stage for stage in run.stages][-1] == TOY.name
    found = toy_result(run)
    assert (found.status, found.title) == ("ok", TOY.title)
    assert [metric.name for metric in found.metrics] == ["dimmed_accuracy"]
    assert run.configuration["stages"][TOY.name] == TOY.settings().model_dump(mode="json")
    assert (project / "run" / "stages" / "toy.json").is_file()


def test_only_one_stage_is_measured_and_the_others_are_missing_evidence(project: Path) -> None:
    out = project / "only"
    done = toy("run", "--config", project / "safeml.toml", "--only", "toy", "--out", out)
    run = read_run(out)
    states = {stage.stage: stage.status for stage in run.stages}
    assert states.pop("toy") == "ok"
    assert set(states.values()) == {"skipped"}
    reasons = {stage.stage: stage.reason for stage in run.stages}
    assert "--only" in reasons["performance"]
    assert done.returncode == run.verdict.exit_code != 0
    again = toy("run", "--config", project / "safeml.toml", "--only", "performance", "--out", out)
    states = {stage.stage: stage.status for stage in read_run(out).stages}
    assert (states["toy"], states["performance"], states["balance"]) == ("ok", "ok", "skipped")
    assert "Toy" in again.stderr or TOY.title in again.stderr
    slip = toy("audit", "--config", project / "safeml.toml", "--only", "toys")
    assert slip.returncode == 2
    assert 'did you mean "toy"' in slip.stderr


def test_its_gate_decides(project: Path) -> None:
    gates = {result.gate.id: result for result in read_run(project / "run").verdict.gates}
    assert gates["dimmed"].status == "pass"
    strict = project / "strict.toml"
    strict.write_text((project / "safeml.toml").read_text().replace("threshold = 0.5", "threshold = 0.99"))
    assert "Accuracy on dimmed images" in toy("gate", project / "run", "--config", strict).stdout
    slip = project / "slip.toml"
    slip.write_text((project / "safeml.toml").read_text().replace("dimmed_accuracy", "dimmed_acuracy"))
    done = toy("audit", "--config", slip)
    assert done.returncode == 2
    assert 'did you mean "dimmed_accuracy"' in done.stderr


@pytest.mark.parametrize("code", [0, 3])
def test_a_stage_that_ends_the_process_is_missing_evidence(project: Path, code: int) -> None:
    """The exit code of a library is not the verdict of the run."""
    ends = f"""
from tests.toy import stage
def run(inputs, settings): raise SystemExit({code})
stage.run = run
"""
    out = f"ends-{code}"
    done = finish(project, out, "--only", TOY.name, before=ends)
    run = read_run(project / out)
    assert done.returncode == run.verdict.exit_code == 4, done.stderr
    assert toy_result(run).status == "error"
    assert toy_result(run).reason == f"SystemExit: {code}"
    assert {result.gate.id: result.status for result in run.verdict.gates}["dimmed"] == "error"


def test_the_report_has_its_page_and_junit_its_suite(project: Path) -> None:
    assert TOY.title in (project / "run" / "index.html").read_text()
    assert "Accuracy by light" in (project / "run" / "toy.html").read_text()
    suites = {suite.get("name"): suite for suite in ET.parse(project / "run" / "junit.xml").getroot()}
    assert [case.get("name") for case in suites[TOY.name].iter("testcase")] == ["dimmed"]
    assert toy("report", project / "run", "--out", project / "again").returncode == 0
    assert (project / "again" / "toy.html").read_bytes() == (project / "run" / "toy.html").read_bytes()


def test_a_plan_counts_it_and_searches_its_limit(project: Path) -> None:
    done = toy("plan", "--json", "--config", project / "safeml.toml", "--out", project / "run")
    assert done.returncode == 0, done.stderr
    plan = json.loads(done.stdout)
    [stage] = [stage for stage in plan["stages"] if stage["stage"] == TOY.name]
    assert (stage["state"], stage["images"]) == ("done", 80)
    [gate] = [gate for gate in plan["gates"] if gate["gate"]["id"] == "dimmed"]
    assert gate["state"] == "provable"
    assert plan["best_exit_code"] == 0
    done = toy("plan", "--json", "--no-probe", "--config", project / "safeml.toml")
    [stage] = [stage for stage in json.loads(done.stdout)["stages"] if stage["stage"] == TOY.name]
    assert (stage["state"], stage["forward_passes"], stage["slices"]) == ("runs", 160, 20)


def test_init_writes_its_gate(project: Path) -> None:
    paths = ["--model", project / "toy.model", "--data", project / "test.npz", "--out", project / "new.toml"]
    done = toy("init", *paths, "--frames-per-sign", 1)
    assert done.returncode == 0
    assert "shared-tracks: accepted instead of gated" in done.stdout
    written = tomllib.loads((project / "new.toml").read_text())["gates"]
    [gate] = [gate for gate in written if gate["stage"] == TOY.name]
    assert gate["id"] == TOY.gates[0].id
    assert gate["threshold"] == TOY.gates[0].threshold
    accepted = tomllib.loads((project / "new.toml").read_text())["accepted"]
    assert {entry["stage"] for entry in accepted} >= {"balance", "performance", "physical"}
    assert {entry["owner"] for entry in accepted} == {""}


def test_the_quick_profile_takes_its_quick_form(project: Path) -> None:
    assert finish(project, "quick", "--profile", "quick").returncode == 1
    assert toy_result(read_run(project / "quick")).provenance.settings["images"] == 4


def test_another_limit_needs_force_and_stays_named(project: Path) -> None:
    folder = project / "limits"
    shutil.copytree(project / "run", folder)
    loose = project / "loose.toml"
    loose.write_text((project / "safeml.toml").read_text().replace("threshold = 0.5", "threshold = 0.4"))
    before = (folder / "results.json").read_bytes()
    paths = ["audit", "--config", loose, "--out", folder]
    refused = toy(*paths)
    assert refused.returncode == 2
    assert "was lowered: >= 0.5 before, >= 0.4 now" in refused.stderr
    assert (folder / "results.json").read_bytes() == before
    for more in (["--force"], []):  # the second run is compared with the first limit as well
        done = toy(*paths, *more)
        assert done.returncode == 1, done.stderr
        assert "LOOSER      Gate dimmed (dimmed_accuracy) was lowered: >= 0.5 before" in done.stdout
        assert [change.kind for change in read_run(folder).loosened] == ["lowered"]
    assert "Looser limits" in (folder / "index.html").read_text()


def test_the_table_of_stages_names_it() -> None:
    program = "from safeml.stages import STAGES; print([(row.name, row.summary) for row in STAGES][-1])"
    done = toy_python(program)
    assert done == f"{(TOY.name, TOY.summary)!r}\n"


def test_its_row_may_be_imported_before_the_suite() -> None:
    """As the other package's own tests do."""
    program = "from tests.toy.row import TOY; from safeml.stages import STAGES; print(STAGES[-1] is TOY)"
    assert toy_python(program) == "True\n"


def test_a_stage_whose_name_is_taken_is_refused() -> None:
    program = """
from dataclasses import replace
from tests.toy import row
row.TOY = replace(row.TOY, name="balance")
try:
    from safeml.stages import STAGES
except Exception as error:
    print(type(error).__name__, error)
"""
    assert 'names its stage "balance", which is in use' in toy_python(program)


def toy_python(program: str) -> str:
    """What a program prints where the toy stage is installed."""
    return subprocess.run(
        [sys.executable, "-c", f"import tests.toy.run\n{program}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout


def test_a_gate_against_a_baseline_reads_the_run_that_is_given(project: Path) -> None:
    gate = 'id = "no-loss"\nsubject = "baseline"\nstage = "performance"\nmetric = "loss.clean_accuracy"\nop = "<="\nthreshold = 0.5'
    config = project / "baseline.toml"
    config.write_text(f"{(project / 'safeml.toml').read_text()}[[gates]]\n{gate}\n")
    audit = ("audit", "--config", config, "--out", project / "new")
    toy(*audit)
    before = {result.gate.id: result for result in read_run(project / "new").verdict.gates}
    assert (before["no-loss"].status, before["accuracy"].status) == ("skipped", "fail")
    done = toy(*audit, "--baseline", project / "run")
    run = read_run(project / "new")
    after = {result.gate.id: result for result in run.verdict.gates}
    assert after["no-loss"].status == "pass", done.stdout + done.stderr
    assert after["no-loss"].metric is not None
    assert after["no-loss"].metric.value == 0.0  # the same model
    assert (project / "new" / "baseline-performance.html").is_file()
    assert "baseline-is-this-model" in {f.code for stage in run.stages for f in stage.findings}
