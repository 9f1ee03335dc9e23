"""Repairs of Keras 2 configurations as dictionaries. That the results load and answer alike is tests/integration's."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from safeml.classifiers.keras_files import for_prediction
from safeml.classifiers.keras_legacy import is_old, modernise
from safeml.scan.base import Refused
from safeml.scan.keras_config import UNREAD, scan_model_config


def layer(kind: str, name: str, **config: Any) -> dict[str, Any]:
    return {"class_name": kind, "config": {"name": name, **config}}


def sequential(*layers: dict[str, Any], name: str = "sequential") -> dict[str, Any]:
    return {"class_name": "Sequential", "config": {"name": name, "layers": list(layers)}}


@pytest.mark.parametrize(
    ("version", "old"),
    [
        ("2.3.1", True),
        (b"2.15.0", True),
        ("1.2.2", True),
        (None, True),
        ("", True),
        ("3.0.0", False),
        (b"3.12.0", False),
        ("10.1", False),
    ],
)
def test_the_version_says_who_wrote_it(version: object, old: bool) -> None:
    assert is_old(version) is old


def test_what_keras_3_reads_is_left_as_it_is_and_the_input_is_never_changed() -> None:
    config = sequential(
        layer("InputLayer", "input", batch_input_shape=[None, 8, 8, 3], sparse=False, ragged=False),
        layer("Conv2D", "conv", filters=4, groups=1, activation="relu", data_format="channels_last"),
        layer("Unheard", "of", groups=1, axis=[1]),
    )
    before = copy.deepcopy(config)
    renewed, notes = modernise(config)
    assert renewed == before == config
    assert notes == ()
    old = sequential(layer("Dense", "dense", batch_input_shape=[None, 4], units=2))
    before = copy.deepcopy(old)
    assert modernise(old)[0] != before
    assert old == before


def test_the_input_shape_of_a_first_layer_goes_into_an_input_layer_of_a_free_name() -> None:
    config = sequential(
        layer("Conv2D", "conv", batch_input_shape=[None, 30, 30, 3], dtype="float32"),
        layer("Flatten", "conv_input"),
    )
    renewed, notes = modernise(config)
    first, second, _ = renewed["config"]["layers"]
    assert first == layer("InputLayer", "conv_input_", batch_shape=[None, 30, 30, 3], dtype="float32")
    assert second == layer("Conv2D", "conv", dtype="float32")
    assert len(notes) == 1
    assert "InputLayer" in notes[0]


def test_a_sequential_that_starts_with_a_model_takes_what_that_model_takes() -> None:
    inner = sequential(layer("Conv2D", "conv", batch_input_shape=[None, 9, 9, 1]), name="inner")
    renewed, notes = modernise(sequential(inner, layer("Flatten", "flatten")))
    first, second, _ = renewed["config"]["layers"]
    assert first["config"]["batch_shape"] == [None, 9, 9, 1]
    assert first["config"]["name"] == "inner_input"
    assert second["config"]["layers"][0]["class_name"] == "InputLayer"
    assert notes[0].endswith("(2 layers)")


def test_a_sequential_that_says_no_input_gets_none() -> None:
    config = sequential(layer("Conv2D", "conv", filters=4))
    assert modernise(config) == (config, ())


def test_a_bare_list_becomes_a_sequential_with_a_name_of_its_own() -> None:
    def bare() -> dict[str, Any]:
        return {"class_name": "Sequential", "config": [layer("Dense", "dense", units=2)]}

    renewed, _ = modernise({"class_name": "Sequential", "config": [bare(), bare()]})
    names = [renewed["config"]["name"], *(inner["config"]["name"] for inner in renewed["config"]["layers"])]
    assert len(set(names)) == 3


@pytest.mark.parametrize(
    ("kind", "key", "neutral", "other"),
    [
        ("DepthwiseConv2D", "groups", 1, 2),
        ("SeparableConv2D", "groups", 1, 2),
        ("Conv2DTranspose", "groups", 1, 2),
        ("LSTM", "time_major", False, True),
    ],
)
def test_a_setting_that_is_gone_is_dropped_where_it_says_nothing_and_kept_where_it_does(
    kind: str, key: str, neutral: object, other: object
) -> None:
    renewed, notes = modernise(layer(kind, "x", **{key: neutral}))
    assert key not in renewed["config"]
    assert key in notes[0]
    config = layer(kind, "x", **{key: other})
    assert modernise(config) == (config, ())  # Keras refuses it


def test_batch_normalization_has_one_axis() -> None:
    assert modernise(layer("BatchNormalization", "bn", axis=[3]))[0]["config"]["axis"] == 3
    two = layer("BatchNormalization", "bn", axis=[1, 2])
    assert modernise(two) == (two, ())


def test_policies_and_homes_of_keras_2_get_their_new_names() -> None:
    policy = {"module": "keras.mixed_precision", "class_name": "Policy", "config": {"name": "mixed_float16"}}
    assert modernise(layer("Conv2D", "c", dtype=policy))[0]["config"]["dtype"] == "mixed_float16"
    for module in (
        "keras.engine.functional",
        "keras.src.engine.functional",
        "tf_keras.src.engine.functional",
    ):
        model = {"module": module, "class_name": "Functional", "config": {"name": "m", "layers": []}}
        assert modernise(model)[0]["module"] == "keras.src.models.functional"
    other = {"module": "os", "class_name": "Functional", "config": {}}
    assert modernise(other)[0]["module"] == "os"


def functional(*layers: dict[str, Any], end: str, kind: str = "Model") -> dict[str, Any]:
    ends = {"input_layers": [["input", 0, 0]], "output_layers": [[end, 0, 0]]}
    return {"class_name": kind, "config": {"name": "model", "layers": list(layers), **ends}}


def called(made: dict[str, Any], *calls: list[Any]) -> dict[str, Any]:
    return {**made, "name": made["config"]["name"], "inbound_nodes": [[call] for call in calls]}


def test_calls_of_nested_models_are_counted_from_0() -> None:
    config = functional(
        called(layer("InputLayer", "input", batch_input_shape=[None, 4])),
        called(sequential(name="nested"), ["input", 0, 0, {}], ["input", 0, 0, {}]),
        called(layer("Dense", "dense"), ["nested", 1, 0, {}], ["nested", 2, 0, {}]),
        called(sequential(name="kept"), ["dense", 1, 0, {}]),
        called(layer("Dense", "last"), ["kept", 0, 0, {}]),
        end="last",
    )
    renewed = modernise(config)[0]["config"]
    nodes = {made["name"]: [node[0][:2] for node in made["inbound_nodes"]] for made in renewed["layers"]}
    assert nodes["dense"] == [["nested", 0], ["nested", 1]]
    assert nodes["kept"] == [["dense", 1]]  # a layer, counted from 0 already
    assert nodes["last"] == [["kept", 0]]
    assert renewed["input_layers"] == ["input", 0, 0]
    assert renewed["output_layers"] == ["last", 0, 0]


def test_the_output_of_a_nested_model_is_renumbered_for_a_sequential_alone() -> None:
    for kind, expected in (("Sequential", 0), ("Model", 1)):
        inner = sequential(name="head") if kind == "Sequential" else functional(end="x")
        inner["config"]["name"] = "head"
        config = functional(called(layer("InputLayer", "input")), called(inner, ["input", 0, 0]), end="head")
        config["config"]["output_layers"] = [["head", 1, 0]]
        assert modernise(config)[0]["config"]["output_layers"] == ["head", expected, 0]


def test_slashes_in_names_become_underscores_wherever_the_name_stands() -> None:
    config = functional(
        called(layer("InputLayer", "input")),
        called(layer("Conv2D", "a/b"), ["input", 0, 0, {}]),
        called(layer("Conv2D", "a_b"), ["a/b", 0, 0, {}]),
        end="a/b",
    )
    renewed, notes = modernise(config)
    _, first, second = renewed["config"]["layers"]
    assert first["name"] == first["config"]["name"] == "a_b_"  # a_b is taken
    assert second["inbound_nodes"] == [[["a_b_", 0, 0, {}]]]
    assert renewed["config"]["output_layers"] == ["a_b_", 0, 0]
    assert len(notes) == 1


@pytest.mark.parametrize("key", ["activation", "recurrent_activation"])
@pytest.mark.parametrize("value", ["hard_sigmoid", {"class_name": "function", "config": "hard_sigmoid"}])
def test_hard_sigmoid_is_another_function_in_keras_3(key: str, value: object) -> None:
    config = sequential(layer("TimeDistributed", "t", layer=layer("LSTM", "lstm", **{key: value})))
    with pytest.raises(Refused, match="the LSTM lstm uses hard_sigmoid"):
        modernise(config)


def test_the_layer_in_a_wrapper_is_given_its_module() -> None:
    renewed, _ = modernise(layer("TimeDistributed", "t", layer=layer("Dense", "d")))
    assert renewed["config"]["layer"]["module"] == "keras.layers"
    kept = layer("TimeDistributed", "t", layer={**layer("Dense", "d"), "module": "elsewhere"})
    assert modernise(kept) == (kept, ())


def test_compilations_are_not_judged_and_never_reach_keras_at_any_depth() -> None:
    compiled = {"optimizer": {"class_name": "Unheard"}, "loss": {"class_name": "function", "config": "focal"}}
    inner = {**sequential(layer("Dense", "dense", units=2), name="inner"), "compile_config": compiled}
    config = {**sequential(inner), "compile_config": compiled}
    assert scan_model_config(config, "config.json")["compilation"] == UNREAD
    assert "compile_config" not in str(for_prediction(config))
    # The same words elsewhere are judged.
    hidden = sequential(layer("Dense", "dense", compile_config=compiled))
    with pytest.raises(Refused, match="Unheard"):
        scan_model_config(hidden, "config.json")


def test_names_of_tensorflow_become_those_of_keras() -> None:
    def head(name: str) -> dict[str, Any]:
        activation = {
            "class_name": "function",
            "config": name,
            "module": "builtins",
            "registered_name": "function",
        }
        return sequential(layer("Dense", "dense", activation=activation))

    scan_model_config(head("softmax_v2"), "config.json")
    assert for_prediction(head("softmax_v2")) == head("softmax")
    with pytest.raises(Refused, match="function object"):
        scan_model_config(head("softmax_v3"), "config.json")


def test_an_operation_of_keras_2_is_refused_for_what_it_is() -> None:
    with pytest.raises(Refused, match=r"a layer of Keras 2 that Keras 3 does not have.*SavedModel"):
        scan_model_config(sequential(layer("TFOpLambda", "tf.math.truediv")), "model_config")


def test_the_dtype_of_initializers_is_left_out() -> None:
    """tf.keras 1.13 to 2.0 wrote it; no initializer of Keras 3 takes it."""
    zeros = {"class_name": "Zeros", "config": {"dtype": "float32"}}
    uniform = {"class_name": "GlorotUniform", "config": {"seed": None, "dtype": "float32"}}
    old = layer("Dense", "d", units=2, dtype="float32", bias_initializer=zeros, kernel_initializer=uniform)
    renewed, notes = modernise(old)
    assert renewed["config"]["kernel_initializer"]["config"] == {"seed": None}
    assert renewed["config"]["bias_initializer"]["config"] == {}
    assert renewed["config"]["dtype"] == "float32"
    assert notes == ("the dtype of initializers, which Keras 3 does not have, was left out (2 layers)",)


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        ("QuantizedDTypePolicy", r"quantised by model.quantize \(int8\).*model.export\("),
        ("Int4DTypePolicy", r"\(int4\).*model.export\("),
        ("QuantizedFloat8DTypePolicy", r"\(float8\).*saved before model.quantize"),
    ],
)
def test_a_quantised_model_is_refused_for_what_it_is(policy: str, message: str) -> None:
    dtype = {"class_name": policy, "module": "keras.dtype_policies", "config": {}}
    with pytest.raises(Refused, match=message):
        scan_model_config(sequential(layer("Dense", "d", dtype=dtype)), "config.json")


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("TFSMLayer", "give that SavedModel folder itself"),
        ("StringLookup", "rebuild it without that layer"),
        ("Pipeline", "SavedModel"),
    ],
)
def test_only_a_layer_that_no_image_needs_must_be_rebuilt(kind: str, message: str) -> None:
    with pytest.raises(Refused, match=message) as refusal:
        scan_model_config(sequential(layer(kind, "x")), "config.json")
    assert ("rebuild" in str(refusal.value)) == (kind == "StringLookup")


def test_operations_without_a_gradient_are_facts_of_the_scan() -> None:
    def operation(kind: str, module: str, **config: Any) -> dict[str, Any]:
        return {
            "class_name": kind,
            "module": f"keras.src.ops.{module}",
            "config": config,
            "registered_name": kind,
        }

    steps = [
        operation("StopGradient", "core", name="stop_gradient_1"),
        operation("Cast", "core", name="cast", dtype="float16"),
        operation("Cast", "core", name="cast_1", dtype="uint8"),
        operation("Round", "numpy", name="round"),
    ]
    facts = scan_model_config(sequential(*steps), "config.json")
    assert (
        facts["operations without a gradient"]
        == "StopGradient (stop_gradient_1), Cast (cast_1), Round (round)"
    )
    assert "operations without a gradient" not in scan_model_config(sequential(), "config.json")
