"""Parts of a bundle: golden images, input contract, labels, arrays and monitor."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
from pathlib import Path

import numpy as np
import pytest

from safeml.bundle import build as building
from safeml.bundle import contract, golden, manifest, signing, tolerances
from safeml.bundle.arrays import npz_bytes
from safeml.bundle.build import Request, build
from safeml.bundle.evidence import read_evidence
from safeml.bundle.reading import read_bundle
from safeml.classifiers.base import InputSpec
from safeml.errors import InputRefused
from tests import bundle_runs
from tests.bundle_runs import CLASSES, DAY, FEATURES, SETTINGS, SIDE

pytestmark = pytest.mark.slow  # the input contract is that of TensorFlow


def test_the_golden_frame_is_larger_than_any_input() -> None:
    for side in (16, 96, 128, 300):
        frame = contract.golden_frame(InputSpec(side, side))
        assert frame.shape[0] > side
        assert frame.shape[1] > frame.shape[0]


def test_the_labels_are_one_text_for_each_output() -> None:
    assert contract.labels(("a", "b", "c"), 3)["labels"] == ["a", "b", "c"]
    with pytest.raises(InputRefused, match="records 2 class names, and the model has 3 classes"):
        contract.labels(("a", "b"), 3)
    with pytest.raises(InputRefused, match="records no class names"):
        contract.labels((), 3)
    with pytest.raises(InputRefused, match="different texts"):
        contract.labels(("a", "a", "b"), 3)


def test_arrays_have_the_same_bytes_in_any_order_and_keep_their_shape() -> None:
    arrays = {"b": np.arange(6).reshape(2, 3).T, "a": np.array(3)}
    data = npz_bytes(arrays)
    assert data == npz_bytes(dict(reversed(arrays.items())))
    loaded = np.load(io.BytesIO(data))
    assert loaded["a"].shape == ()
    np.testing.assert_array_equal(loaded["b"], arrays["b"])


def test_an_inverted_range_cannot_be_expressed() -> None:
    with pytest.raises(InputRefused, match="lower end first"):
        manifest._input(InputSpec(16, 16, low=1.0, high=0.0))
    table = manifest._input(InputSpec(16, 16, mean=(0.5, 0.5, 0.5)))
    assert (table["mean"], table["std"]) == ([0.5] * 3, [1.0] * 3)


def test_the_calibration_images_of_the_export_stay_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The SavedModel is a stand-in; its answers are those of the INT8 file, a little off."""
    run, export = bundle_runs.release(tmp_path)
    secret = npz_bytes(
        {"images": np.full((2, SIDE, SIDE, 3), 0.123, np.float32), "outputs": np.zeros((2, CLASSES))}
    )
    record = json.loads((export / "export.json").read_text())
    for name, content in {
        "tftrt/convert_tftrt.py": b"print()\n",
        "tftrt/golden.npz": secret,
        "tftrt/saved_model/saved_model.pb": b"graph",
    }.items():
        (export / name).parent.mkdir(parents=True, exist_ok=True)
        (export / name).write_bytes(content)
        record["files"].append(
            {"name": name, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        )
    (export / "export.json").write_text(json.dumps(record))

    def served(folder: Path, values: np.ndarray) -> np.ndarray:
        session = golden.session(export / "model.int8.onnx")
        return golden.outputs(session, values, ["logits"])[0] + np.float32(0.01)

    monkeypatch.setattr(golden.tftrt, "predict", served)
    request = Request(run, export, SETTINGS, DAY)
    built = build(request, signing.unsigned, tmp_path / "x.safeml")
    assert secret not in built.path.read_bytes()
    opened = read_bundle(built.path)
    images = np.load(io.BytesIO(opened.small["models/tftrt/golden.npz"]))
    arrays = np.load(io.BytesIO(opened.small[golden.FILE]))
    np.testing.assert_array_equal(images["images"], arrays["values"])
    np.testing.assert_array_equal(images["outputs"], arrays["logits.tftrt"])
    assert opened.manifest.models["tftrt"].path == "models/tftrt/saved_model"
    assert opened.manifest.golden.tolerances["tftrt"].max_abs == pytest.approx(0.02, rel=0.02)
    assert opened.small["models/tftrt/saved_model/saved_model.pb"] == b"graph"
    monkeypatch.setattr(
        golden.tftrt, "predict", lambda folder, values: None
    )  # a SavedModel that gives probabilities
    without = read_bundle(build(request, signing.unsigned, tmp_path / "y.safeml").path)
    assert "tftrt" not in without.manifest.models
    assert not any(one.name.startswith("models/tftrt") for one in without.manifest.files)


def test_a_monitor_of_another_model_is_refused(tmp_path: Path) -> None:
    run, export = bundle_runs.release(tmp_path)
    evidence = read_evidence(run, DAY)
    exported = building.read_export(export, evidence)
    assert building._monitor(evidence, exported.int8) is not None
    other = exported.int8.facts.sizes | {"features": FEATURES + 1}
    facts = dataclasses.replace(exported.int8.facts, sizes=other)
    int8 = dataclasses.replace(exported.int8, facts=facts)
    with pytest.raises(InputRefused, match="the features of the state is 4, and that of the model is 5"):
        building._monitor(evidence, int8)


def test_a_tolerance_is_rounded_up_and_its_record_is_read_back() -> None:
    assert [golden._rounded(value) for value in (0.0, 1.2345e-7, 0.9999, 1.0, 1.001, 123456.0)] == [
        0.0, 1.24e-7, 1.0, 1.0, 1.01, 124000.0,
    ]  # fmt: skip
    rows = {"int8": tolerances.Tolerance(1.81, {"with optimizations": 0.9}, fixed=True)}
    assert tolerances.read(json.dumps(tolerances.record(rows)).encode()) == rows
    for content in (b"[]", b"{}", b'{"tolerances": 3}', b'{"tolerances": {"a": {}}}', b"x"):
        with pytest.raises(ValueError, match=r"shape|JSON|value"):
            tolerances.read(content)
