"""The integer emulator gives the codes of ONNX Runtime, and each operator what ONNX Runtime gives."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import helper, numpy_helper

from safeml.errors import InputRefused
from safeml.export import agreement
from safeml.export.emulator import OPERATORS, emulate, quantize_nodes
from safeml.export.parity import tie_distance
from safeml.export.sessions import outputs, session, with_taps
from tests.int8_nets import images


def model_of(
    operator: str, shape: tuple[int, ...], arrays: list[np.ndarray], coded: bool = False, **attributes: Any
) -> Any:
    """One operator on `image`; `coded` puts INT8 quantizers on its input and on its kernel."""
    nodes, names, stored = [], [], {}

    def quantizer(source: str, scale: np.ndarray, axis: int) -> str:
        stored[f"{source}_s"] = scale
        stored[f"{source}_z"] = np.zeros(scale.shape, np.int8)
        ends = [f"{source}_s", f"{source}_z"]
        more = {"axis": axis} if scale.ndim else {}
        nodes.append(
            helper.make_node("QuantizeLinear", [source, *ends], [f"{source}_q"], name=f"{source}/q", **more)
        )
        nodes.append(helper.make_node("DequantizeLinear", [f"{source}_q", *ends], [f"{source}_d"], **more))
        return f"{source}_d"

    names.append(quantizer("image", np.float32(0.0125), 0) if coded else "image")
    for place, array in enumerate(arrays):
        stored[f"array{place}"] = array
        axis = 1 if operator == "ConvTranspose" else 0
        others = tuple(side for side in range(array.ndim) if side != axis)
        scales = (
            np.abs(array).max(others).astype(np.float32) / np.float32(127) if coded and place == 0 else None
        )
        names.append(f"array{place}" if scales is None else quantizer(f"array{place}", scales, axis))
    nodes.append(helper.make_node(operator, names, ["logits"], name=operator, **attributes))
    tensors = [numpy_helper.from_array(np.asarray(array), name) for name, array in stored.items()]
    graph = helper.make_graph(
        nodes,
        "one",
        [helper.make_tensor_value_info("image", 1, list(shape))],
        [helper.make_tensor_value_info("logits", 1, None)],
        tensors,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


def random(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


WEIGHTED = [
    ("Conv", (2, 4, 7, 6), [random(6, 4, 3, 3), random(6)], {"pads": [1, 0, 2, 1], "strides": [2, 1]}),
    ("Conv", (2, 4, 9, 9), [random(8, 1, 3, 3)], {"group": 4, "dilations": [2, 3], "pads": [1, 1, 1, 1]}),
    ("Conv", (2, 4, 8, 8), [random(6, 2, 3, 2)], {"group": 2, "auto_pad": "SAME_UPPER", "strides": [2, 2]}),
    ("Conv", (2, 4, 7, 7), [random(6, 4, 2, 2)], {"auto_pad": "SAME_LOWER"}),
    (
        "ConvTranspose",
        (2, 4, 5, 4),
        [random(4, 6, 3, 3), random(6)],
        {"strides": [2, 2], "pads": [1, 0, 1, 1]},
    ),
    ("ConvTranspose", (2, 3, 5, 4), [random(3, 6, 3, 2)], {"strides": [2, 3], "output_padding": [1, 0]}),
    ("Gemm", (3, 7), [random(5, 7), random(5)], {"transB": 1}),
]
OTHERS = [
    ("MatMul", (2, 3, 7), [random(7, 5)], {}),
    ("MaxPool", (2, 3, 7, 8), [], {"kernel_shape": [3, 2], "strides": [2, 2], "pads": [1, 0, 1, 1]}),
    ("MaxPool", (2, 3, 8, 8), [], {"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1}),
    ("AveragePool", (2, 3, 7, 8), [], {"kernel_shape": [3, 2], "strides": [2, 2], "pads": [1, 0, 1, 1]}),
    (
        "AveragePool",
        (2, 3, 7, 8),
        [],
        {"kernel_shape": [3, 2], "pads": [1, 0, 1, 1], "count_include_pad": 1},
    ),
    ("GlobalAveragePool", (2, 3, 7, 8), [], {}),
    ("ReduceMean", (2, 3, 7, 8), [], {"axes": [1, 2], "keepdims": 0}),
    ("Relu", (2, 9), [], {}),
    ("Sigmoid", (2, 9), [], {}),
    ("Clip", (2, 9), [np.float32(-0.2), np.float32(0.5)], {}),
    ("Add", (2, 9), [random(9)], {}),
    ("Sub", (2, 9), [random(9)], {}),
    ("Mul", (2, 9), [random(2, 1)], {}),
    ("Div", (2, 9), [random(9) + 3], {}),
    ("Softmax", (2, 3, 9), [], {"axis": 1}),
    ("Concat", (2, 9), [random(2, 4)], {"axis": 1}),
    ("Reshape", (2, 3, 4), [np.array([0, -1])], {}),
    ("Flatten", (2, 3, 4), [], {"axis": 1}),
    ("Transpose", (2, 3, 4), [], {"perm": [2, 0, 1]}),
    ("Squeeze", (2, 3, 1, 1), [np.array([2, 3])], {}),
    ("Unsqueeze", (2, 3), [np.array([1, 3])], {}),
    ("Pad", (2, 3, 4), [np.array([0, 1, 0, 0, 0, 2])], {}),
]


@pytest.mark.parametrize("coded", [False, True], ids=["float", "int8"])
@pytest.mark.parametrize(("operator", "shape", "arrays", "attributes"), WEIGHTED)
def test_weighted_operators(
    operator: str, shape: tuple[int, ...], arrays: list[np.ndarray], attributes: dict[str, Any], coded: bool
) -> None:
    model = model_of(operator, shape, arrays, coded, **attributes)
    values = random(*shape, seed=1)
    (expected,) = outputs(session(model), values, ["logits"])
    assert np.allclose(emulate(model, values)["logits"], expected, atol=2e-5)


@pytest.mark.parametrize(("operator", "shape", "arrays", "attributes"), OTHERS)
def test_other_operators(
    operator: str, shape: tuple[int, ...], arrays: list[np.ndarray], attributes: dict[str, Any]
) -> None:
    model = model_of(operator, shape, arrays, **attributes)
    values = random(*shape, seed=1)
    (expected,) = session(model).run(["logits"], {"image": values})
    assert np.allclose(emulate(model, values)["logits"], expected, atol=1e-6)


def test_every_operator_has_a_row() -> None:
    tested = {row[0] for row in (*WEIGHTED, *OTHERS)} | {"QuantizeLinear", "DequantizeLinear"}
    assert tested == set(OPERATORS)


def test_other_operators_are_refused_and_a_sum_that_leaves_int32_is_an_error() -> None:
    with pytest.raises(InputRefused, match="the emulator has no Erf"):
        emulate(model_of("Erf", (2, 3), []), random(2, 3))
    wide = 140_000  # times 127 x 127 is over 2^31
    model = model_of("Gemm", (1, wide), [np.ones((1, wide), np.float32)], True, transB=1)
    with pytest.raises(ArithmeticError, match="leaves int32"):
        emulate(model, np.full((1, wide), 127 * 0.0125, np.float32))


@pytest.mark.slow
def test_the_codes_of_a_network_are_those_of_onnx_runtime() -> None:
    from safeml.export.onnx import export_onnx
    from tests.int8_nets import tiny

    model = export_onnx(tiny(), None).model
    values = images(64)
    nodes = quantize_nodes(model)
    taps = tuple(name for node in nodes for name in (node.input[0], node.output[0]))
    mine = emulate(model, values, taps)
    theirs = dict(zip(taps, outputs(session(with_taps(model, taps)), values, taps), strict=True))
    scales = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    same = np.ones(len(values), bool)  # images whose codes all agree so far
    for node in nodes:
        rows = (len(values), -1)
        differ = (mine[node.output[0]] != theirs[node.output[0]]).reshape(rows)
        steps = (theirs[node.input[0]] / scales[node.input[1]]).reshape(rows)
        assert (tie_distance(steps[differ & same[:, None]]) < 1e-4).all(), node.name
        same &= ~differ.any(1)
    assert same.mean() > 0.9
    assert np.allclose(mine["logits"][same], theirs_logits(model, values)[same], atol=1e-5)


@pytest.mark.parametrize(
    ("inputs", "given", "reason"),
    [
        ([0.5, 1.0], [0, 1], None),  # 0.5 rounds to 0 or to 1
        ([0.5, 1.0], [3, 1], "differs by 2"),
        ([np.nan, 1.0], [0, 1], "nan steps from a tie"),
    ],
)
def test_a_code_of_the_emulator_differs_by_one_at_a_tie_and_not_otherwise(
    inputs: list[float], given: list[int], reason: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    nodes = [helper.make_node("QuantizeLinear", ["x", "s"], ["q"], name="x/q")]
    scale = numpy_helper.from_array(np.float32(1), "s")
    model = helper.make_model(helper.make_graph(nodes, "one", [], [], [scale]))
    theirs = [np.array([inputs], np.float32), np.array([[1, 1]], np.int8)]
    monkeypatch.setattr(agreement, "quantize_nodes", lambda _: nodes)
    monkeypatch.setattr(agreement, "with_taps", lambda *_: model)
    monkeypatch.setattr(agreement, "session", lambda _: None)
    monkeypatch.setattr(agreement, "outputs", lambda *_: theirs)
    monkeypatch.setattr(agreement, "emulate", lambda *_: {"q": np.array([given], np.int8)})
    check = agreement.codes(model, np.zeros((1, 2), np.float32))
    assert check.status == ("passed" if reason is None else "failed")
    assert reason is None or reason in check.reason


def theirs_logits(model: Any, values: np.ndarray) -> np.ndarray:
    return outputs(session(model), values, ["logits"])[0]
