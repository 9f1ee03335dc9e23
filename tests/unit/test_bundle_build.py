"""A bundle made of a run and an export: its files, manifest and statement, as a device reads them."""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from safeml.bundle import build as building
from safeml.bundle import contract, golden, manifest, runtime, signing
from safeml.bundle.build import Built, Request, build
from safeml.bundle.evidence import NotReleased, read_evidence
from safeml.bundle.page import bundle_page
from safeml.bundle.reading import read_bundle
from safeml.classifiers.base import InputSpec
from safeml.edge.settings import DeviceSettings, Key, key_id
from safeml.edge.verify import unpack_bundle, verify_bundle, verify_folder
from safeml.errors import ConfigError, InputRefused, StageError
from safeml.monitors.runtime import Monitor
from safeml.monitors.state import load_state
from safeml.settings.bundle import BundleSettings
from safeml.store.files import read_run
from tests import bundle_runs
from tests.bundle_runs import CLASSES, DAY, FEATURES, NAMES, SETTINGS, SIDE
from tests.edge_bundles import FACTS, KEY
from tests.sample_run import gate, waiver

pytestmark = pytest.mark.slow  # the input contract is that of TensorFlow
NOW = datetime(2026, 7, 1, tzinfo=UTC).timestamp()


def signed(statement: bytes) -> bytes:
    return signing.sign(statement, [KEY])


def device(**changes: Any) -> DeviceSettings:
    public = signing.public_bytes(KEY)
    return DeviceSettings("signs", "d", "/nowhere", (Key(key_id(public), public),))._replace(**changes)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Request, Built]:
    folder = tmp_path_factory.mktemp("release")
    run, export = bundle_runs.release(folder)
    request = Request(run, export, SETTINGS, DAY)
    return folder, request, build(request, signed, folder / "signs-7.safeml")


def test_a_device_believes_the_bundle_and_unpacks_it(
    made: tuple[Path, Request, Built], tmp_path: Path
) -> None:
    _, _, built = made
    verified = verify_bundle(str(built.path), device(), FACTS, 6, NOW)
    assert (verified.statement.result, verified.overridden) == ("PASSED", False)
    assert (verified.statement.passed, verified.statement.failed) == (("clean-accuracy",), ())
    unpack_bundle(str(built.path), str(tmp_path / "slot"), device(), FACTS, 0, NOW)
    again = verify_folder(str(tmp_path / "slot"), device(), FACTS, NOW)
    assert again.manifest == verified.manifest
    state = load_state(
        str(tmp_path / "slot" / "monitor"), again.manifest.monitor_model or "", CLASSES, FEATURES
    )
    assert state.settings["score"] == "max_logit"


def test_the_manifest_says_what_the_run_recorded(made: tuple[Path, Request, Built]) -> None:
    _, request, built = made
    opened = read_bundle(built.path)
    found, run = opened.manifest, read_run(request.run)
    assert (found.product, found.release, found.classes, found.features) == ("signs", 7, CLASSES, FEATURES)
    assert found.evidence.model_fingerprint == run.model.fingerprint == found.models["int8"].fingerprint
    assert (
        found.evidence.results_sha256
        == hashlib.sha256((request.run / "results.json").read_bytes()).hexdigest()
    )
    assert found.models["int8"].outputs == ("logits", "features")
    assert found.constraints.compute_capabilities == ("5.3", "6.2", "7.2", "8.7", "11.0")
    assert (found.created, found.expires) == (1781510472, 1781510472 + 365 * 86400)
    assert {one.name for one in found.files} >= {"labels.json", "audit/index.html", "audit/sha256sums.txt", f"runtime/{runtime.WHEEL}"}  # fmt: skip
    assert json.loads(opened.small["labels.json"]) == {"format": 1, "labels": list(NAMES)}
    assert opened.small["audit/results.json"] == (request.run / "results.json").read_bytes()


def test_equal_inputs_give_equal_bytes_and_nothing_else_is_left(made: tuple[Path, Request, Built]) -> None:
    folder, request, built = made
    again = build(request, signed, folder / "again.safeml")
    assert again.sha256 == built.sha256 == hashlib.sha256(built.path.read_bytes()).hexdigest()
    assert sorted(path.name for path in folder.iterdir()) == [
        "again.safeml",
        "export",
        "run",
        "signs-7.safeml",
    ]
    again.path.unlink()


def test_golden_answers_are_those_of_the_files_and_clear_of_the_tolerance(
    made: tuple[Path, Request, Built],
) -> None:
    import onnxruntime

    _, request, built = made
    opened = read_bundle(built.path)
    arrays = np.load(io.BytesIO(opened.small[golden.FILE]))
    for key, file in (("int8", "model.int8.onnx"), ("float", "model.float.onnx")):
        session = onnxruntime.InferenceSession(request.export / file, providers=["CPUExecutionProvider"])
        logits = session.run(["logits"], {"image": arrays["values"]})[0]
        limit = opened.manifest.golden.tolerances[key].max_abs
        assert np.abs(logits - arrays[f"logits.{key}"]).max() <= limit
        ordered = np.sort(arrays[f"logits.{key}"], axis=1)
        assert (ordered[:, -1] - ordered[:, -2] > 2 * limit).all()
    assert arrays["values"].shape == (32, SIDE, SIDE, 3)
    np.testing.assert_allclose(
        arrays["values"], arrays["frames"] / 255, atol=1e-6
    )  # of the size of the input: no resizing
    half = opened.manifest.golden.tolerances["float"].max_abs
    assert half == pytest.approx(2 * built.measured["float"].measured["in FP16"], rel=0.01)
    assert (
        built.measured["float"].measured["in FP16"]
        > 100 * built.measured["float"].measured["with optimizations"]
    )


def test_the_answers_of_the_monitor_repeat(made: tuple[Path, Request, Built], tmp_path: Path) -> None:
    _, _, built = made
    opened = read_bundle(built.path)
    arrays = np.load(io.BytesIO(opened.small[golden.FILE]))
    for name in ("monitor.json", "monitor.npz"):
        (tmp_path / name).write_bytes(opened.small[f"monitor/{name}"])
    monitor = Monitor(load_state(str(tmp_path), opened.manifest.monitor_model or "", CLASSES, FEATURES))
    repeats, step = int(arrays["monitor.repeats"]), float(arrays["monitor.step"])
    assert arrays["monitor.repeats"].shape == arrays["monitor.step"].shape == ()
    for row, (logits, features) in enumerate(
        zip(arrays["logits.int8"], arrays["features.int8"], strict=True)
    ):
        for turn in range(repeats):
            answer = monitor.update(logits, features, (row * repeats + turn) * step)
        assert ["TRUST", "COLLECT_MORE", "FALL_BACK"][
            arrays["monitor.actions"][row]
        ] == answer.decision.action
        assert arrays["monitor.scores"][row] == answer.decision.score


def test_an_override_is_signed_and_refused_by_a_device_that_does_not_allow_it(tmp_path: Path) -> None:
    from safeml.edge.errors import Refused

    run, export = bundle_runs.release(tmp_path, threshold=0.99, monitor=False)
    request = Request(run, export, SETTINGS, DAY)
    out = tmp_path / "x.safeml"
    with pytest.raises(NotReleased):
        build(request, signed, out)
    assert not out.exists()
    built = build(Request(run, export, SETTINGS, DAY, override="the fleet waits"), signed, out)
    assert len(built.reasons) == 2
    with pytest.raises(Refused) as caught:
        verify_bundle(str(out), device(), FACTS, 0, NOW)
    assert caught.value.reason == "override-not-allowed"
    verified = verify_bundle(str(out), device(allow_override=True), FACTS, 0, NOW)
    assert (verified.statement.result, verified.statement.override) == ("FAILED", "the fleet waits")
    assert verified.manifest.monitor is None
    page = bundle_page(read_bundle(out))
    assert 'class="word fail"' in page
    assert "the fleet waits" in page
    assert "There is no monitor" in page


def test_an_unneeded_override_is_not_recorded(made: tuple[Path, Request, Built]) -> None:
    folder, request, built = made
    again = build(
        Request(request.run, request.export, SETTINGS, DAY, override="just in case"),
        signed,
        folder / "y.safeml",
    )
    assert again.sha256 == built.sha256
    again.path.unlink()


def test_the_page_names_the_key_and_whether_it_was_verified(made: tuple[Path, Request, Built]) -> None:
    _, _, built = made
    keyid = device().keys[0].keyid
    assert "not verified on this machine" in bundle_page(read_bundle(built.path))
    page = bundle_page(read_bundle(built.path, device().keys))
    assert keyid in page
    assert "not verified" not in page
    assert 'class="word pass"' in page
    assert "<script" not in page


def test_a_signature_by_a_given_key_that_does_not_verify_is_refused(
    made: tuple[Path, Request, Built],
) -> None:
    _, _, built = made
    from tests.edge_bundles import SECOND

    wrong = Key(device().keys[0].keyid, signing.public_bytes(SECOND))
    with pytest.raises(InputRefused, match="bad-signature"):
        read_bundle(built.path, [wrong])


def test_an_unsigned_bundle_is_a_trial(made: tuple[Path, Request, Built], tmp_path: Path) -> None:
    _, request, _ = made
    built = build(request, signing.unsigned, tmp_path / "u.safeml")
    opened = read_bundle(built.path)
    assert opened.signers == ()
    assert "every device refuses" in bundle_page(opened)


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_failure_while_writing_leaves_nothing(call: str, made: tuple[Path, Request, Built], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    def full(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(building.os, call, full)
    with pytest.raises(StageError, match="No space left"):
        building._write(tmp_path / "x.safeml", lambda stream: stream.write(b"x") and None)
    assert list(tmp_path.iterdir()) == []


def test_a_bundle_that_expired_already_is_not_made(made: tuple[Path, Request, Built], tmp_path: Path) -> None:
    _, request, _ = made
    for today, fails in (("2027-06-14", False), ("2027-06-15", True)):
        late = Request(request.run, request.export, SETTINGS, today)
        evidence = read_evidence(request.run, today)
        release = manifest.Release(SETTINGS, building._end_of(evidence), "")
        if not fails:
            building._check_dates(release, evidence, today)
            continue
        with pytest.raises(ConfigError, match="expired on 2027-06-15"):
            build(late, signed, tmp_path / "x.safeml")
    assert list(tmp_path.iterdir()) == []


def test_a_reason_is_one_line(made: tuple[Path, Request, Built], tmp_path: Path) -> None:
    _, request, _ = made
    for reason in ("two\nlines", "x" * 501):
        with pytest.raises(ConfigError, match="no text of one line"):
            build(
                Request(request.run, request.export, SETTINGS, DAY, override=reason),
                signed,
                tmp_path / "x.safeml",
            )


@pytest.mark.parametrize(
    "name",
    [
        "run/results.json",
        "run/index.html",
        "run/artefacts/monitors/monitor.json",
        "export/model.int8.onnx",
        "export/model.float.onnx",
    ],
)
def test_a_file_that_changes_while_the_bundle_is_made_is_found(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    run, export = bundle_runs.release(tmp_path)
    real = contract.raw_arrays

    def meanwhile(spec: InputSpec) -> dict[str, np.ndarray]:
        path = tmp_path / name
        path.write_bytes(path.read_bytes() + b" ")
        return real(spec)

    monkeypatch.setattr(contract, "raw_arrays", meanwhile)
    with pytest.raises(InputRefused, match="changed while the bundle was made"):
        build(Request(run, export, SETTINGS, DAY), signed, tmp_path / "x.safeml")
    assert not (tmp_path / "x.safeml").exists()


def test_a_waiver_ends_the_bundle(tmp_path: Path) -> None:
    gates = [gate("clean-accuracy", "clean_accuracy", threshold=0.99, waiver=waiver("2026-12-31"))]
    run, _ = bundle_runs.release(tmp_path, gates=gates)
    evidence = read_evidence(run, DAY)
    created = datetime(2026, 6, 15, tzinfo=UTC)
    release = manifest.Release(SETTINGS, created, "")
    assert manifest.last_day(release, evidence) == datetime(2027, 1, 1, tzinfo=UTC)
    short = manifest.Release(SETTINGS.model_copy(update={"expires_days": 10}), created, "")
    assert manifest.last_day(short, evidence) == datetime(2026, 6, 25, tzinfo=UTC)
    assert evidence.tests("not_proven", "waived") == ["clean-accuracy"]


def test_dates_and_release_are_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1781510400")
    assert building.source_date() == datetime(2026, 6, 15, 8, tzinfo=UTC)
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "soon")
    with pytest.raises(ConfigError, match="expected seconds since 1970"):
        building.source_date()
    with pytest.raises(ConfigError, match="no product"):
        manifest.check_release(BundleSettings(release=1))
    with pytest.raises(ConfigError, match="no release number"):
        manifest.check_release(BundleSettings(product="signs"))


def test_sorted_outputs_are_refused_because_a_device_does_not_sort(made: tuple[Path, Request, Built]) -> None:
    run = read_run(made[1].run)

    def with_order(order: tuple[int, ...] | None) -> InputSpec:
        identity = run.model.model_copy(update={"input": {**bundle_runs.INPUT, "class_order": order}})
        return contract.spec_of(run.model_copy(update={"model": identity}))

    assert with_order(None).class_order is None
    assert with_order((0, 1, 2, 3, 4)).height == SIDE
    with pytest.raises(InputRefused, match="class_order sorts the outputs"):
        with_order((1, 0, 2, 3, 4))


def test_too_few_clear_images_are_refused_and_fixed_tolerances_decide(
    made: tuple[Path, Request, Built], tmp_path: Path
) -> None:
    _, request, _ = made
    narrow = SETTINGS.model_copy(update={"tolerances": {"int8": 0.123456}})
    made_narrow = build(Request(request.run, request.export, narrow, DAY), signed, tmp_path / "narrow.safeml")
    assert read_bundle(made_narrow.path).manifest.golden.tolerances["int8"].max_abs == 0.123456
    assert "fixed by the settings" in bundle_page(read_bundle(made_narrow.path))
    wide = SETTINGS.model_copy(update={"tolerances": {"int8": 1e6}})
    with pytest.raises(StageError, match="only 0 are decided"):
        build(Request(request.run, request.export, wide, DAY), signed, tmp_path / "x.safeml")


def test_a_bundle_is_shown_without_a_framework_or_arrays() -> None:
    code = (
        "import sys, safeml.bundle.page, safeml.bundle.reading, safeml.bundle.delta, safeml.cli.bundle;"
        "print([name for name in ('numpy', 'tensorflow', 'onnx', 'onnxruntime') if name in sys.modules])"
    )
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert child.stdout.strip() == "[]"
