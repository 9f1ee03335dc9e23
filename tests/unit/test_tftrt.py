"""The SavedModel for TF-TRT: its outputs, its static rules, each broken once, and what cannot be written."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.int8_nets import images, tiny

pytestmark = pytest.mark.slow

COUNT = 96


@pytest.fixture(scope="module")
def model() -> Any:
    return tiny("softmax layer")


@pytest.fixture(scope="module")
def written(model: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    from safeml.export.tftrt import write

    folder = tmp_path_factory.mktemp("tftrt")
    return folder, write(model, folder, images(COUNT))


@pytest.fixture(scope="module")
def graph(written: tuple[Path, Any]) -> Any:
    from safeml.export.tftrt_lint import read

    return read(written[0] / "saved_model")


def test_the_check_states_agreement_and_limits(written: tuple[Path, Any]) -> None:
    _, row = written
    assert row.status == "passed"
    assert (row.facts["agreement"], row.facts["findings"], row.facts["images"]) == (1.0, [], COUNT)
    assert "not bit-equal with the ONNX file" in row.reason
    assert "TensorFlow 2.17 or older" in row.reason


def test_the_folder_has_all_that_the_device_needs(written: tuple[Path, Any], model: Any) -> None:
    import tensorflow as tf

    folder, _ = written
    assert {file.name for file in folder.iterdir()} == {"saved_model", "convert_tftrt.py", "golden.npz"}
    with np.load(folder / "golden.npz") as golden:
        served = tf.saved_model.load(str(folder / "saved_model")).signatures["serving_default"]
        outputs = served(image=tf.constant(golden["images"]))["probabilities"].numpy()
        assert np.array_equal(outputs, golden["outputs"])
        keras_outputs = model(golden["images"], training=False)
    assert np.abs(outputs - keras_outputs).max() < 0.01


def test_ranges_give_the_scale_to_tensorrt(graph: Any, model: Any) -> None:
    """TF-TRT takes the larger absolute end as 127 codes."""
    from safeml.export.float_graphs import FAKE_QUANT
    from safeml.int8.layers import ActivationQuantizer

    ends = {float(graph.constant(node.input[2])) for node in graph.of(FAKE_QUANT)}
    scales = {
        float(np.float32(127) * np.asarray(layer.scale))
        for layer in model.layers
        if isinstance(layer, ActivationQuantizer)
    }
    assert sorted(ends) == pytest.approx(sorted(scales), rel=3e-7)


def test_kernels_are_constants_on_the_grid_of_keras(graph: Any, model: Any) -> None:
    kernels = {node.name.split("/")[-2]: kernel for node, kernel, _ in graph.weighted()}
    for name in ("stem", "depthwise", "project", "first", "second", "last", "logits"):
        expected = np.asarray(model.get_layer(name).quantized_kernel())
        ours = next(kernel for node, kernel in kernels.items() if node.startswith(name))
        assert ours == pytest.approx(expected, rel=1e-6)


def test_a_moved_tensor_has_its_range_again(graph: Any) -> None:
    """Between the concatenation and `last` is a pooling; TF-TRT knows no range behind either."""
    from safeml.export.float_graphs import FAKE_QUANT

    (last,) = (
        node for node, _, _ in graph.weighted() if "/last" in node.name or node.name.startswith("last")
    )
    repeated = graph.source(last.input[0])
    assert repeated.op == FAKE_QUANT
    assert graph.source(repeated.input[0]).op == "MaxPool"


def changed(graph: Any, change: Callable[[dict[str, Any]], None]) -> Any:
    """A copy of the graph after a change of its nodes, by name."""
    nodes = {}
    for name, node in graph.nodes.items():
        nodes[name] = type(node)()
        nodes[name].CopyFrom(node)
    change(nodes)
    return replace(graph, nodes=nodes)


def first(nodes: dict[str, Any], op: str) -> Any:
    return next(node for node in nodes.values() if node.op == op)


def set_constant(nodes: dict[str, Any], name: str, values: Any) -> None:
    import tensorflow as tf

    node = nodes[name.partition(":")[0]]
    while node.op == "Identity":
        node = nodes[node.input[0].partition(":")[0]]
    node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(np.asarray(values, np.float32)))


def quantize_and_dequantize(nodes: dict[str, Any]) -> None:
    first(nodes, "Relu").op = "QuantizeAndDequantizeV3"


def one_sided(nodes: dict[str, Any]) -> None:
    set_constant(nodes, first(nodes, "FakeQuantWithMinMaxVars").input[1], -0.5)


def wide(nodes: dict[str, Any]) -> None:
    first(nodes, "FakeQuantWithMinMaxVars").attr["narrow_range"].b = False


def four_bits(nodes: dict[str, Any]) -> None:
    first(nodes, "FakeQuantWithMinMaxVars").attr["num_bits"].i = 4


def not_finite(nodes: dict[str, Any]) -> None:
    node = first(nodes, "FakeQuantWithMinMaxVars")
    set_constant(nodes, node.input[1], -np.inf)
    set_constant(nodes, node.input[2], np.inf)


def unknown_range(nodes: dict[str, Any]) -> None:
    node = first(nodes, "FakeQuantWithMinMaxVars")
    nodes[node.input[1].partition(":")[0]].op = "Placeholder"


def positive(nodes: dict[str, Any]) -> None:
    node = first(nodes, "FakeQuantWithMinMaxVars")
    set_constant(nodes, node.input[1], 0.1)
    set_constant(nodes, node.input[2], 1.0)


def two_ranges(nodes: dict[str, Any]) -> None:
    """Two quantizers read one tensor."""
    one, other = [node for node in nodes.values() if node.op == "FakeQuantWithMinMaxVars"][:2]
    other.input[0] = one.input[0]


def unquantized(nodes: dict[str, Any]) -> None:
    node = first(nodes, "DepthwiseConv2dNative")
    fake = nodes[node.input[0].partition(":")[0]]
    node.input[0] = fake.input[0]


def fake_quant_of_kernel(nodes: dict[str, Any]) -> None:
    """TF-TRT does not read it, and nothing shows that its constant is on a grid."""
    fake, product = first(nodes, "FakeQuantWithMinMaxVars"), first(nodes, "MatMul")
    node = type(fake)()
    node.CopyFrom(fake)
    node.name, node.input[0] = "kernel_range", product.input[1]
    nodes[node.name] = node
    product.input[1] = node.name


def off_grid(nodes: dict[str, Any]) -> None:
    kernel = first(nodes, "MatMul").input[1]
    set_constant(nodes, kernel, np.random.default_rng(0).normal(size=(24, 5)))


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        (quantize_and_dequantize, "no-quantize-dequantize"),
        (one_sided, "symmetric-range"),
        (wide, "symmetric-range"),
        (four_bits, "symmetric-range"),
        (not_finite, "symmetric-range"),
        (unknown_range, "symmetric-range"),
        (positive, "contains-zero"),
        (two_ranges, "one-range"),
        (unquantized, "quantized-activations"),
        (off_grid, "kernel-on-grid"),
        (fake_quant_of_kernel, "kernel-on-grid"),
    ],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_each_rule_finds_its_violation(graph: Any, change: Any, rule: str) -> None:
    from safeml.export.tftrt_lint import lint

    assert lint(graph) == []
    findings = lint(changed(graph, change))
    assert rule in {finding.rule for finding in findings}
    assert {finding.rule for finding in findings} <= {rule, "symmetric-range"}


def test_a_layer_that_stays_float_on_purpose_is_left_out(graph: Any) -> None:
    from safeml.export.tftrt_lint import lint

    bare = changed(graph, unquantized)
    (finding,) = lint(bare)
    layer = next(part for part in finding.node.split("/") if part.startswith("depthwise"))
    assert lint(replace(bare, keep_float=(layer,))) == []


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"variables": 2}, "no-variables"),
        ({"slots": 1}, "no-variables"),
        ({"signatures": ("serve",)}, "signature"),
        ({"outputs": ("output_0",)}, "signature"),
        ({"inputs": ("image", "mask")}, "signature"),
    ],
)
def test_each_rule_of_the_file_finds_its_violation(graph: Any, changes: dict[str, Any], rule: str) -> None:
    from safeml.export.tftrt_lint import lint

    assert [finding.rule for finding in lint(replace(graph, **changes))] == [rule]


def test_what_keras_exports_itself_breaks_the_rules(model: Any, tmp_path: Path) -> None:
    from safeml.export.tftrt_lint import lint, read

    model.export(tmp_path / "keras", verbose=False)
    rules = {finding.rule for finding in lint(read(tmp_path / "keras"))}
    assert {"no-quantize-dequantize", "no-variables", "signature", "kernel-on-grid"} <= rules


@pytest.mark.parametrize(
    ("channel", "expected"),
    [
        ([0.0, 0.0], True),
        ([0.5, -0.25, 1.27], True),  # 50, -25 and 127 steps of 0.01
        ([0.3, -0.1, 0.2], True),  # three steps
        ([1.0, 1 / 255, 0.7], False),
        ([1.0, 0.70710678, 0.57735027], False),
        ([1.0, np.nan], False),
    ],
)
def test_a_grid_has_at_most_127_steps(channel: list[float], expected: bool) -> None:
    from safeml.export.tftrt_lint import is_on_grid

    assert is_on_grid(np.asarray(channel, np.float32)) is expected


def test_a_model_that_differs_is_not_passed(graph: Any) -> None:
    from safeml.export.tftrt import _judged

    expected, other = np.eye(4, dtype=np.float32), np.eye(4, dtype=np.float32)[::-1]
    row = _judged([], graph, expected, other)
    assert (row.status, row.facts["agreement"]) == ("failed", 0.0)
    assert _judged([], graph, expected, expected * np.nan).status == "failed"


def test_pixels_of_0_to_255_as_bytes_are_refused(model: Any, tmp_path: Path) -> None:
    from safeml.export.tftrt import write

    with pytest.raises(ValueError, match="uint8"):
        write(model, tmp_path, np.zeros((1, 8, 8, 3), np.uint8))
