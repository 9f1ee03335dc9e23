"""Waivers: every stage's gates take one, and its expiry is enforced or told wherever a recorded verdict is read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from safeml.bundle.evidence import read_evidence
from safeml.cli.main import app
from safeml.comparison.compare import compare_runs
from safeml.comparison.history import history_of
from safeml.config.audit import parse_config
from safeml.errors import ConfigError, InputRefused
from safeml.gates import decide
from safeml.results import BASELINE, LOSS, Gate, Metric, Run, StageResult
from safeml.stages import OWN
from safeml.stages.base import Declared, Stage, losses
from safeml.store.files import atomic_write, read_run, to_json
from safeml.waivers import expired, today_utc
from tests import bundle_runs
from tests.bundle_runs import DAY
from tests.sample_run import gate, metric, run_of, stage, waiver
from tests.unit.test_config import GOOD

pytestmark = pytest.mark.slow

PAST, FUTURE = "2020-01-01", "2999-12-31"


def gates_of(row: Stage[Any]) -> list[tuple[str, Declared]]:
    """Return each metric of a stage that a gate may read, with the slice to read."""
    rows = row.records(row.settings())
    return [
        (entry.slices[0] if not entry.slices[0].endswith(":") else f"{entry.slices[0]}x", entry)
        for entry in rows
        if not entry.weak
    ]


CASES = [(row.name, where, entry) for row in OWN for where, entry in gates_of(row)]
WITHOUT_METRICS = {"model"}


def waived(name: str, where: str, entry: Declared, until: str) -> Gate:
    """Return a gate whose limit nothing meets, with a waiver."""
    op = "<=" if entry.direction == "down" else ">="
    return Gate(
        id="g", stage=name, metric=entry.name, slice=where, op=op, threshold=0.9 if op == ">=" else 0.1, rationale="A test.",
        waiver={"owner": "A. Owner", "reason": "known", "until": until},
    )  # fmt: skip


def measured(name: str, where: str, entry: Declared) -> StageResult:
    """Return a stage whose metric is on the wrong side of that limit, whole interval."""
    value = 0.5
    made = Metric(
        name=entry.name, title=entry.name, slice=where, value=value, low=value - 0.1, high=value + 0.1, n=1000, signs=500.0,
        clustering="declared", method="exact", direction=entry.direction,
    )  # fmt: skip
    return StageResult(stage=name, title=name, metrics=[made])


def test_every_stage_that_records_metrics_has_cases() -> None:
    assert {name for name, _, _ in CASES} == {row.name for row in OWN} - WITHOUT_METRICS


@pytest.mark.parametrize("name", sorted({name for name, _, _ in CASES}))
def test_the_gates_of_each_stage_take_a_waiver_until_its_last_day(name: str) -> None:
    for stage_name, where, entry in CASES:
        if stage_name != name:
            continue
        found = measured(name, where, entry)
        limit = waived(name, where, entry, "2026-06-30")
        for today, status in (("2026-06-30", "waived"), ("2026-07-01", "fail")):
            [result] = decide([found], [limit], today).gates
            assert (result.status, result.decided_without_waiver) == (status, "fail"), (name, entry.name)
        missing = decide([StageResult(stage=name, title=name)], [limit], "2026-06-30").gates[0]
        assert missing.status == "error", "broken evidence cannot be waived"


@pytest.mark.parametrize(
    "name", ["performance", "adversarial", "privacy", "monitors", "perturbation", "comparison"]
)
def test_a_settings_file_takes_a_waiver_for_a_gate_of_the_stage_and_refuses_a_malformed_one(
    name: str,
) -> None:
    row = next(row for row in OWN if row.name == name)
    values = row.gates[0].model_dump(mode="json", exclude={"waiver"})
    good = {"owner": "A. Owner", "reason": "known", "until": FUTURE}
    config = parse_config({**GOOD, "gates": [{**values, "waiver": good}]}, "safeml.toml")
    assert config.gates[0].waiver is not None
    for bad in (
        {"until": "2026-02-30"},
        {"until": "31.12.2026"},
        {"until": "never"},
        {"until": ""},
        {"owner": " "},
        {"reason": ""},
    ):
        with pytest.raises(ConfigError, match="waiver"):
            parse_config({**GOOD, "gates": [{**values, "waiver": {**good, **bad}}]}, "safeml.toml")
    for lost in good:
        with pytest.raises(ConfigError, match=lost):
            parse_config(
                {**GOOD, "gates": [{**values, "waiver": {k: v for k, v in good.items() if k != lost}}]},
                "safeml.toml",
            )


def test_a_gate_on_the_loss_against_a_baseline_takes_a_waiver() -> None:
    [loss] = [
        row
        for row in losses(next(row for row in OWN if row.name == "performance").records(GOOD_SETTINGS))
        if row.name == f"{LOSS}clean_accuracy"
    ]
    limit = waived("performance", "all", loss, FUTURE).model_copy(update={"subject": BASELINE})
    found = measured("performance", "all", loss).model_copy(update={"subject": BASELINE})
    assert decide([found], [limit], DAY).gates[0].status == "waived"


GOOD_SETTINGS = next(row for row in OWN if row.name == "performance").settings()


def recorded(folder: Path, until: str) -> Run:
    """Write a run that passed by a waiver until that day, decided on its own day."""
    limits = [gate("clean-accuracy", "clean_accuracy", threshold=0.99, waiver=waiver(until))]
    return bundle_runs.write_run(folder, "5" * 64, "c" * 64, gates=limits)


def call(*arguments: object) -> Any:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_an_expired_waiver_fails_at_gate_and_is_told_at_report_and_compare_and_history(
    tmp_path: Path,
) -> None:
    run = recorded(tmp_path / "runs" / "a", "2026-07-01")  # it passed on its day, and that day is past
    assert (run.verdict.status, run.verdict.gates[0].status) == ("passed", "waived")
    assert today_utc() > "2026-07-01"
    folder = tmp_path / "runs" / "a"
    decided = call("gate", folder)
    assert decided.exit_code == 1
    assert "expired on 2026-07-01" in decided.output
    told = 'EXPIRED: The waiver of gate "clean-accuracy" by A. Owner expired on 2026-07-01'
    assert told in call("report", folder).output
    assert "expired on 2026-07-01" in call("compare", folder, folder, "--json").output
    assert any("expired on 2026-07-01" in note for note in history_of(tmp_path / "runs").notes)
    with_today = compare_runs(run, run, today="2026-07-01")
    assert not any("expired" in note for note in with_today.notes)
    assert expired(run, "2026-07-01") == []
    assert len(expired(run, "2026-07-02")) == 1


def test_an_expired_waiver_makes_no_bundle_and_a_valid_one_does(tmp_path: Path) -> None:
    recorded(tmp_path / "run", "2026-07-01")
    assert read_evidence(tmp_path / "run", "2026-07-01").verdict.status == "passed"
    later = read_evidence(tmp_path / "run", "2026-07-02")
    assert (later.verdict.status, later.verdict.exit_code) == ("failed", 1)
    assert "The verdict is failed" in later.reasons[0]


def test_an_audit_of_today_fails_by_an_expired_waiver() -> None:
    """The pipeline decides with the day on which it started."""
    made = run_of([stage("performance", metrics=[metric("clean_accuracy", 0.97)])], [gate("g", "clean_accuracy", threshold=0.99, waiver=waiver(PAST))])  # fmt: skip
    assert (made.verdict.status, made.verdict.exit_code) == ("failed", 1)
    assert "expired on 2020-01-01" in made.verdict.sentence


@pytest.mark.parametrize(
    "until", ["2026-02-30", "2026-13-01", "never", "", "2026-06-30T10:00:00", 20260630, None]
)
def test_a_recorded_waiver_without_a_valid_day_is_refused_wherever_the_run_is_read(
    until: Any, tmp_path: Path
) -> None:
    run = tmp_path / "runs" / "a"
    recorded(run, FUTURE)
    values = json.loads((run / "results.json").read_text())
    for limit in (values["gates"][0], values["verdict"]["gates"][0]["gate"]):
        limit["waiver"]["until"] = until
    atomic_write(run / "results.json", json.dumps(values))
    with pytest.raises(InputRefused, match=r"waiver\.until"):
        read_run(run)
    for arguments in (
        ["gate", run],
        ["report", run],
        ["compare", run, run],
        ["bundle", run, "--export", run, "--unsigned", "--product", "p", "--release", 1],
    ):
        refused = call(*arguments).exception
        assert isinstance(refused, InputRefused), arguments
        assert int(refused.exit_code) == 5
    with pytest.raises(ConfigError, match="none of its 1"):
        history_of(tmp_path / "runs")


def test_a_longer_waiver_is_a_looser_limit_and_an_edited_one_does_not_follow(tmp_path: Path) -> None:
    first, second = recorded(tmp_path / "a", "2026-07-01"), recorded(tmp_path / "b", FUTURE)
    assert [change.kind for change in compare_runs(first, second).limits] == ["waived"]
    values = json.loads(to_json(first))
    values["gates"][0]["waiver"]["until"] = (
        "2020-01-01"  # expired on the day of the run, whose verdict says waived
    )
    atomic_write(tmp_path / "a" / "results.json", json.dumps(values))
    refused = call("report", tmp_path / "a").exception
    assert isinstance(refused, InputRefused)
    assert "does not follow" in str(refused)
