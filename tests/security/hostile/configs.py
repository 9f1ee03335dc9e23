"""Hostile configurations: places of code, and foreign classes, in config.json or model_config. Rows 1 to 8.

No sample holds code: where Keras stores bytecode, these store None, which no loader can run. The functions and classes that are
named outside Keras do not exist, and neither do the files.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.security.hostile import clean
from tests.security.hostile.case import ANY, NOT_CLEAN, REFUSED, add
from tests.security.hostile.clean import Config, dense, layer, named

CODE = "Tg=="  # marshal's None in base64
BYTECODE = {"class_name": "__lambda__", "config": {"code": CODE, "defaults": None, "closure": None}}
ELSEWHERE = "https://example.invalid/no-such-file.txt"


def archive(config: Callable[[], Config]) -> Callable[[Path], Path]:
    """A builder of a .keras file whose weights are clean."""
    return lambda folder: clean.keras_file(folder / "model.keras", config())


def with_layer(*extra: Config, at: int = 1) -> Callable[[Path], Path]:
    """The clean model with further layers before position `at`."""

    def config() -> Config:
        layers = clean.clean_layers()
        layers[at:at] = extra
        return clean.sequential(layers)

    return archive(config)


def with_setting(key: str, value: object, at: int = 2) -> Callable[[Path], Path]:
    """The clean model with one setting of layer `at` replaced."""

    def config() -> Config:
        layers = clean.clean_layers()
        layers[at]["config"][key] = value
        return clean.sequential(layers)

    return archive(config)


def with_key(key: str, value: object, at: int | None = 2) -> Callable[[Path], Path]:
    """The clean model with one key of layer `at` replaced beside its config; of the model itself where `at` is None."""

    def config() -> Config:
        whole = clean.clean_config()
        (whole if at is None else whole["config"]["layers"][at])[key] = value
        return whole

    return archive(config)


def lambda_layer(function: object = BYTECODE, **more: object) -> Config:
    return layer("Lambda", "lambda", function=function, arguments={}, **more)


def inside(depth: int) -> Config:
    """A Lambda in a Sequential in a Sequential ..."""
    value = lambda_layer()
    for level in range(depth):
        value = clean.sequential([clean.image_input(f"in_{level}"), value], name=f"level_{level}")
    return value


def lambda_in_keywords() -> Config:
    layers = clean.functional_layers()
    layers[2]["inbound_nodes"][0]["kwargs"] = {"training": lambda_layer()}
    return clean.functional(layers, ["input_layer", 0, 0], ["logits", 0, 0])


def lambda_in_functional() -> Config:
    layers = clean.functional_layers()
    layers[1] = clean.node(lambda_layer(), clean.tensor("input_layer", [8, 8, 3]))
    return clean.functional(layers, ["input_layer", 0, 0], ["logits", 0, 0])


_NAMED = named("builtins", "function", "relu", registered_name="function")
for _name, _build, _says in (
    ("lambda_top", with_layer(lambda_layer()), r"layers\[1\].*Lambda|Lambda.*layers\[1\]"),
    ("lambda_last", with_layer(lambda_layer(), at=4), r"layers\[4\].*Lambda|Lambda.*layers\[4\]"),
    ("lambda_output_shape", with_setting("output_shape", BYTECODE), "output_shape|__lambda__|lambda"),
    ("lambda_is_the_model", archive(lambda_layer), "Lambda"),
    ("lambda_in_functional", archive(lambda_in_functional), r"layers\[1\].*Lambda|Lambda.*layers\[1\]"),
    ("bytecode_as_activation", with_setting("activation", BYTECODE), "activation"),
    ("bytecode_as_initializer", with_setting("kernel_initializer", BYTECODE), "kernel_initializer"),
    ("bytecode_as_dtype", with_setting("dtype", BYTECODE), "dtype"),
):
    add(_name, 1, _build, _says)

for _name, _build in (
    ("lambda_in_sub_model", with_layer(inside(1))),
    ("lambda_ten_models_deep", with_layer(inside(10))),
    ("lambda_in_time_distributed", with_layer(layer("TimeDistributed", "each", layer=lambda_layer()))),
    (
        "lambda_in_bidirectional",
        with_layer(layer("Bidirectional", "both", layer=layer("RNN", "rnn", cell=lambda_layer()))),
    ),
    (
        "lambda_in_backward_layer",
        with_layer(
            layer(
                "Bidirectional", "both", layer=layer("LSTM", "lstm", units=4), backward_layer=lambda_layer()
            )
        ),
    ),
    ("lambda_in_pipeline", with_layer(layer("Pipeline", "pipeline", layers=[lambda_layer()]))),
    ("lambda_in_keywords_of_a_call", archive(lambda_in_keywords)),
    ("lambda_in_build_config", with_key("build_config", {"input_shape": lambda_layer()})),
    (
        "lambda_in_dtype_policy",
        with_setting("dtype", named("keras", "DTypePolicy", {"name": lambda_layer()})),
    ),
):
    add(
        _name,
        2,
        _build,
        "Lambda|TimeDistributed|Bidirectional|RNN|Pipeline|build_config|dtype|training|kwargs",
    )

for _name, _function in (
    ("lambda_named_function", _NAMED),
    ("lambda_named_string", "relu"),
    ("lambda_keras_function", named("keras.ops", "function", "relu", registered_name="relu")),
    ("lambda_without_function", None),
):
    add(_name, 3, with_layer(lambda_layer(_function)), r"Lambda")

_FOREIGN = {
    "tfsm_layer": layer("TFSMLayer", "tfsm", filepath="no-such-folder", call_endpoint="serve"),
    "torch_module": layer("TorchModuleWrapper", "torch", module=CODE, output_shape=None),
    "jax_layer": layer("JaxLayer", "jax", call_fn=BYTECODE, init_fn=None, params={}, state={}),
    "flax_layer": layer("FlaxLayer", "flax", module=CODE, method=None, variables={}),
}
for _name, _layer in _FOREIGN.items():
    add(_name, 4, with_layer(_layer), _layer["class_name"])
_TFSM = _FOREIGN["tfsm_layer"]
add("tfsm_layer_in_sub_model", 4, with_layer(clean.sequential([_TFSM])), "TFSMLayer")
add("tfsm_layer_as_initializer", 4, with_setting("kernel_initializer", _TFSM), "kernel_initializer|TFSMLayer")

_NO_SUCH = {"class_name": "function", "config": "no_such_function", "registered_name": "no_such_function"}
_ODD_OBJECTS: dict[str, Any] = {
    "module_os": named("os", "NoSuchClass"),
    "module_os_function": {"module": "os", **_NO_SUCH},
    "module_builtins": named("builtins", "NoSuchClass"),
    "module_keras_src": {"module": "keras.src.utils.file_utils", **_NO_SUCH},
    "module_keras_utils": named("keras.utils", "function", "normalize", registered_name="normalize"),
    "module_keras_config": named("keras.config", "function", "floatx", registered_name="floatx"),
    "module_keras_src_lambda": {**lambda_layer(), "module": "keras.src.layers.core.lambda_layer"},
    "module_keras_saving": named("keras.saving", "NoSuchClass"),
    "module_dots": {**dense("extra"), "module": "keras.layers..os"},
    "module_with_space": {**dense("extra"), "module": "keras.layers "},
    "module_is_number": {**dense("extra"), "module": 7},
    "module_is_list": {**dense("extra"), "module": ["keras.layers"]},
    "module_of_another_kind": {**dense("extra"), "module": "keras.initializers"},
    "class_of_another_kind": named("keras.layers", "Adam", {"name": "extra"}),
    "class_private": {**dense("extra"), "class_name": "__class__"},
    "class_dotted": {**dense("extra"), "class_name": "core.dense.Dense"},
    "class_homoglyph": {**dense("extra"), "class_name": "D\u0435nse"},
    "class_with_zero_width_space": {**dense("extra"), "class_name": "Dense\u200b"},
    "class_is_number": {**dense("extra"), "class_name": 5},
    "class_is_list": {**dense("extra"), "class_name": ["Dense"]},
    "class_is_absent": {"module": "keras.layers", "config": dense("extra")["config"]},
    "class_is_typespec": {
        "class_name": "__typespec__",
        "spec_name": "TensorSpec",
        "module": "tensorflow",
        "config": [],
    },
    "class_is_bytes": {"class_name": "__bytes__", "config": {"value": "AAAA"}},
    "class_is_numpy": {"class_name": "__numpy__", "config": {"value": [1], "dtype": "object"}},
    "class_of_my_own": {
        **dense("extra"),
        "module": "my_layers",
        "class_name": "Mine",
        "registered_name": "Mine",
    },
    "registered_custom": {**dense("extra"), "registered_name": "Custom>Dense"},
    "registered_lambda": {**dense("extra"), "registered_name": "Lambda"},
    "registered_mapping": {**dense("extra"), "registered_name": {"a": 1}},
    "config_is_text": named("keras.layers", "Dense", "x"),
    "config_is_list": named("keras.layers", "Dense", [1, 2]),
    "config_is_absent": {"module": "keras.layers", "class_name": "Dense", "registered_name": None},
    "layer_is_null": None,
    "layer_is_text": "Dense",
    "layer_is_list": [dense("extra")],
}
# Not what Keras writes, and yet nothing that runs: the scan may leave these to Keras, which does not load them.
_HARMLESS = ("class_is_absent", "class_is_numpy", "config_is_", "layer_is_")
for _name, _object in _ODD_OBJECTS.items():
    _answers = ANY if _name.startswith(_HARMLESS) else REFUSED
    add(_name, 5, with_layer(_object, at=3), r"layers\[3\]", _answers)
add("module_os_as_model", 5, with_key("module", "os", at=None), r"os|module")
add(
    "registered_custom_model",
    5,
    with_key("registered_name", "Mine>Sequential", at=None),
    r"registered_name|Mine",
)
add("layers_is_mapping", 5, archive(lambda: clean.sequential({"0": dense("a")})), r"layers", ANY)  # type: ignore[arg-type]
add(
    "layers_are_absent",
    5,
    archive(lambda: named("keras", "Sequential", {"name": "a"})),
    r"layers|config",
    ANY,
)

_FUNCTION = named("builtins", "function", "my_function", registered_name="function")
_FOREIGN_FUNCTION = {"module": "os", **_NO_SUCH}
for _key in ("kernel_initializer", "activation", "kernel_regularizer", "bias_constraint"):
    add(f"function_as_{_key}", 6, with_setting(_key, _FUNCTION), _key)
add("function_of_os_as_activation", 6, with_setting("activation", _FOREIGN_FUNCTION), "activation")
add(
    "function_of_keras_utils_as_activation",
    6,
    with_setting("activation", _ODD_OBJECTS["module_keras_utils"]),
    "activation",
)
_QUANTIZER = named("keras.quantizers", "Quantizer", {"path": "x"})
add("quantization_config", 6, with_setting("quantization_config", _QUANTIZER), "quantization_config")
add("activation_unknown_name", 6, with_setting("activation", "my_activation"), "activation", ANY)
add("activation_is_list", 6, with_setting("activation", ["relu"]), "activation", ANY)
for _key in ("loss", "metrics", "optimizer"):
    _value: Any = [_FOREIGN_FUNCTION] if _key == "metrics" else _FOREIGN_FUNCTION
    add(
        f"function_of_os_as_{_key}",
        6,
        with_key("compile_config", {_key: _value}, at=None),
        f"compile_config|{_key}",
        ANY,  # a compilation is left unread, and removed before Keras sees the file
    )
    _value = [lambda_layer()] if _key == "metrics" else lambda_layer()
    add(
        f"lambda_as_{_key}",
        6,
        with_key("compile_config", {_key: _value}, at=None),
        f"compile_config|{_key}",
        ANY,
    )

for _class in ("StringLookup", "IntegerLookup", "TextVectorization", "Hashing"):
    add(f"{_class.lower()}", 7, with_layer(layer(_class, "lookup", vocabulary=["a"])), _class)
for _kind, _text in (
    ("path", "/no-such-file"),
    ("relative_path", "../../no-such-file"),
    ("url", ELSEWHERE),
    ("windows_path", "C:\\no-such-file"),
    ("bucket", "gs://a/b"),
):
    add(f"setting_is_{_kind}", 7, with_setting("vocabulary", _text), "vocabulary|path|URL")
    add(f"initializer_is_{_kind}", 7, with_setting("kernel_initializer", _text), "kernel_initializer")


def h5_with(*extra: Config, training: object = None) -> Callable[[Path], Path]:
    """A Keras 3 .h5 file with further layers after the input, or another training_config."""

    def build(folder: Path) -> Path:
        import h5py

        layers = clean.clean_layers()
        layers[1:1] = extra
        path = clean.keras3_h5(folder / "model.h5", clean.bare(clean.sequential(layers)))
        if training is not None:
            with h5py.File(path, "a") as file:
                file.attrs["training_config"] = json.dumps(training)
        return path

    return build


def keras2_lambda(kind: str) -> Callable[[Path], Path]:
    def build(folder: Path) -> Path:
        config = clean.keras2_config()
        function = [CODE, None, None] if kind == "lambda" else "relu"
        settings = {"name": "lambda", "function": function, "function_type": kind, "module": "__main__"}
        config["config"]["layers"].insert(1, {"class_name": "Lambda", "config": settings})
        return clean.keras2_h5(folder / "model.h5", config)

    return build


def keras2_list_lambda(folder: Path) -> Path:
    """Keras 2.1 wrote the configuration of a Sequential as a bare list."""
    config = clean.keras2_config()
    function = {"name": "lambda", "function": [CODE, None, None], "function_type": "lambda"}
    config["config"] = [{"class_name": "Lambda", "config": function}, *config["config"]["layers"]]
    return clean.keras2_h5(folder / "model.h5", config)


add("h5_lambda", 8, h5_with(lambda_layer()), r"layers\[1\].*Lambda|Lambda.*layers\[1\]")
add("h5_lambda_nested", 8, h5_with(inside(2)), "Lambda")
add("h5_tfsm", 8, h5_with(_FOREIGN["tfsm_layer"]), "TFSMLayer")
add(
    "h5_string_lookup",
    8,
    h5_with(layer("StringLookup", "lookup", vocabulary="/no-such-file")),
    "StringLookup|vocabulary",
)
add("h5_lambda_as_loss", 8, h5_with(training={"loss": lambda_layer()}), "training_config|Lambda|loss", ANY)
add("h5_training_config_is_text", 8, h5_with(training="os"), "training_config", ANY)
add("keras2_h5_lambda", 8, keras2_lambda("lambda"), "Lambda")
add("keras2_h5_named_function", 8, keras2_lambda("function"), "Lambda")
add("keras2_h5_list_lambda", 8, keras2_list_lambda, "Lambda")
add("h5_deep", 8, h5_with(inside(40)), "Lambda|deep|nest", NOT_CLEAN)
