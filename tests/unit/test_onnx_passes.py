"""Each pass on a graph that holds what it is for: the outputs stay the same, and what it removes is gone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from onnx import helper, numpy_helper

from safeml.export import passes
from safeml.export.graph import Graph
from safeml.export.sessions import session

SCALE, ZERO = np.float32(0.02), np.zeros((), np.int8)


def graph_of(nodes: list[Any], arrays: dict[str, np.ndarray], shape: list[int]) -> Graph:
    tensors = [numpy_helper.from_array(np.asarray(array), name) for name, array in arrays.items()]
    ends = [
        helper.make_tensor_value_info(name, 1, sides) for name, sides in (("image", shape), ("logits", None))
    ]
    return Graph(
        helper.make_model(
            helper.make_graph(nodes, "one", ends[:1], ends[1:], tensors),
            opset_imports=[helper.make_opsetid("", 13)],
            ir_version=8,
        )
    )


def node(operator: str, inputs: str, output: str, **attributes: Any) -> Any:
    return helper.make_node(operator, inputs.split(), [output], **attributes)


def random(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def steps_of(kernel: np.ndarray, axis: int) -> np.ndarray:
    others = tuple(side for side in range(kernel.ndim) if side != axis)
    return (np.abs(kernel).max(others) / 127).astype(np.float32)


QUANTIZED = {"s": SCALE, "z": ZERO}
DEPTHWISE = random(3, 3, 4, 1)
CASES: dict[
    str, tuple[Callable[[Graph], None], list[Any], dict[str, np.ndarray], list[int], dict[str, int]]
] = {
    "a constant": (
        passes.constants_to_initializers,
        [
            helper.make_node("Constant", [], ["c"], value=numpy_helper.from_array(random(4))),
            node("Add", "image c", "logits"),
        ],
        {},
        [2, 4],
        {"Add": 1},
    ),
    "identities": (
        passes.remove_identities,
        [node("Identity", "image", "a"), node("Relu", "a", "b"), node("Identity", "b", "logits")],
        {},
        [2, 4],
        {"Relu": 1},
    ),
    "an identity of the image is the output": (
        passes.remove_identities,
        [node("Identity", "image", "logits")],
        {},
        [2, 4],
        {"Identity": 1},
    ),
    "a depthwise kernel behind its quantizer": (
        passes.fold_kernels,
        [
            node("QuantizeLinear", "k ks kz", "q", axis=2),
            node("DequantizeLinear", "q ks kz", "d", axis=2),
            node("Reshape", "d shape", "r"),
            node("Transpose", "r", "t", perm=[3, 2, 0, 1]),
            node("Conv", "image t", "logits", group=4),
        ],
        {
            "k": DEPTHWISE,
            "ks": steps_of(DEPTHWISE, 2),
            "kz": np.zeros(4, np.int8),
            "shape": np.array([3, 3, 1, 4]),
        },
        [2, 4, 5, 5],
        {"QuantizeLinear": 1, "DequantizeLinear": 1, "Conv": 1},
    ),
    "a float kernel": (
        passes.fold_kernels,
        [node("Transpose", "k", "t", perm=[3, 2, 0, 1]), node("Conv", "image t", "logits")],
        {"k": random(3, 3, 4, 6)},
        [2, 4, 5, 5],
        {"Conv": 1},
    ),
    "a normalisation": (
        passes.fold_affine,
        [
            node("Conv", "image k", "a"),
            node("Mul", "a m", "b"),
            node("Add", "n b", "c"),
            node("Relu", "c", "logits"),
        ],
        {"k": random(6, 4, 3, 3), "m": random(6, 1, 1), "n": random(1, 6, 1, 1)},
        [2, 4, 5, 5],
        {"Conv": 1, "Relu": 1},
    ),
    "a factor that is not one per channel": (
        passes.fold_affine,
        [node("Conv", "image k", "a"), node("Mul", "a m", "logits")],
        {"k": random(3, 4, 3, 3), "m": random(1, 3)},
        [2, 4, 5, 5],
        {"Conv": 1, "Mul": 1},
    ),
    "a normalisation behind a transposed convolution of two groups": (
        passes.fold_affine,
        [node("ConvTranspose", "image k b", "a", group=2), node("Add", "a n", "logits")],
        {"k": random(4, 3, 2, 2), "b": random(6), "n": random(6, 1, 1)},
        [2, 4, 5, 5],
        {"ConvTranspose": 1},
    ),
    "a dense layer": (
        passes.matmul_to_gemm,
        [node("MatMul", "image k", "logits")],
        {"k": random(4, 6)},
        [2, 4],
        {"Gemm": 1},
    ),
    "a dense layer on tokens": (
        passes.matmul_to_gemm,
        [node("MatMul", "image k", "logits")],
        {"k": random(4, 6)},
        [2, 3, 4],
        {"MatMul": 1},
    ),
    "a reshape between the halves of a quantizer": (
        passes.join_pairs,
        [
            node("QuantizeLinear", "image s z", "q"),
            node("Reshape", "q shape", "r"),
            node("Transpose", "r", "t", perm=[1, 0]),
            node("DequantizeLinear", "t s z", "logits"),
        ],
        {**QUANTIZED, "shape": np.array([4, 2])},
        [2, 4],
        {"Reshape": 1, "Transpose": 1, "QuantizeLinear": 1, "DequantizeLinear": 1},
    ),
    "a layout behind a quantizer": (
        passes.quantize_after_layout,
        [
            node("QuantizeLinear", "image s z", "q"),
            node("DequantizeLinear", "q s z", "d"),
            node("Transpose", "d", "t", perm=[1, 0]),
            node("Relu", "t", "logits"),
        ],
        QUANTIZED,
        [2, 4],
        {"Transpose": 1, "QuantizeLinear": 1, "DequantizeLinear": 1, "Relu": 1},
    ),
    "two equal quantizers": (
        passes.merge_repeats,
        [
            node("QuantizeLinear", "image s z", "q"),
            node("DequantizeLinear", "q s z", "d"),
            node("QuantizeLinear", "image s2 z", "q2"),
            node("DequantizeLinear", "q2 s2 z", "d2"),
            node("Mul", "d d2", "logits"),
        ],
        {**QUANTIZED, "s2": SCALE.copy()},
        [2, 4],
        {"QuantizeLinear": 1, "DequantizeLinear": 1, "Mul": 1},
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_pass_keeps_the_outputs_and_leaves_these_operators(case: str) -> None:
    run, nodes, arrays, shape, operators = CASES[case]
    graph = graph_of(nodes, arrays, shape)
    values = {"image": random(*shape)}
    (before,) = session(graph.model()).run(["logits"], values)
    run(graph)
    passes.drop_unread(graph)
    (after,) = session(graph.model()).run(["logits"], values)
    assert np.allclose(after, before, atol=1e-5)
    assert Counter(node.op_type for node in graph.nodes) == operators
    read = {name for node in graph.nodes for name in node.input}
    assert set(graph.arrays) <= read


def test_quantizers_are_joined_and_moved_behind_what_was_between() -> None:
    for case in ("a reshape between the halves of a quantizer", "a layout behind a quantizer"):
        run, nodes, arrays, shape, _ = CASES[case]
        graph = graph_of(nodes, arrays, shape)
        run(graph)
        passes.drop_unread(graph)
        producers = graph.producers()
        dequantize = next(node for node in graph.nodes if node.op_type == "DequantizeLinear")
        quantize = producers[dequantize.input[0]]
        assert quantize.op_type == "QuantizeLinear"
        assert producers[quantize.input[0]].op_type == "Transpose"


def test_every_pass_has_a_case() -> None:
    tested = {case[0] for case in CASES.values()} | {passes.scalars_to_channels}
    assert tested == set(passes.PASSES)


def test_a_scalar_scale_has_no_axis() -> None:
    nodes = [
        node("QuantizeLinear", "image s z", "q", axis=1),
        node("DequantizeLinear", "q s z", "logits", axis=1),
    ]
    graph = graph_of(nodes, QUANTIZED, [2, 4])
    passes.scalars_to_channels(graph)
    assert not any(node.attribute for node in graph.nodes)
