"""Export to ONNX: the same codes and outputs as Keras, exact scales, stable bytes; what cannot be exported is refused."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from safeml.errors import InputRefused
from safeml.export.graph import Graph, attribute
from safeml.export.linter import int8_share, lint
from safeml.export.onnx import export_onnx
from safeml.export.parity import compare, predict, quantizer_values, tie_distance
from safeml.export.sessions import outputs, session
from tests.int8_nets import CLASSES, SIDE, calibrated, images, tiny

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def model() -> Any:
    return tiny()


@pytest.fixture(scope="module")
def exported(model: Any) -> Any:
    return export_onnx(model, None).model


def test_the_file_has_named_ends_and_one_operator_set(exported: Any) -> None:
    assert [value.name for value in exported.graph.input] == ["image"]
    assert [value.name for value in exported.graph.output] == ["logits", "features"]
    assert [(entry.domain, entry.version) for entry in exported.opset_import] == [("", 13)]
    sides = [side.dim_param or side.dim_value for side in exported.graph.input[0].type.tensor_type.shape.dim]
    assert sides == ["batch", SIDE, SIDE, 3]
    assert (exported.producer_name, exported.ir_version <= 8) == ("safeml", True)


def test_the_linter_has_no_finding(exported: Any) -> None:
    assert [str(finding) for finding in lint(exported)] == []


def test_two_exports_are_the_same_bytes(model: Any, exported: Any, tmp_path: Path) -> None:
    again = export_onnx(model, tmp_path / "again.onnx")
    assert (tmp_path / "again.onnx").read_bytes() == exported.SerializeToString(deterministic=True)
    assert again.bytes == (tmp_path / "again.onnx").stat().st_size
    assert not any("__" in node.name for node in exported.graph.node)


def test_scales_and_codes_are_those_of_the_keras_layers(model: Any, exported: Any) -> None:
    graph = Graph(exported)
    nodes = {node.name: node for node in graph.nodes}
    for name in ("stem", "depthwise", "project", "first", "second", "last", "logits"):
        layer = model.get_layer(name)
        operator = next(node for node in graph.nodes if node.name in (f"{name}/Conv", f"{name}/Gemm"))
        dequantize = graph.producers()[operator.input[1]]
        scale = np.asarray(layer.kernel_scale())
        assert np.array_equal(graph.arrays[dequantize.input[1]], scale)  # to the last bit
        kernel = graph.arrays[graph.producers()[dequantize.input[0]].input[0]]
        codes = np.rint(kernel / scale.reshape(-1, *[1] * (kernel.ndim - 1)))
        expected = np.asarray(layer.quantized_kernel())
        if operator.op_type == "Gemm":
            expected = expected.T
        else:
            expected = (
                expected.transpose(2, 3, 0, 1) if name == "depthwise" else expected.transpose(3, 2, 0, 1)
            )
        assert np.array_equal(codes, np.rint(expected / scale.reshape(-1, *[1] * (kernel.ndim - 1))))
        assert np.abs(codes).max() == 127
    for name in ("stem_input", "project_input", "logits_input"):
        scale = graph.arrays[nodes[f"{name}/QuantizeLinear"].input[1]]
        assert scale == np.asarray(model.get_layer(name).scale)


def test_kernels_have_the_axis_of_their_outputs(exported: Any) -> None:
    graph = Graph(exported)
    operators = [node for node in graph.nodes if node.op_type in ("Conv", "Gemm")]
    assert Counter(node.op_type for node in operators) == {"Conv": 6, "Gemm": 1}
    for node in operators:
        assert attribute(graph.producers()[node.input[1]], "axis") == 0
    depthwise = next(node for node in operators if node.name == "depthwise/Conv")
    assert attribute(depthwise, "group") == 8


def test_a_quantizer_that_two_layers_share_is_written_once(exported: Any) -> None:
    names = [node.name for node in exported.graph.node if node.op_type == "QuantizeLinear"]
    assert names.count("both_input/QuantizeLinear") == 1
    assert sum(name.startswith("both_input/") for name in names) == 1


def test_onnx_computes_what_keras_computes(model: Any, tmp_path: Path) -> None:
    export = export_onnx(model, tmp_path / "model.onnx")
    parity = compare(model, tmp_path / "model.onnx", images(256))
    assert parity.images == 256
    assert parity.unexplained == ()
    for _, values in quantizer_values(model, export.model, images(16))[:2]:
        differ = values.keras_codes != values.onnx_codes
        assert (tie_distance(values.inputs[differ]) < 1e-4).all()
    assert len(quantizer_values(model, export.model, images(4))) == 6 + 1  # one per place of each quantizer


def test_features_are_what_the_last_layer_is_fed_before_its_rounding(model: Any, exported: Any) -> None:
    import keras

    before = keras.Model(model.inputs[0], model.get_layer("logits_input").input)
    (given,) = outputs(session(exported), images(8), ["features"])
    expected = predict(before, images(8))
    step = float(np.asarray(model.get_layer("concat_input").scale))
    assert given.shape == expected.shape
    assert np.abs(given - expected).max() < 20 * step


@pytest.mark.parametrize("head", ["softmax", "softmax layer"])
def test_a_softmax_head_gives_logits_and_probabilities(head: str) -> None:
    model = tiny(head)
    export = export_onnx(model, None, batch=4)
    assert export.outputs == ("logits", "features", "probabilities")
    logits, probabilities = outputs(session(export.model), images(6), ["logits", "probabilities"])
    powers = np.exp(logits - logits.max(1, keepdims=True))
    assert np.allclose(probabilities, powers / powers.sum(1, keepdims=True), atol=1e-6)
    assert probabilities.shape == (6, CLASSES)  # the last batch of two was padded to the static four
    assert lint(export.model) == []


def test_a_float_model_has_its_normalisation_folded(tmp_path: Path) -> None:
    import keras

    image = keras.Input((SIDE, SIDE, 3), name="image")
    x = keras.layers.Conv2D(4, 3, use_bias=False, name="conv")(image)
    x = keras.layers.BatchNormalization(name="norm")(x)
    x = keras.layers.DepthwiseConv2D(3, depth_multiplier=2, name="depthwise")(keras.layers.ReLU()(x))
    x = keras.layers.BatchNormalization(name="norm2")(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    model = keras.Model(image, keras.layers.Dense(3, name="logits")(x))
    generator = np.random.default_rng(0)
    for weight in model.weights:
        weight.assign(np.abs(generator.normal(1, 0.4, weight.shape)))
    export = export_onnx(model, tmp_path / "float.onnx")
    assert {node.op_type for node in export.model.graph.node} == {
        "Transpose",
        "Conv",
        "Relu",
        "GlobalAveragePool",
        "Squeeze",
        "Gemm",
    }
    (logits,) = outputs(session(export.model), images(4), ["logits"])
    assert np.allclose(logits, predict(model, images(4)), rtol=1e-4)
    assert export.quantizers == 0


def test_a_transposed_convolution_is_exported(tmp_path: Path) -> None:
    import keras

    image = keras.Input((4, 4, 3), name="image")
    x = keras.layers.Conv2DTranspose(5, 3, strides=2, padding="same", name="up")(image)
    x = keras.layers.GlobalAveragePooling2D()(x)
    model = keras.Model(image, keras.layers.Dense(3, name="logits")(x))
    export = export_onnx(model, None)
    (logits,) = outputs(session(export.model), images(4, shape=(4, 4, 3)), ["logits"])
    assert np.allclose(logits, predict(model, images(4, shape=(4, 4, 3))), atol=1e-5)


def test_grouped_convolutions_are_exported(tmp_path: Path) -> None:
    """Keras compiles them with XLA on a CPU, and the call of a compiled function has no ONNX form."""
    import keras

    from safeml.quantization.rewrite import prepare, with_quantizers

    layers = keras.layers
    image = keras.Input((8, 8, 3))
    x = layers.SeparableConv2D(6, 3, padding="same", depth_multiplier=2, name="separable")(image)
    x = layers.Conv2D(4, 3, strides=2, groups=2, name="grouped")(x)
    source = keras.Model(image, layers.Dense(3)(layers.Flatten()(x)))
    network = calibrated(with_quantizers(prepare(source, "source")))
    made = export_onnx(network, tmp_path / "grouped.onnx")
    groups = [
        attribute.i
        for node in made.model.graph.node
        for attribute in node.attribute
        if node.op_type == "Conv" and attribute.name == "group"
    ]
    assert groups == [3, 1, 2]
    assert not lint(made.model)
    result = compare(network, tmp_path / "grouped.onnx", images(16))
    assert not result.unexplained
    assert result.max_difference < 1e-4


def test_dense_layers_on_tokens_and_gelu_are_exported_without_shapes_at_run_time() -> None:
    import keras

    image = keras.Input((4, 4, 3), name="image")
    tokens = keras.layers.Reshape((16, 3))(image)
    x = keras.layers.Dense(6, activation="gelu", name="first")(tokens)
    x = keras.layers.MultiHeadAttention(2, 3, name="attention")(x, x)
    x = keras.layers.LayerNormalization()(keras.layers.Dense(6, activation="gelu", name="second")(x))
    model = keras.Model(image, keras.layers.Dense(3)(keras.layers.GlobalAveragePooling1D()(x)))
    export = export_onnx(model, None)
    assert not {"Shape", "Gather", "Concat"} & {node.op_type for node in export.model.graph.node}
    assert {"kernel-quantized", "int8-share"} == {finding.rule for finding in lint(export.model)}
    share, count = int8_share(export.model)
    projections = 4 * 16 * 6 * 6  # of the attention: query, key, value, output
    assert (share, count) == (0, 16 * 3 * 6 + 16 * 6 * 6 + projections + 2 * 16 * 16 * 6 + 6 * 3)
    for count in (1, 5):
        values = images(count, shape=(4, 4, 3))
        (logits,) = outputs(session(export.model), values, ["logits"])
        assert np.allclose(logits, predict(model, values), atol=1e-5)


def test_a_layer_of_one_output_keeps_one_scale_per_channel() -> None:
    import keras

    from safeml.int8.layers import ActivationQuantizer, QuantizedConv2D, QuantizedDense

    image = keras.Input((SIDE, SIDE, 3), name="image")
    x = QuantizedConv2D(1, 3, name="conv")(ActivationQuantizer(name="conv_input")(image))
    x = ActivationQuantizer(name="logits_input")(keras.layers.Flatten()(x))
    model = calibrated(keras.Model(image, QuantizedDense(3, name="logits")(x)))
    assert lint(export_onnx(model, None).model) == []


def test_what_tf2onnx_only_logs_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    import keras

    class Strange(keras.layers.Layer):
        def call(self, inputs: Any) -> Any:
            import tensorflow as tf

            return tf.raw_ops.Digamma(x=inputs)

    image = keras.Input((SIDE, SIDE, 3), name="image")
    x = keras.layers.Flatten()(Strange(name="strange")(image))
    model = keras.Model(image, keras.layers.Dense(3)(x), name="odd")
    with pytest.raises(InputRefused, match=r"odd: tf2onnx cannot convert it \(.*Digamma.*replace the layer"):
        export_onnx(model, None)


def test_fake_quantization_with_shifted_ranges_is_refused() -> None:
    import keras

    class Shifted(keras.layers.Layer):
        def call(self, inputs: Any) -> Any:
            import tensorflow as tf

            return tf.quantization.fake_quant_with_min_max_args(inputs, -1, 1)

    image = keras.Input((SIDE, SIDE, 3), name="image")
    x = keras.layers.Flatten()(Shifted(name="shifted")(image))
    model = keras.Model(image, keras.layers.Dense(3)(x))
    with pytest.raises(
        InputRefused, match="FakeQuantWithMinMaxArgs, whose rounding QuantizeLinear does not have"
    ):
        export_onnx(model, None)


@pytest.mark.parametrize(
    ("ends", "sentence"),
    [
        ("two outputs", "has 1 inputs and 2 outputs; expected one image and one row of logits"),
        ("any size", "expected images of a fixed height, width and channels"),
        ("sigmoid", "ends in a Sigmoid; expected logits or a softmax"),
        ("integers", "takes uint8; expected float32 images"),
    ],
)
def test_models_of_other_ends_are_refused(ends: str, sentence: str) -> None:
    import keras

    sides = (None, None, 3) if ends == "any size" else (SIDE, SIDE, 3)
    image = keras.Input(sides, name="image", dtype="uint8" if ends == "integers" else "float32")
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.Rescaling(1.0)(image))
    x = keras.layers.Dense(3, activation="sigmoid" if ends == "sigmoid" else None)(x)
    model = keras.Model(image, [x, x + 1] if ends == "two outputs" else x)
    with pytest.raises(InputRefused, match=sentence):
        export_onnx(model, None)


def test_over_two_gigabytes_is_refused(monkeypatch: pytest.MonkeyPatch, model: Any) -> None:
    monkeypatch.setattr("safeml.export.frozen.PROTOBUF_LIMIT", 1000)
    with pytest.raises(InputRefused, match="over 2 GB of weights"):
        export_onnx(model, None)
    monkeypatch.undo()
    monkeypatch.setattr("safeml.export.onnx.PROTOBUF_LIMIT", 1000)
    with pytest.raises(InputRefused, match="its ONNX file would be over 2 GB"):
        export_onnx(model, None)


def test_a_scale_that_is_lost_is_refused(monkeypatch: pytest.MonkeyPatch, model: Any) -> None:
    def lose(graph: Graph) -> None:
        node = next(node for node in graph.nodes if node.op_type == "QuantizeLinear")
        graph.arrays[node.input[1]] = graph.arrays[node.input[1]] * np.float32(1.0000002)

    from safeml.export import onnx as exporter

    real = exporter.clean
    monkeypatch.setattr(exporter, "clean", lambda graph: (real(graph), lose(graph)))
    with pytest.raises(InputRefused, match=r"1 of .* scales of the model are not in its export"):
        export_onnx(model, None)


def test_the_file_holds_all_its_values(exported: Any) -> None:
    assert all(numpy_helper.to_array(tensor).size for tensor in exported.graph.initializer)
    onnx.checker.check_model(exported, full_check=True)
