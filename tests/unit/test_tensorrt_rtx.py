"""The check by TensorRT for RTX: what it takes, what it refuses, and every way in which it does not run."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from safeml.export import tensorrt_rtx
from safeml.export.acceptance import ROWS
from safeml.export.checks import Check
from safeml.export.tensorrt_rtx import check, judge
from safeml.sandbox import Outcome

FAKE = "tests.unit.fake_tensorrt_rtx"
UINT8 = (
    "onnxOpImporters.cpp:1980: TensorRT supports QuantizeLinear/DequantizeLinear with UINT8 zero_point only on DLA"
    " (version >= 3.16). Defaulting to INT8 instead."
)
REPLY = {
    "missing": "",
    "version": "1.7.1",
    "offered": ["SM75", "SM86"],
    "parsed": True,
    "errors": [],
    "engine_bytes": 1000,
    "dynamic": {"image": [0]},
    "layers": 9,
    "quantize_layers": 2,
    "weighted_layers": 2,
    "int8_layers": 2,
    "log": [],
}


def judged(int8: bool = True, **changes: Any) -> Check:
    return judge(Outcome("ok", {**REPLY, **changes}), int8=int8)


def test_a_pass_says_what_it_proves_and_what_not() -> None:
    row = judged()
    assert row.status == "passed"
    assert "builds ahead of time for SM86, with 2 of 2" in row.reason
    assert "SM87 (Orin) is not among the targets" in row.reason
    assert row.facts["version"] == "1.7.1"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"log": [["WARNING", UINT8]]}, "Defaulting to INT8 instead"),
        ({"log": [["WARNING", "For zero_point with type int32 TensorRT will use INT8 instead."]]}, "int32"),
        ({"log": [["WARNING", "Weights were clamped."]]}, "clamped"),
        ({"log": [["ERROR", "a logged error"]]}, "a logged error"),
        ({"log": [["INTERNAL_ERROR", "worse"]]}, "worse"),
        (
            {"parsed": False, "errors": ["MatMulInteger: UNSUPPORTED_NODE"], "engine_bytes": 0},
            "MatMulInteger",
        ),
        ({"parsed": False, "engine_bytes": 0}, "without a text"),
        ({"errors": ["an error after all"]}, "an error after all"),
        ({"engine_bytes": 0}, "returned no engine"),
        ({"int8_layers": 0}, "None of 2 convolutions"),
        ({"dynamic": {"image": [0, 1, 2]}}, "dynamic dimensions [1, 2]"),
    ],
)
def test_every_doubt_is_a_failure_with_its_text(changes: dict[str, Any], words: str) -> None:
    row = judged(**changes)
    assert row.status == "failed"
    assert words in row.reason


def test_other_warnings_are_recorded() -> None:
    row = judged(log=[["WARNING", "Disk space is low."], ["WARNING", "Disk space is low."]])
    assert (row.status, row.facts["warnings"]) == ("passed", ["Disk space is low."])


def test_the_missing_driver_is_no_part_of_an_error() -> None:
    text = "input has type Int32\n[checkMacros.cpp::catchCudaError::250] Error Code 1: (cudaError 35: CUDA driver)"
    row = judged(parsed=False, errors=[text], engine_bytes=0)
    assert row.facts["errors"] == ["input has type Int32"]


def test_each_onnx_file_has_its_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = {"": "model.int8.onnx", "_float": "model.float.onnx", "_half": "model.int8-fp16.onnx"}
    rows = {row.name: row for row in ROWS if row.name.startswith("tensorrt_rtx")}
    assert {name: row.files for name, row in rows.items()} == {
        f"tensorrt_rtx{part}": (file,) for part, file in files.items()
    }
    material: Any = SimpleNamespace(work=tmp_path)
    for part, file in files.items():
        row = rows[f"tensorrt_rtx{part}"].run(material)
        assert (row.status, row.reason) == ("not_run", f"{file} was not written.")
        (tmp_path / file).write_text(file)

    def checked(path: Path, *, int8: bool) -> Check:
        return Check("tensorrt_rtx", "passed", f"{path.name} {int8}")

    monkeypatch.setattr(tensorrt_rtx, "check", checked)
    for part, file in files.items():
        row = rows[f"tensorrt_rtx{part}"].run(material)
        assert (row.name, row.reason) == (f"tensorrt_rtx{part}", f"{file} {part != '_float'}")


def test_a_float_file_needs_no_int8_layer() -> None:
    row = judged(int8=False, int8_layers=0, quantize_layers=0)
    assert (row.status, "INT8" in row.reason) == ("passed", False)


@pytest.mark.parametrize(
    ("kind", "reason", "words"),
    [
        ("crashed", "it was ended by SIGSEGV", "crashed: it was ended by SIGSEGV"),
        ("timeout", "it took longer than 3 seconds", "did not end: it took longer"),
        ("out of memory", "it needed more memory than it was given", "ran out of memory"),
    ],
)
def test_a_child_without_an_answer_is_a_failure(kind: Any, reason: str, words: str) -> None:
    row = judge(Outcome(kind, {}, reason))
    assert row.status == "failed"
    assert words in row.reason


def test_a_package_that_does_not_import_did_not_run() -> None:
    row = judged(missing="libnvonnxparser.so: cannot open shared object file")
    assert row.status == "not_run"
    assert "libnvonnxparser.so" in row.reason
    assert "pip install 'safeml-suite[trt]'" in row.reason


def test_without_the_package_the_check_does_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tensorrt_rtx.importlib.util, "find_spec", lambda name: None)
    row = check(tmp_path / "model.onnx")
    assert row.status == "not_run"
    assert "pip install 'safeml-suite[trt]'" in row.reason


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> None:
    """The child imports a module in place of tensorrt_rtx, which answers as the first bytes of the file say."""
    monkeypatch.setattr(tensorrt_rtx.importlib.util, "find_spec", lambda name: object())
    monkeypatch.setattr(tensorrt_rtx, "CHILD", f"{FAKE}:build")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("content", "status", "words"),
    [
        ("good", "passed", "1 of 1 convolutions"),
        ("dynamic", "passed", "1 of 1 convolutions"),
        ("wide", "failed", "dynamic dimensions [2]"),
        ("float", "failed", "None of 1 convolutions"),
        ("uint8", "failed", "Defaulting to INT8 instead"),
        ("refused", "failed", "MatMulInteger"),
        ("no engine", "failed", "returned no engine"),
        ("crash", "failed", "SIGSEGV"),
        ("hang", "failed", "did not end"),
    ],
)
def test_the_child_reports_what_the_parser_and_the_builder_say(
    fake: None, tmp_path: Path, content: str, status: str, words: str
) -> None:
    (tmp_path / "model.onnx").write_text(content)
    row = check(tmp_path / "model.onnx", seconds=2 if content == "hang" else 30)
    assert (row.status, words in row.reason) == (status, True), row.reason
    assert (tmp_path / "model.onnx").read_text() == content


def conv_net(
    zero_type: Any = np.int8, zero: int = 0, int32_bias: bool = False, batch: int | str = "batch"
) -> onnx.ModelProto:
    """A convolution between QuantizeLinear and DequantizeLinear, per channel on the kernel, and a dense layer behind it."""
    generator = np.random.default_rng(0)
    arrays: dict[str, np.ndarray] = {}
    nodes = []

    def rounded(name: str, scale: Any, zero_point: Any, axis: int | None = None) -> str:
        arrays[f"{name}_scale"], arrays[f"{name}_zero"] = np.asarray(scale, np.float32), zero_point
        options = {} if axis is None else {"axis": axis}
        ends = [f"{name}_scale", f"{name}_zero"]
        nodes.append(helper.make_node("QuantizeLinear", [name, *ends], [f"{name}_q"], **options))
        nodes.append(helper.make_node("DequantizeLinear", [f"{name}_q", *ends], [f"{name}_dq"], **options))
        return f"{name}_dq"

    def kernel(name: str, shape: tuple[int, ...]) -> str:
        arrays[name] = generator.normal(size=shape).astype(np.float32)
        scales = np.abs(arrays[name]).reshape(shape[0], -1).max(1) / 127
        return rounded(name, scales, np.zeros(shape[0], np.int8), 0)

    bias, arrays["bias"] = "bias", generator.normal(size=8).astype(np.float32)
    if int32_bias:
        arrays["codes"], arrays["steps"] = np.arange(8, dtype=np.int32), np.full(8, 0.01, np.float32)
        nodes.append(helper.make_node("DequantizeLinear", ["codes", "steps"], ["bias_dq"], axis=0))
        bias = "bias_dq"
    arrays["offset"] = np.zeros(5, np.float32)
    image = rounded("image", 0.01, np.asarray(zero, zero_type))
    nodes.append(helper.make_node("Conv", [image, kernel("conv", (8, 3, 3, 3)), bias], ["sums"]))
    nodes.append(helper.make_node("Relu", ["sums"], ["positive"]))
    nodes.append(helper.make_node("GlobalAveragePool", ["positive"], ["mean"]))
    nodes.append(helper.make_node("Flatten", ["mean"], ["flat"]))
    flat = rounded("flat", 0.02, np.asarray(zero, zero_type))
    dense = [flat, kernel("dense", (5, 8)), "offset"]
    nodes.append(helper.make_node("Gemm", dense, ["logits"], transB=1))
    return finished(
        nodes,
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [batch, 3, 16, 16])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [batch, 5])],
        arrays,
    )


def integer_product() -> onnx.ModelProto:
    """What the int8 mode of Keras exports."""
    return finished(
        [helper.make_node("MatMulInteger", ["codes", "kernel"], ["sums"])],
        [helper.make_tensor_value_info("codes", TensorProto.INT8, [1, 8])],
        [helper.make_tensor_value_info("sums", TensorProto.INT32, [1, 4])],
        {"kernel": np.ones((8, 4), np.int8)},
    )


def finished(nodes: Any, inputs: Any, outputs: Any, arrays: dict[str, np.ndarray]) -> onnx.ModelProto:
    initializers = [numpy_helper.from_array(array, name) for name, array in arrays.items()]
    graph = helper.make_graph(nodes, "net", inputs, outputs, initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    return model


@pytest.mark.slow
@pytest.mark.skipif(
    importlib.util.find_spec("tensorrt_rtx") is None,
    reason="tensorrt-rtx is not installed: pip install 'safeml-suite[trt]'",
)
@pytest.mark.parametrize(
    ("model", "status", "words"),
    [
        (conv_net(), "passed", "2 of 2 convolutions"),
        (conv_net(batch=1), "passed", "2 of 2 convolutions"),
        (conv_net(int32_bias=True), "failed", "Int32"),
        (conv_net(np.uint8), "failed", "Defaulting to INT8 instead"),
        (conv_net(np.uint8, 128), "failed", "Non-zero zero point is not supported"),
        (conv_net(np.int8, -128), "failed", "Non-zero zero point is not supported"),
        (integer_product(), "failed", "MatMulInteger"),
    ],
)
def test_the_real_parser_and_builder(tmp_path: Path, model: onnx.ModelProto, status: str, words: str) -> None:
    onnx.save(model, tmp_path / "model.onnx")
    row = check(tmp_path / "model.onnx")
    assert (row.status, words in row.reason) == (status, True), row.reason
