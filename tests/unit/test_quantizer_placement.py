"""Where quantizers are placed: the rules of TensorRT on small graphs, each with the tensors that are read through one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from safeml.framework import start

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", autouse=True)
def _keras() -> None:
    start()


def conv(x: Any, name: str, filters: int = 4, size: int = 1) -> Any:
    import keras

    return keras.layers.Conv2D(filters, size, padding="same", name=name)(x)


def relu(x: Any, name: str) -> Any:
    import keras

    return keras.layers.ReLU(name=name)(x)


def read_through(outputs: Any, inputs: Any, keep_float: tuple[str, ...] = ()) -> dict[str, dict[str, str]]:
    """Of the quantized model: the tensors that each layer reads through a quantizer, and the quantizer of each."""
    import keras

    from safeml.int8.layers import ActivationQuantizer
    from safeml.quantization.graph import read
    from safeml.quantization.rewrite import prepare, with_quantizers

    prepared = prepare(keras.Model(inputs, outputs), "m")
    graph = read(with_quantizers(prepared, keep_float), "m")
    producers = graph.producers()
    result: dict[str, dict[str, str]] = {}
    for step in graph.steps:
        for value in step.inputs:
            before = producers.get(value)
            if before is not None and before.part.kind is ActivationQuantizer:
                result.setdefault(step.part.name, {})[before.inputs[0].name] = before.part.name
    return result


def tensors(placed: dict[str, dict[str, str]]) -> dict[str, set[str]]:
    return {layer: set(inputs) for layer, inputs in placed.items()}


def image() -> Any:
    import keras

    return keras.Input((8, 8, 4), name="image")


def logits(x: Any) -> Any:
    import keras

    x = keras.layers.Dense(3, name="logits")(keras.layers.GlobalAveragePooling2D(name="pool")(x))
    return keras.layers.Softmax(name="softmax")(x)


def test_the_input_of_each_kernel_and_of_the_pool_and_no_logit() -> None:
    import keras

    inputs = image()
    x = keras.layers.Rescaling(2.0, -1.0, name="rescaled")(inputs)
    x = keras.layers.MaxPooling2D(name="max")(relu(conv(x, "a"), "a_relu"))
    placed = read_through(logits(conv(x, "b")), inputs)
    assert tensors(placed) == {"a": {"rescaled"}, "b": {"max"}, "pool": {"b"}, "logits": {"pool"}}


def test_a_tensor_of_several_readers_has_one_quantizer() -> None:
    inputs = image()
    x = relu(conv(inputs, "a"), "a_relu")
    placed = read_through(logits(conv(x, "b") + conv(x, "c", size=3) + x), inputs)
    used = {row["a_relu"] for row in placed.values() if "a_relu" in row}
    assert used == {"a_relu_quantizer"}


def test_the_identity_branch_of_a_residual_sum() -> None:
    import keras

    inputs = image()
    x = relu(conv(inputs, "a"), "a_relu")
    for swapped in (False, True):
        y = conv(relu(conv(x, f"b{swapped}"), f"b{swapped}_relu"), f"c{swapped}")
        branches = [x, y] if swapped else [y, x]
        total = keras.layers.Add(name=f"add{swapped}")(branches)
        placed = read_through(logits(total), inputs)
        assert tensors(placed)[f"add{swapped}"] == {"a_relu"}


def test_of_two_convolutions_the_projection_shortcut_alone() -> None:
    import keras

    inputs = image()
    x = relu(conv(inputs, "a"), "a_relu")
    shortcut = conv(x, "shortcut")
    y = keras.layers.Dropout(0.1, name="dropped")(conv(relu(conv(x, "b"), "b_relu"), "c"))
    placed = read_through(logits(relu(keras.layers.Add(name="add")([shortcut, y]), "after")), inputs)
    assert tensors(placed)["add"] == {"shortcut"}


def test_a_convolution_that_another_layer_reads_is_not_the_fused_branch() -> None:
    """TensorRT cannot fuse a sum into a convolution whose own output is needed."""
    import keras

    inputs = image()
    short = conv(inputs, "short")
    shared = relu(conv(relu(conv(inputs, "a"), "a_relu"), "long", size=3), "long_relu")
    placed = read_through(logits(keras.layers.Add(name="add")([short, shared])), inputs)
    assert tensors(placed)["add"] == {"long_relu"}


def test_all_branches_but_one_of_a_sum_of_three() -> None:
    import keras

    inputs = image()
    branches = [relu(conv(inputs, name), f"{name}_relu") for name in "ab"] + [conv(inputs, "c")]
    placed = read_through(logits(keras.layers.Add(name="add")(branches)), inputs)
    assert tensors(placed)["add"] == {"a_relu", "b_relu"}


def test_a_sum_written_as_an_operation_is_a_sum() -> None:
    import keras

    inputs = image()
    x = relu(conv(inputs * 2.0 - 1.0, "a"), "a_relu")
    placed = read_through(logits(keras.ops.relu(conv(x, "b") + x)), inputs)
    (name,) = [layer for layer, row in placed.items() if "a_relu" in row and layer != "b"]
    assert tensors(placed)[name] == {"a_relu"}
    assert set(tensors(placed)) == {"a", "b", name, "pool", "logits"}  # `2 x - 1` is preprocessing


def test_a_concatenation_has_one_scale_for_its_inputs_and_its_output() -> None:
    import keras

    inputs = image()
    a, b = relu(conv(inputs, "a"), "a_relu"), relu(conv(inputs, "b"), "b_relu")
    joined = keras.layers.Concatenate(name="joined")([a, b])
    placed = read_through(logits(conv(joined, "c") + conv(a, "d")), inputs)
    assert placed["joined"] == {"a_relu": "a_relu_quantizer", "b_relu": "a_relu_quantizer"}
    assert placed["c"] == {"joined": "a_relu_quantizer"}
    assert placed["d"] == {"a_relu": "a_relu_quantizer"}
    assert placed["a"] == placed["b"] == {"image": "image_quantizer"}


def test_two_concatenations_of_one_tensor_have_one_scale() -> None:
    import keras

    inputs = image()
    a, b, c = (relu(conv(inputs, name), f"{name}_relu") for name in "abc")
    first = keras.ops.concatenate([a, b], axis=-1)
    second = keras.ops.concatenate([b, c], axis=-1)
    placed = read_through(logits(conv(first, "d") + conv(second, "e")), inputs)
    names = {name for row in placed.values() for tensor, name in row.items() if tensor in ("a_relu", "b_relu", "c_relu")}  # fmt: skip
    assert len(names) == 1
    assert {*placed["d"].values(), *placed["e"].values()} == names


def test_both_inputs_of_squeeze_and_excitation_and_none_of_a_swish() -> None:
    import keras

    inputs = image()
    x = relu(conv(inputs, "a"), "a_relu")
    gate = keras.layers.GlobalAveragePooling2D(keepdims=True, name="squeeze")(x)
    gate = keras.layers.Conv2D(4, 1, activation="sigmoid", name="excite")(gate)
    x = conv(keras.layers.Multiply(name="weigh")([x, gate]), "b")
    x = keras.layers.Multiply(name="swish")([x, keras.ops.sigmoid(x)])
    placed = read_through(logits(conv(x, "c")), inputs)
    assert tensors(placed)["weigh"] == {"a_relu", "excite_sigmoid"}
    assert tensors(placed)["squeeze"] == {"a_relu"}
    assert "swish" not in placed


def test_what_follows_the_last_kernel_computes_logits_in_float() -> None:
    import keras

    inputs = image()
    x = relu(conv(inputs, "a"), "a_relu")
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.Add()([conv(x, "b", 3), conv(x, "c", 3)]))
    assert tensors(read_through(x, inputs)) == {"a": {"image"}, "b": {"a_relu"}, "c": {"a_relu"}}


def test_all_products_of_an_attention_and_no_softmax() -> None:
    import keras

    inputs = image()
    x = keras.layers.LayerNormalization(name="norm")(keras.layers.Reshape((16, 16))(conv(inputs, "a")))
    y = keras.layers.MultiHeadAttention(2, 4, name="mha")(x, x)
    outputs = keras.layers.Dense(3, name="logits")(keras.layers.Flatten(name="flat")(keras.layers.Add(name="add")([x, y])))  # fmt: skip
    assert tensors(read_through(outputs, inputs)) == {
        "a": {"image"},
        "mha_query": {"norm"},
        "mha_key": {"norm"},
        "mha_value": {"norm"},
        "mha_scores": {"mha_query_heads", "mha_key_heads"},
        "mha_context": {"mha_softmax", "mha_value_heads"},
        "mha_output": {"mha_context_heads"},
        "add": {"norm"},
        "logits": {"flat"},
    }


def test_a_layer_kept_in_float_reads_no_quantizer() -> None:
    inputs = image()
    x = relu(conv(relu(conv(inputs, "a"), "a_relu"), "b"), "b_relu")
    placed = read_through(logits(x), inputs, ("b", "pool"))
    assert tensors(placed) == {"a": {"image"}, "logits": {"pool"}}


def test_a_quantizer_comes_before_all_its_readers_in_the_order_of_the_graph() -> None:
    import keras

    from safeml.quantization.rewrite import prepare, quantizers, with_quantizers

    inputs = image()
    x = relu(conv(inputs, "a"), "a_relu")
    x = conv(keras.layers.Concatenate(name="joined")([x, conv(x, "b")]), "c")
    model = with_quantizers(prepare(keras.Model(inputs, logits(x)), "m"))
    assert [each.name for each in quantizers(model)] == [
        "image_quantizer",
        "a_relu_quantizer",
        "c_quantizer",
        "pool_quantizer",
    ]
    assert np.isfinite(np.asarray(model(np.zeros((1, 8, 8, 4), np.float32)))).all()
