"""The runs below a folder over time: nothing readable is left out, and nothing unreadable goes unnoticed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from safeml.cli.main import app
from safeml.comparison.history import history_of
from safeml.comparison.page import history_page
from safeml.errors import ConfigError
from safeml.results import Run
from safeml.store.files import atomic_write, to_json
from tests.sample_run import HOSTILE, TIMES, gate, metric, run_of, stage


def audited(value: float | None, model: str, limit: float = 0.9, **fields: Any) -> Run:
    made = run_of(
        [stage("performance", metrics=[metric("clean_accuracy", value)])],
        [gate("clean", "clean_accuracy", threshold=limit)],
        **fields,
    )
    return made.model_copy(update={"model": made.model.model_copy(update={"fingerprint": model * 64})})


def write(folder: Path, run: Run, day: int) -> None:
    folder.mkdir(parents=True)
    atomic_write(folder / "results.json", to_json(run))
    times = TIMES.model_copy(update={"started": f"2026-06-{day:02}T07:20:00+00:00"})
    atomic_write(folder / "run.json", to_json(times))


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    write(tmp_path / "runs" / "z", audited(0.97, "a"), 1)
    write(tmp_path / "runs" / "deep" / "a", audited(0.80, "b"), 2)
    write(tmp_path / "runs" / "b", audited(0.97, "c", limit=0.5), 3)
    return tmp_path / "runs"


def test_runs_are_in_the_order_of_their_start_with_their_verdicts_and_limits(runs: Path) -> None:
    history = history_of(runs)
    assert [run.folder for run in history.runs] == ["z", "deep/a", "b"]
    assert [run.status for run in history.runs] == ["passed", "failed", "passed"]
    [trend] = history.trends
    assert [point.metric.value for point in trend.points if point.metric] == [0.97, 0.80, 0.97]
    assert [point.limit for point in trend.points] == [0.9, 0.9, 0.5]
    assert [(place, change.kind) for place, change in history.limits] == [(2, "lowered")]


def test_several_models_on_one_test_set_are_a_note_with_their_chance_to_pass(runs: Path) -> None:
    [note] = history_of(runs).notes
    assert "3 models were audited on one test set" in note
    assert f"up to {round(100 * (1 - 0.975**3))}" in note


def test_a_damaged_run_is_listed_and_never_skipped_in_silence(runs: Path) -> None:
    (runs / "broken").mkdir()
    (runs / "broken" / "results.json").write_text("{")
    history = history_of(runs)
    assert [entry.path for entry in history.unreadable] == ["broken"]
    assert "Unreadable" in history_page(history)
    assert "is not valid JSON" in history_page(history)


def test_an_unmeasured_value_is_a_gap_and_not_a_zero(runs: Path) -> None:
    write(runs / "c", audited(None, "d"), 4)
    history = history_of(runs)
    [trend] = history.trends
    assert (trend.points[-1].metric, trend.points[-1].status) == (None, "error")
    page = history_page(history)
    assert "not recorded" in page
    assert "97.0\u202f% at 3, 0.0" not in page


def test_another_test_set_starts_another_line(runs: Path) -> None:
    other = audited(0.99, "e")
    data = other.data[0].model_copy(update={"fingerprint": "ef" * 32, "name": "winter"})
    write(runs / "d", other.model_copy(update={"data": [data]}), 5)
    history = history_of(runs)
    assert any("2 test sets" in note for note in history.notes)
    page = history_page(history)
    assert "winter: 99.0" in page  # the words of the figure name each line with its values
    assert "test: 97.0" in page


def test_folders_without_runs_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"holds no results\.json"):
        history_of(tmp_path)
    with pytest.raises(ConfigError, match="is not a folder"):
        history_of(tmp_path / "absent")
    (tmp_path / "results.json").write_text("[]")
    with pytest.raises(ConfigError, match="none of its 1"):
        history_of(tmp_path)


def test_the_command_prints_one_line_per_run_and_writes_a_page(runs: Path, tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["history", str(runs), "--out", str(tmp_path / "h.html")])
    assert done.exit_code == 0, done.output
    assert [line.split()[0] for line in done.stdout.splitlines()[:3]] == ["1", "2", "3"]
    assert "LOWERED in run 3" in done.stdout
    assert "<svg" in (tmp_path / "h.html").read_text()


def test_a_page_escapes_every_name(runs: Path) -> None:
    named = audited(0.97, "f")
    model = named.model.model_copy(update={"name": HOSTILE[0]})
    write(runs / "e", named.model_copy(update={"model": model}), 6)
    assert HOSTILE[0] not in history_page(history_of(runs))
