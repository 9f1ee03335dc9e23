"""`safeml bundle`, `safeml keys`, `safeml edge` and the bundle of `safeml run`: options, exit codes, sentences."""

from __future__ import annotations

import dataclasses
import json
import stat
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from safeml.bundle import reading, report_signing, runtime, signing
from safeml.cli import bundle_run
from safeml.cli.keys import PASSWORD
from safeml.cli.main import app
from safeml.config.audit import Config
from safeml.errors import ConfigError, InputRefused, MissingInput, SafemlError
from safeml.settings.bundle import BundleSettings
from safeml.store.files import read_run, read_times
from tests import bundle_runs
from tests.edge_bundles import SECOND

pytestmark = pytest.mark.slow


def call(*arguments: object, **environment: str) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments], env=environment)


def error(result: Result) -> SafemlError:
    """Return the error that ends a command with one sentence."""
    assert isinstance(result.exception, SafemlError), result.output
    return result.exception


def key_file(folder: Path) -> Path:
    path = folder / "key"
    result = call("keys", "new", path, "--no-password")
    assert result.exit_code == 0, result.output
    return path


def test_a_new_key_is_encrypted_and_shown_by_its_id(tmp_path: Path) -> None:
    path = tmp_path / "key"
    made = call("keys", "new", path, **{PASSWORD: "secret"})
    assert made.exit_code == 0, made.output
    assert b"ENCRYPTED" in path.read_bytes()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    keyid = signing.key_id(bytes.fromhex((tmp_path / "key.pub").read_text()))
    assert f"Key id: {keyid}" in made.output
    assert call("keys", "show", f"{path}.pub").output.strip() == keyid
    assert call("keys", "show", path, **{PASSWORD: "secret"}).output.strip() == keyid
    assert "does not open the key" in str(error(call("keys", "show", path, **{PASSWORD: "other"})))
    assert "is encrypted; set its password" in str(error(call("keys", "show", path)))


def test_a_key_needs_a_password_or_the_word_that_it_has_none(tmp_path: Path) -> None:
    for environment in ({}, {PASSWORD: ""}):
        assert isinstance(error(call("keys", "new", tmp_path / "key", **environment)), ConfigError)
    assert list(tmp_path.iterdir()) == []
    assert isinstance(error(call("keys", "show", tmp_path / "none")), MissingInput)


@pytest.mark.slow
def test_a_run_becomes_a_signed_bundle_with_a_page(tmp_path: Path) -> None:
    run, export = bundle_runs.release(tmp_path)
    key, out = key_file(tmp_path), tmp_path / "signs-7.safeml"
    given = [
        "bundle",
        run,
        "--export",
        export,
        "--product",
        "signs",
        "--release",
        7,
        "--key",
        key,
        "--expires-days",
        0,
        "-o",
        out,
    ]
    made = call(*given)
    assert made.exit_code == 0, made.output
    assert "OVERRIDE" not in made.output
    page = out.with_suffix(".html").read_text()
    assert "verified on this machine" in page
    assert "not verified" not in page
    assert "exists already" in str(error(call(*given)))
    shown = call("bundle", "show", out, "--public", f"{key}.pub", "-o", tmp_path / "again.html")
    assert shown.exit_code == 0, shown.output
    assert "signs release 7, version 7: PASSED" in shown.output
    assert " verified" in shown.output
    assert (tmp_path / "again.html").read_text() == page
    out.write_bytes(out.read_bytes()[:-1])
    assert "refused [truncated]" in str(error(call("bundle", "show", out)))


@pytest.mark.slow
def test_a_bundle_carries_the_signature_of_its_report_and_no_stale_one(tmp_path: Path) -> None:
    run, export = bundle_runs.release(tmp_path)
    key, out = key_file(tmp_path), tmp_path / "signs-7.safeml"
    given = ["bundle", run, "--export", export, "--product", "signs", "--release", 7, "--key", key, "--expires-days", 0, "-o", out]  # fmt: skip
    report_signing.sign_report(run, (SECOND,), bundle_runs.DAY)
    recorded, times = read_run(run), read_times(run)
    assert times is not None
    bundle_runs.store(recorded.model_copy(update={"title": "Another report"}), times, run)
    assert "is stale" in str(error(call(*given)))
    assert call("sign", run, "--key", key).exit_code == 0
    made = call(*given)
    assert made.exit_code == 0, made.output
    shown = call("bundle", "show", out, "--public", f"{key}.pub")
    lines = [line.split() for line in shown.output.splitlines()]
    assert [line[2] for line in lines if line[0] in ("report", "signed")] == ["verified", "verified"]
    opened = reading.read_bundle(out)
    small = {**opened.small, reading.BUNDLED_SIGNATURE: opened.small["audit/results.json"]}
    with pytest.raises(InputRefused, match="is no signature of a report"):
        reading.report_signature(dataclasses.replace(opened, small=small), [])
    files = tuple(
        one._replace(sha256="0" * 64) if one.name == "audit/index.html" else one
        for one in opened.manifest.files
    )
    other = dataclasses.replace(opened, manifest=opened.manifest._replace(files=files))
    with pytest.raises(InputRefused, match=r"another \"index\.html\" than the signed one"):
        reading.report_signature(other, [])


@pytest.mark.slow
def test_settings_of_a_file_are_taken_and_the_command_line_wins(tmp_path: Path) -> None:
    run, export = bundle_runs.release(tmp_path, threshold=0.99)
    config = tmp_path / "safeml.toml"
    config.write_text(
        '[model]\npath = "m.onnx"\n[data.test]\nkind = "rendered"\n[bundle]\nproduct = "signs"\nrelease = 3\nexpires_days = 0\n'
        '[bundle.constraints]\narchitectures = ["aarch64"]\nmemory_mb = 4000\ntensorrt_least = "8.6"\njetpack_below = "7.2"\n'
        '[[gates]]\nid = "clean"\nstage = "performance"\nmetric = "clean_accuracy"\nop = ">="\nthreshold = 0.9\n'
    )
    given = [
        "bundle",
        run,
        "--export",
        export,
        "-c",
        config,
        "--release",
        4,
        "--unsigned",
        "-o",
        tmp_path / "b.safeml",
    ]
    refused = error(call(*given))
    assert int(refused.exit_code) == 1
    assert "is no release. The verdict is failed" in str(refused)
    made = call(*given, "--override", "a rehearsal")
    assert made.exit_code == 0, made.output
    assert "OVERRIDE: The verdict is failed" in made.output
    found = reading.read_bundle(tmp_path / "b.safeml")
    assert (found.manifest.release, found.manifest.expires, found.signers) == (4, None, ())
    constraints = found.manifest.constraints
    assert (constraints.architectures, constraints.memory_mb) == (("aarch64",), 4000)
    assert (constraints.tensorrt, constraints.jetpack) == (((8, 6), (12,)), (None, (7, 2)))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--release", 1, "--unsigned"], "no product"),
        (["--product", "p", "--unsigned"], "no release number"),
        (["--product", "p", "--release", 1], "no key to sign with"),
        (["--product", "p", "--release", 1, "--key", "k", "--unsigned"], "contradict"),
        (["--product", "p q", "--release", 1, "--unsigned"], "product"),
        (["--product", "p", "--release", 1, "--unsigned", "--created", "2026-01-01"], "time zone"),
        (["--product", "p", "--release", 1, "--unsigned", "-o", "x.zip"], "does not end in .safeml"),
    ],
)
def test_wrong_usage_is_one_sentence_before_any_work(
    arguments: list[Any], words: str, tmp_path: Path
) -> None:
    found = error(call("bundle", tmp_path, "--export", tmp_path, *arguments))
    assert isinstance(found, ConfigError)
    assert words in str(found)


def test_a_run_that_is_none_is_missing(tmp_path: Path) -> None:
    found = error(call("bundle", tmp_path, "--export", tmp_path, "--product", "p", "--release", 1, "--unsigned", "-o", tmp_path / "x.safeml"))  # fmt: skip
    assert isinstance(found, MissingInput)
    assert list(tmp_path.iterdir()) == []


def test_the_runtime_is_written(tmp_path: Path) -> None:
    made = call("edge", "build", "-o", tmp_path / "dist")
    assert made.exit_code == 0, made.output
    assert sorted(path.name for path in (tmp_path / "dist").iterdir()) == sorted(
        [runtime.WHEEL, runtime.ZIPAPP]
    )
    assert (tmp_path / "dist" / runtime.WHEEL).read_bytes() == runtime.wheel_bytes()


def config(bundle: dict[str, Any], **model: str) -> Config:
    return Config.model_validate(
        {"model": model or {"path": "m.onnx"}, "data": {"test": {"kind": "rendered"}}, "bundle": bundle}
    )


def test_a_run_without_product_and_key_plans_no_bundle(tmp_path: Path) -> None:
    for table in ({}, {"product": "signs", "release": 1}, {"key": "k"}):
        assert (
            bundle_run.planned_bundle(tmp_path / "safeml.toml", config(table), trial=False, force=False)
            is None
        )


def test_what_a_bundle_needs_is_checked_before_the_run(tmp_path: Path) -> None:
    where = tmp_path / "safeml.toml"
    key = {"product": "signs", "key": "key"}
    key_file(tmp_path)
    for settings, words in (
        (config(key), "but no release"),
        (config({**key, "release": 1}, recipe="recipe.toml"), "needs an INT8 model"),
        (config({**key, "release": 1, "key": "none"}), "there is no such key"),
    ):
        with pytest.raises((ConfigError, MissingInput), match=words):
            bundle_run.planned_bundle(where, settings, trial=False, force=False)
    (tmp_path / "reports").mkdir()
    (tmp_path / "reports" / "signs-1.safeml").touch()
    settings = config({**key, "release": 1})
    with pytest.raises(ConfigError, match="exists already"):
        bundle_run.planned_bundle(where, settings, trial=False, force=False)
    planned = bundle_run.planned_bundle(where, settings, trial=False, force=True)
    assert planned is not None
    assert [len(each.public) for each in planned.by.keys] == [32]


def planned(folder: Path, trial: bool) -> bundle_run.PlannedBundle:
    table = {"product": "signs", "release": 7, "key": str(key_file(folder)), "expires_days": 0}
    made = bundle_run.planned_bundle(folder / "safeml.toml", config(table), trial=trial, force=False)
    assert made is not None
    return made


@pytest.mark.parametrize(
    ("status", "code", "profile"), [("failed", 1, "full"), ("not_proven", 3, "full"), ("passed", 0, "quick")]
)
def test_a_run_that_did_not_pass_gives_no_bundle(status: str, code: int, profile: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:  # fmt: skip
    run: Any = SimpleNamespace(verdict=SimpleNamespace(status=status, exit_code=code), profile=profile)
    planned(tmp_path, trial=False).make(run, tmp_path / "run", tmp_path / "model.int8.onnx")
    assert "No bundle: the " in capsys.readouterr().err
    assert not (tmp_path / "reports").exists()


def test_a_trial_is_named_by_the_model_and_unsigned(tmp_path: Path) -> None:
    settings = config({}, path="m.onnx", name="net 1/int8")
    made = bundle_run.planned_bundle(tmp_path / "safeml.toml", settings, trial=True, force=False)
    assert made is not None
    assert (made.settings.product, made.settings.release, made.by.keys) == ("net-1-int8", 1, ())
    assert made.out == tmp_path / "reports" / "net-1-int8-1.safeml"


def test_a_model_that_was_not_exported_gives_a_sentence(tmp_path: Path) -> None:
    run: Any = SimpleNamespace(verdict=SimpleNamespace(status="passed", exit_code=0), profile="full")
    bundle_runs.write_model(tmp_path / "other.onnx")
    with pytest.raises(ConfigError, match="is no INT8 file of `safeml export`"):
        planned(tmp_path, trial=False).make(run, tmp_path / "run", tmp_path / "other.onnx")


@pytest.mark.slow
@pytest.mark.parametrize("trial", [False, True])
def test_a_passed_run_becomes_a_bundle_beside_the_reports(trial: bool, tmp_path: Path) -> None:
    run, export = bundle_runs.release(tmp_path)
    record = {"settings": {"model": {"input": {}}}}
    (export / "quantization.json").write_text(json.dumps(record))
    from safeml.store.files import read_run

    planned(tmp_path, trial).make(read_run(run), run, export / "model.int8.onnx")
    found = reading.read_bundle(tmp_path / "reports" / "signs-7.safeml")
    assert found.statement.result == "PASSED"
    assert bool(found.signers) is not trial


def test_deltas_and_openssf_name_what_they_need(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "bsdiff4", None)
    found = error(call("bundle", "delta", "a", "b", "-o", tmp_path / "d"))
    assert "safeml-suite[delta]" in str(found)
    assert isinstance(found, ConfigError)


def test_bundle_settings_are_bounded() -> None:
    for table in ({"release": 0}, {"release": True}, {"product": "../x"}, {"tolerances": {"int4": 1.0}}, {"tolerances": {"int8": 0.0}}, {"constraints": {"compute_capabilities": ["8"]}}):  # fmt: skip
        with pytest.raises(ValueError, match="validation error"):
            BundleSettings.model_validate(table)
