"""ONNX files under test: layouts, batches and precisions give the closed form, and files that are no classifier are refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from safeml.classifiers.onnx import load_onnx
from safeml.errors import InputRefused
from safeml.scan.base import Refused
from safeml.scan.formats import identify
from safeml.scan.onnx import scan_onnx
from safeml.settings.model import InputSettings
from tests.integration.graph_cases import NAMES

pytestmark = pytest.mark.slow


def onnx_model(layout: str = "nchw", batch: object = "N", kind: int = 1, softmax: bool = False) -> bytes:
    """A pooled linear map: the mean of each channel times a matrix."""
    import onnx
    from onnx import helper, numpy_helper

    dtype = {1: np.float32, 10: np.float16}[kind]
    weights = np.arange(15, dtype=dtype).reshape(3, 5) / dtype(7)
    shape, axes = ([batch, 3, 4, 6], [2, 3]) if layout == "nchw" else ([batch, 4, 6, 3], [1, 2])
    nodes = [
        helper.make_node("ReduceMean", ["x"], ["f"], axes=axes, keepdims=0),
        helper.make_node("MatMul", ["f", "w"], ["z"]),
        helper.make_node("Softmax", ["z"], ["y"]) if softmax else helper.make_node("Identity", ["z"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", kind, shape)],
        [helper.make_tensor_value_info("y", kind, [batch, 5])],
        [numpy_helper.from_array(weights, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(model)
    return model.SerializeToString()


@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
@pytest.mark.parametrize("batch", ["N", 1, 7])
@pytest.mark.parametrize("softmax", [False, True])
def test_layouts_and_batches_give_the_closed_form(
    tmp_path: Path, layout: str, batch: object, softmax: bool
) -> None:
    (tmp_path / "m.onnx").write_bytes(onnx_model(layout, batch, softmax=softmax))
    scan_onnx(tmp_path / "m.onnx")
    model = load_onnx(tmp_path / "m.onnx", "m")
    assert model.input_shape == (4, 6, 3)
    pixels = np.random.default_rng(0).random((20, 4, 6, 3), np.float32)
    found = model.fed(InputSettings(), NAMES, "m")
    expected = pixels.mean(axis=(1, 2)) @ (np.arange(15).reshape(3, 5) / 7)
    assert np.abs(found.predict_logits(pixels) - expected).max() < 1e-5
    assert np.abs(found.features(pixels) - pixels.mean(axis=(1, 2))).max() < 1e-6
    assert not hasattr(found, "logits")


def test_half_precision_is_read_as_single_with_a_note(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(onnx_model(kind=10))
    assert "float16" in str(scan_onnx(tmp_path / "m.onnx")["output"])
    model = load_onnx(tmp_path / "m.onnx", "m")
    assert model.notes == ("its float16 outputs are read as float32",)
    logits = model.fed(InputSettings(), NAMES, "m").predict_logits(np.zeros((2, 4, 6, 3), np.uint8))
    assert logits.dtype == np.float32


def test_an_onnx_file_is_read_as_onnx_whatever_its_first_bytes_are(tmp_path: Path) -> None:
    """ONNX Runtime tells its own format by bytes 4 to 7, which may be the producer's name: the scan refuses such a file,
    and the loader says which format it is."""
    import onnx
    import onnxruntime

    model = onnx.load_model_from_string(onnx_model("nhwc"))
    model.producer_name = "ORTM"
    path = tmp_path / "m.onnx"
    path.write_bytes(model.SerializeToString())
    assert path.read_bytes()[4:8] == b"ORTM"
    with pytest.raises(Refused, match="ONNX Runtime's own format"):
        identify(path)
    with pytest.raises(Exception, match="verification failed"):
        onnxruntime.InferenceSession(path.read_bytes())
    pixels = np.random.default_rng(0).random((3, 4, 6, 3), np.float32)
    logits = load_onnx(path, "m").fed(InputSettings(), NAMES, "m").predict_logits(pixels)
    assert np.abs(logits - pixels.mean(axis=(1, 2)) @ (np.arange(15).reshape(3, 5) / 7)).max() < 1e-5


def test_external_data_as_onnx_itself_writes_it_is_refused(tmp_path: Path) -> None:
    import onnx

    model = onnx.load_model_from_string(onnx_model())
    for place in ("data.bin", "inner.bin"):
        onnx.save_model(
            model, tmp_path / "m.onnx", save_as_external_data=True, location=place, size_threshold=0
        )
        with pytest.raises(Refused, match="another file"):
            scan_onnx(tmp_path / "m.onnx")
        model = onnx.load_model(tmp_path / "m.onnx")


def test_an_onnx_file_that_is_no_classifier_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(b"no model at all")
    with pytest.raises(InputRefused, match="no ONNX model"):
        load_onnx(path, "m")
    whole = onnx_model()
    path.write_bytes(whole.replace(b"MatMul", b"MutMal"))
    with pytest.raises(InputRefused, match="does not load it"):
        load_onnx(path, "m")
    with pytest.raises(Refused, match="MutMal"):
        scan_onnx(path)
