"""The integer twin computes what the INT8 file computes, to the last bit, and the FP16 variant keeps codes or says why not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper, shape_inference

from safeml.errors import InputRefused
from safeml.export.graph import Graph
from safeml.export.half import SMALLEST, half
from safeml.export.integer_twin import integer_twin
from safeml.export.linter import HALF, lint
from safeml.export.onnx import export_onnx
from safeml.export.sessions import outputs, session
from tests.int8_nets import CLASSES, SIDE, calibrated, images, tiny

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def exported() -> Any:
    return export_onnx(tiny(), None).model


def test_the_twin_is_the_same_to_the_last_bit_without_optimizations(exported: Any) -> None:
    twin = integer_twin(exported)
    names = [node.name for node in twin.graph.node]
    assert "depthwise_relu6/Clip/codes" in names
    assert "stem_relu/Relu/codes" in names
    for name in ("logits", "features"):
        (expected,) = outputs(session(exported), images(64), [name])
        (given,) = outputs(session(twin), images(64), [name])
        assert np.array_equal(given, expected)


def test_a_relu_that_something_else_reads_stays(exported: Any) -> None:
    changed = Graph(exported)
    changed.nodes.append(helper.make_node("Neg", ["stem_relu/Relu"], ["negative"], name="negative"))
    twin = integer_twin(changed.model())
    assert "stem_relu/Relu/codes" not in [node.name for node in twin.graph.node]


def test_an_audit_computes_the_file_as_it_is_written(exported: Any, tmp_path: Path) -> None:
    """To the last bit, whatever images come together. The basic optimizations alone change every row: they quantize the biases."""
    from safeml.classifiers.onnx import load_onnx
    from safeml.settings.model import InputSettings

    path = tmp_path / "model.int8.onnx"
    path.write_bytes(exported.SerializeToString())
    names = tuple(str(number) for number in range(CLASSES))
    classifier = load_onnx(path, "model").fed(InputSettings(), names, "model")
    values = images(100)
    (expected,) = outputs(session(exported), values, ["logits"])
    assert np.array_equal(classifier.predict_logits(values), expected)
    assert np.array_equal(classifier.predict_logits(values[97:]), expected[97:])


def test_no_code_of_a_kernel_changes_in_fp16(exported: Any) -> None:
    before, after = Graph(exported), Graph(half(exported, "model"))
    kernels = [name for name in before.arrays if name.endswith("/kernel")]
    assert len(kernels) == 7
    for name in kernels:
        codes = []
        for graph in (before, after):
            quantize = next(node for node in graph.nodes if node.input[0] == name)
            scale = graph.arrays[quantize.input[1]].astype(np.float64)
            values = graph.arrays[name].astype(np.float64)
            codes.append(np.rint(values / scale.reshape(-1, *[1] * (values.ndim - 1))))
        assert np.array_equal(*codes), name


def test_a_layer_normalization_stays_in_float32() -> None:
    """Its inputs are near 1000, so their squares are over the largest FP16 number, and its epsilon is 0 in FP16."""
    import keras

    from safeml.int8.layers import ActivationQuantizer, QuantizedConv2D, QuantizedDense

    image = keras.Input((SIDE, SIDE, 3), name="image")
    x = QuantizedConv2D(4, 3, name="stem")(ActivationQuantizer(name="stem_input")(image))
    x = keras.layers.Rescaling(1000.0, name="large")(x)
    x = keras.layers.LayerNormalization(epsilon=1e-9, name="norm")(x)
    x = keras.layers.Flatten(name="flatten")(ActivationQuantizer(name="logits_input")(x))
    model = calibrated(keras.Model(image, QuantizedDense(CLASSES, name="logits")(x)))
    exported = export_onnx(model, None).model
    variant = half(exported, "model")
    assert lint(variant, HALF) == []
    types = {}
    for value in shape_inference.infer_shapes(variant).graph.value_info:
        types[value.name] = value.type.tensor_type.elem_type
    norm = [node for node in variant.graph.node if node.name.startswith("norm/") and node.op_type != "Cast"]
    assert "Sqrt" in [node.op_type for node in norm]
    assert {types[name] for node in norm for name in node.output} == {TensorProto.FLOAT}
    others = [node for node in variant.graph.node if node.op_type in ("Conv", "Gemm", "MatMul")]
    assert {types[name] for node in others for name in node.output if name in types} == {TensorProto.FLOAT16}
    expected, given = (outputs(session(one), images(32), ["logits"])[0] for one in (exported, variant))
    assert given == pytest.approx(expected, abs=0.02 * float(np.ptp(expected)))


def with_array(model: Any, name: str, values: np.ndarray) -> Any:
    graph = Graph(model)
    graph.arrays[name] = values
    return graph.model()


def array(model: Any, name: str) -> np.ndarray:
    tensor = next(tensor for tensor in model.graph.initializer if tensor.name == name)
    return numpy_helper.to_array(tensor)


def test_a_kernel_scale_below_fp16_is_raised_and_an_activation_scale_is_refused(exported: Any) -> None:
    nodes = {node.name: node for node in exported.graph.node}
    kernel = next(node for node in exported.graph.node if node.input[0] == "stem/kernel").input[1]
    small = array(exported, kernel).copy()
    values = array(exported, "stem/kernel").copy()
    values[2] *= 1e-5 / small[2]
    small[2] = 1e-5
    scaled = with_array(with_array(exported, kernel, small), "stem/kernel", values)
    variant = Graph(half(scaled, "model"))
    step = variant.arrays[next(n for n in variant.nodes if n.input[0] == "stem/kernel").input[1]][2]
    assert float(step) == SMALLEST
    stored = variant.arrays["stem/kernel"][2].astype(np.float64)
    assert np.abs(stored - values[2]).max() <= SMALLEST / 2 * 1.001
    activation = nodes["stem_input/QuantizeLinear"].input[1]
    with pytest.raises(
        InputRefused, match=r"stem_input/QuantizeLinear has a scale of 1e-05; expected 6.1e-05"
    ):
        half(with_array(exported, activation, np.float32(1e-5)), "model")


def test_a_value_over_the_largest_fp16_number_is_refused(exported: Any) -> None:
    name = next(node for node in exported.graph.node if node.name == "stem/Conv").input[2]
    with pytest.raises(InputRefused, match=r"holds 1e.06, over 65,504, the largest FP16 number"):
        half(with_array(exported, name, np.full(8, 1e6, np.float32)), "model")
