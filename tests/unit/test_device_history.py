"""History and comparison over float, INT8 and device records: no line holds two subjects, and what is not comparable is named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from safeml.cli.main import app
from safeml.comparison.compare import compare_runs
from safeml.comparison.devices import compare_devices, read_device
from safeml.comparison.forms import FLOAT, INT8, ONNX, form_of
from safeml.comparison.history import history_of
from safeml.comparison.page import device_comparison_page, history_page
from safeml.edge.records import write_record
from safeml.errors import ConfigError, InputRefused, SafemlError
from safeml.results import Fact, Run
from tests.sample_run import HOSTILE, stage
from tests.unit.test_history import audited, write

MODEL = "b" * 64
HEAD: dict[str, Any] = {
    "product": "signs", "release": 7, "version": "1", "verdict": "passed", "profile": "full", "overridden": False, "override": None,
    "keyid": "k", "model": MODEL, "device_id": "nano-1", "at": "2026-06-20T10:00:00Z", "backend": "tensorrt", "precision": "int8",
    "facts": {"device_name": "Orin Nano", "architecture": "aarch64", "power_mode": "15W"},
}  # fmt: skip
LATENCY = {"p50": 1.0, "p95": 2.0, "p99": 3.0, "max": 9.0}
BENCH: dict[str, Any] = {**HEAD, "batch": 1, "latency_ms": LATENCY, "images_per_second": 900.0}
FRAMES: dict[str, Any] = {
    **HEAD,
    "source": "folder",
    "frames": 100,
    "frames_per_second": 30.0,
    "trusted": 0.9,
    "latency_ms": LATENCY,
}
SELFTEST: dict[str, Any] = {
    **{key: value for key, value in HEAD.items() if key != "backend"}, "passed": True,
    "checks": [{"name": "golden outputs", "status": "passed"}, {"name": "latency", "status": "not_run"}],
}  # fmt: skip
RECORDS = {"bench": BENCH, "run": FRAMES, "selftest": SELFTEST}


def int8(run: Run, name: str = "model.int8.onnx") -> Run:
    """Return the same run as one of an exported file, as the stage conversion records it."""
    conversion = stage("conversion", facts=[Fact(label="Size", value="800 bytes", detail=name)])
    return run.model_copy(update={"stages": [*run.stages, conversion]})


def record(folder: Path, kind: str, **changes: Any) -> Path:
    """Write a record as a device does."""
    return Path(write_record(str(folder), kind, {**RECORDS[kind], **changes}))


def test_the_form_of_a_model_is_that_of_its_recorded_file() -> None:
    run = audited(0.97, "a")
    onnx = stage("model", facts=[Fact(label="Format", value="ONNX file")])
    assert form_of(run) == FLOAT
    assert form_of(int8(run)) == INT8
    assert form_of(int8(run, "model.float.onnx")) == "exported file model.float.onnx"
    assert form_of(run.model_copy(update={"stages": [*run.stages, onnx]})) == ONNX


def test_float_and_int8_and_profiles_are_separate_lines_and_their_limits_are_not_mixed(
    tmp_path: Path,
) -> None:
    write(tmp_path / "float", audited(0.97, "a"), 1)
    write(tmp_path / "int8", int8(audited(0.95, "b", limit=0.8)), 2)
    write(tmp_path / "later", audited(0.98, "c"), 3)
    write(tmp_path / "quick", audited(0.99, "d", profile="quick", accept_quick=True), 4)
    history = history_of(tmp_path)
    assert [run.form for run in history.runs] == [FLOAT, INT8, FLOAT, FLOAT]
    assert history.limits == []  # the lower limit is one of another subject
    assert any("3 forms or profiles" in note for note in history.notes)
    page = history_page(history)
    for words in (f"{FLOAT}, full", f"{INT8}, full", f"{FLOAT}, quick"):
        assert words in page
    assert "INT8 file, sha256" in page


def test_a_limit_that_is_lowered_within_one_form_is_still_named(tmp_path: Path) -> None:
    write(tmp_path / "a", int8(audited(0.97, "a")), 1)
    write(tmp_path / "b", audited(0.97, "b"), 2)
    write(tmp_path / "c", int8(audited(0.97, "c", limit=0.5)), 3)
    assert [(place, change.kind) for place, change in history_of(tmp_path).limits] == [(2, "lowered")]


def test_a_comparison_of_float_and_int8_names_the_forms() -> None:
    notes = compare_runs(audited(0.97, "a"), int8(audited(0.95, "b"))).notes
    assert any(f"The forms differ: {FLOAT} and {INT8}" in note for note in notes)
    assert not any(
        "forms differ" in note for note in compare_runs(audited(0.97, "a"), audited(0.9, "b")).notes
    )


def test_history_reads_devices_beside_the_runs_and_keeps_their_conditions_apart(tmp_path: Path) -> None:
    write(tmp_path / "run", audited(0.97, "b"), 1)
    for place, changes in enumerate(
        [{}, {"at": "2026-06-21T10:00:00Z", "release": 8}, {"device_id": "nano-2"}, {"precision": "float"}]
    ):
        record(tmp_path / f"device{place}", "bench", **changes)
    record(
        tmp_path / "device0",
        "selftest",
        passed=False,
        checks=[{"name": "golden outputs", "status": "failed"}],
    )
    record(tmp_path / "device0", "run")
    history = history_of(tmp_path)
    assert [entry.kind for entry in history.devices].count("bench") == 4
    assert len(history.devices) == 6
    assert (
        len(history.runs) == 1
    )  # the run.json of a device is no run of the host, and that of a run no record
    trends = {trend.name: trend for trend in history.device_trends}
    assert set(trends) == {"latency p50", "latency p95", "latency p99", "latency max", "images per second"}
    assert [history.devices[place].release for place in trends["latency p99"].places] == [7, 8]
    assert "nano-1" in trends["latency p99"].conditions
    assert not any("audited by no run" in note for note in history.notes)
    page = history_page(history)
    assert "self-test FAILED" in page
    assert "latency p99: " in page


def test_devices_alone_are_a_history_and_an_unknown_model_is_named(tmp_path: Path) -> None:
    record(tmp_path, "bench")
    history = history_of(tmp_path)
    assert (history.runs, len(history.devices)) == ([], 1)
    assert any(f"audited by no run of this folder: {MODEL[:12]}" in note for note in history.notes)
    assert "No run of the host" in history_page(history)


@pytest.mark.parametrize(
    "changes",
    [
        {"release": "7"},
        {"device_id": None},
        {"latency_ms": {"p50": "fast"}},
        {"overridden": "no"},
        {"precision": 8},
    ],
)
def test_a_damaged_record_is_listed_with_its_reason(changes: dict[str, Any], tmp_path: Path) -> None:
    path = record(tmp_path, "bench", **changes)
    with pytest.raises(InputRefused, match="is no record of"):
        read_device(path)
    record(tmp_path / "good", "bench")
    history = history_of(tmp_path)
    assert [entry.path for entry in history.unreadable] == ["records/bench.json"]
    assert len(history.devices) == 1


def test_a_selftest_that_contradicts_itself_is_refused_and_a_missing_number_is_no_zero(
    tmp_path: Path,
) -> None:
    path = record(tmp_path, "selftest", checks=[{"name": "golden outputs", "status": "failed"}])
    with pytest.raises(InputRefused, match="passed although a check failed"):
        read_device(path)
    names = [value.name for value in read_device(record(tmp_path, "bench", latency_ms=None)).values]
    assert names == ["images per second"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"device_id": "nano-2"}, "the devices differ: nano-1 and nano-2"),
        ({"precision": "float"}, "the precisions differ"),
        ({"backend": "onnxruntime"}, "the backends differ"),
        ({"batch": 8}, "the batch sizes differ: 1 and 8"),
        ({"product": "lights"}, "the products differ"),
        ({"facts": {**HEAD["facts"], "power_mode": "MAXN"}}, "the power modes differ: 15W and MAXN"),
    ],
)
def test_records_under_other_conditions_are_shown_without_a_ratio(
    changes: Any, words: str, tmp_path: Path
) -> None:
    first, second = record(tmp_path / "a", "bench"), record(tmp_path / "b", "bench", **changes)
    comparison = compare_devices(read_device(first), read_device(second))
    assert words in comparison.sentence
    assert comparison.sentence.startswith("The numbers are not comparable")
    assert ">1.5<" not in device_comparison_page(comparison)


def test_two_releases_on_one_device_have_ratios_and_no_test(tmp_path: Path) -> None:
    slower = {name: 1.5 * value for name, value in LATENCY.items()}
    second = record(tmp_path / "b", "bench", release=8, latency_ms=slower, model="c" * 64)
    comparison = compare_devices(read_device(record(tmp_path / "a", "bench")), read_device(second))
    assert comparison.not_comparable == []
    assert "Release 7 and release 8 of signs under the same recorded conditions" in comparison.sentence
    assert any("no test is made" in note for note in comparison.notes)
    assert any("The models differ" in note for note in comparison.notes)
    assert ">1.5<" in device_comparison_page(comparison)
    unknown = record(tmp_path / "c", "bench", facts={})
    again = compare_devices(read_device(unknown), read_device(unknown))
    assert any("Unknown on both sides" in note for note in again.notes)


def test_the_commands_read_devices_and_refuse_to_mix_them_with_runs(tmp_path: Path) -> None:
    write(tmp_path / "host", audited(0.97, "b"), 1)
    first = record(tmp_path / "a", "bench", device_id=HOSTILE[0])
    second = record(tmp_path / "b", "bench")

    def call(*arguments: object) -> Any:
        return CliRunner().invoke(app, [str(argument) for argument in arguments])

    page = tmp_path / "page.html"
    compared = call("compare", first, second, "--out", page)
    assert compared.exit_code == 0, compared.output
    assert "not comparable" in compared.output
    assert HOSTILE[0] not in page.read_text()
    assert json.loads(call("compare", first, second, "--json").stdout)["not_comparable"]
    mixed = call("compare", first, tmp_path / "host")
    assert isinstance(mixed.exception, ConfigError)
    assert "is a record of a device" in str(mixed.exception)
    shown = call("history", tmp_path, "--out", tmp_path / "history.html")
    assert shown.exit_code == 0, shown.output
    assert shown.output.count("device  ") == 2
    assert HOSTILE[0] not in (tmp_path / "history.html").read_text()
    (tmp_path / "lost").mkdir()
    assert isinstance(call("history", tmp_path / "lost").exception, SafemlError)
