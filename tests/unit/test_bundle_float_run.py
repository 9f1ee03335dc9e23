"""A bundle with the monitor of the float model, from the run that audited it."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from safeml.bundle import golden, tolerances
from safeml.bundle.build import Built, Request, build
from safeml.bundle.evidence import NotReleased
from safeml.bundle.page import bundle_page
from safeml.bundle.reading import read_bundle
from safeml.edge.monitor_check import recorded_name
from safeml.edge.verify import verify_bundle
from safeml.errors import InputRefused
from safeml.export.facts import onnx_facts
from safeml.store.files import file_sha256
from tests import bundle_runs
from tests.bundle_runs import DAY, INPUT, SETTINGS
from tests.edge_bundles import FACTS
from tests.unit.test_bundle_build import NOW, device, signed

pytestmark = pytest.mark.slow  # the input contract is that of TensorFlow


def float_release(folder: Path, **fields: Any) -> Request:
    """Write a run of the INT8 file, one of the float file, and their export. fields: of the float run."""
    run, export = bundle_runs.release(folder)
    model = export / "model.float.onnx"
    bundle_runs.write_run(folder / "float", onnx_facts(model).fingerprint, file_sha256(model), **fields)
    return Request(run, export, SETTINGS, DAY, float_run=folder / "float")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Request, Built]:
    folder = tmp_path_factory.mktemp("release")
    request = float_release(folder)
    return request, build(request, signed, folder / "signs-7.safeml")


def test_a_device_believes_both_monitors(made: tuple[Request, Built]) -> None:
    request, built = made
    manifest = verify_bundle(str(built.path), device(), FACTS, 6, NOW).manifest
    own = manifest.float_monitor
    assert own is not None
    assert own.model == manifest.models["float"].fingerprint != manifest.monitor_model
    assert (own.verdict, own.profile) == ("passed", "full")
    opened = read_bundle(built.path)
    folder = request.float_run / "artefacts" / "monitors"  # type: ignore[operator]
    assert opened.small["monitor-float/monitor.json"] == (folder / "monitor.json").read_bytes()
    assert opened.small["audit-float/results.json"] == (request.float_run / "results.json").read_bytes()  # type: ignore[operator]


def test_the_answers_of_the_float_monitor_are_recorded_with_their_tolerance(
    made: tuple[Request, Built],
) -> None:
    _, built = made
    opened = read_bundle(built.path)
    arrays = np.load(io.BytesIO(opened.small[golden.FILE]))
    scores = arrays[recorded_name("float", "scores")]
    np.testing.assert_allclose(scores, arrays["logits.float"].max(axis=1), rtol=1e-6)
    assert not np.allclose(scores, arrays["monitor.scores"])
    record = tolerances.read(opened.small[tolerances.FILE])[tolerances.FLOAT_SCORES]
    assert set(record.measured) == {"with optimizations", "in FP16"}
    own = opened.manifest.float_monitor
    assert own is not None
    assert own.max_abs == record.max_abs
    # Both numbers are rounded up to three digits.
    assert record.max_abs == pytest.approx(tolerances.FACTOR * record.measured["in FP16"], rel=0.01)
    assert record.max_abs > 0


def test_the_page_says_which_models_have_a_monitor(made: tuple[Request, Built], tmp_path: Path) -> None:
    request, built = made
    text = bundle_page(read_bundle(built.path))
    assert "fitted on the outputs of model float" in text
    assert "float monitor" in text
    without = build(replace(request, float_run=None), signed, tmp_path / "without.safeml")
    text = bundle_page(read_bundle(without.path))
    assert "none, because the float model was not audited" in text
    assert "a device without fast INT8 never answers TRUST" in text
    assert read_bundle(without.path).manifest.float_monitor is None


def test_equal_inputs_give_equal_bytes(made: tuple[Request, Built], tmp_path: Path) -> None:
    request, built = made
    assert build(request, signed, tmp_path / "again.safeml").sha256 == built.sha256


def test_a_float_run_that_is_no_release_needs_an_override(tmp_path: Path) -> None:
    request = float_release(tmp_path, threshold=0.999)
    with pytest.raises(NotReleased, match="The run of the float model: The verdict is"):
        build(request, signed, tmp_path / "x.safeml")
    built = build(replace(request, override="bench test"), signed, tmp_path / "x.safeml")
    assert any(reason.startswith("The run of the float model") for reason in built.reasons)
    own = read_bundle(built.path).manifest.float_monitor
    assert own is not None
    assert own.verdict != "passed"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda request: replace(request, float_run=request.run), "audit this file"),
        (lambda request: without_float(request), "the export has none"),
    ],
)
def test_a_run_of_another_model_is_refused(change: Any, words: str, tmp_path: Path) -> None:
    with pytest.raises(InputRefused, match=words):
        build(change(float_release(tmp_path)), signed, tmp_path / "x.safeml")
    assert not (tmp_path / "x.safeml").exists()


def without_float(request: Request) -> Request:
    record = json.loads((request.export / "export.json").read_text())
    record["files"] = [row for row in record["files"] if row["name"] != "model.float.onnx"]
    (request.export / "export.json").write_text(json.dumps(record))
    return request


def test_a_float_run_without_a_monitor_or_of_other_data_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputRefused, match=r"stored no monitor.*leave --float-run out"):
        build(float_release(tmp_path / "a", monitor=False), signed, tmp_path / "x.safeml")
    request = float_release(tmp_path / "b")
    path = request.float_run / "results.json"  # type: ignore[operator]
    other = {**INPUT, "high": 2.0}
    run = bundle_runs.write_run(
        tmp_path / "c",
        onnx_facts(request.export / "model.float.onnx").fingerprint,
        file_sha256(request.export / "model.float.onnx"),
    )
    identity = run.model.model_copy(update={"input": other})
    times = bundle_runs.TIMES.model_copy(
        update={"model_file_sha256": file_sha256(request.export / "model.float.onnx")}
    )
    bundle_runs.store(run.model_copy(update={"model": identity}), times, tmp_path / "c")
    with pytest.raises(InputRefused, match="another input contract or other classes"):
        build(replace(request, float_run=tmp_path / "c"), signed, tmp_path / "x.safeml")
    assert path.exists()
