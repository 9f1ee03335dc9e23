"""Configurations that Keras 2 wrote, in the shape that Keras 3 reads. No framework: dictionaries in, dictionaries out.

Keras 3 reads most of them as they are. What follows was found by experiment with tf_keras 2.21 and Keras 3.15.1: each repair
says the same thing in the new words and changes no arithmetic. What is not known here is left alone, and Keras refuses it.
Where Keras 3 would load a layer and compute something else, the file is refused.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from safeml.scan.base import Refused

# Settings that Keras 3 does not have, and the values of them that say what Keras 3 does anyway. An empty tuple: whatever they
# say is used by no prediction.
_GROUPS = {"groups": (1,)}
_RECURRENT = {"time_major": (False,)}
_RANDOM: dict[str, tuple[Any, ...]] = {"rng_type": ()}
_UNUSED: dict[str, tuple[Any, ...]] = {
    "kernel_initializer": (),
    "kernel_regularizer": (),
    "kernel_constraint": (),
}
DROPPED: dict[str, dict[str, tuple[Any, ...]]] = {
    "DepthwiseConv1D": _GROUPS | _UNUSED,
    "DepthwiseConv2D": _GROUPS | _UNUSED,
    "SeparableConv1D": _GROUPS | _UNUSED,
    "SeparableConv2D": _GROUPS | _UNUSED,
    "Conv1DTranspose": _GROUPS,
    "Conv2DTranspose": _GROUPS,
    "Conv3DTranspose": _GROUPS,
    "GRU": _RECURRENT,
    "LSTM": _RECURRENT,
    "SimpleRNN": _RECURRENT,
    "RNN": _RECURRENT,
    "RandomFlip": _RANDOM,
    "RandomRotation": _RANDOM,
    "RandomZoom": _RANDOM,
    "RandomTranslation": _RANDOM,
    "RandomContrast": _RANDOM,
    "RandomBrightness": _RANDOM,
    "RandomCrop": _RANDOM,
}
# Where Keras 2 kept the classes of models, under the three names that its package had.
_OLD_HOMES = {
    f"{package}.engine.{module}": f"keras.src.models.{home}"
    for package in ("keras", "keras.src", "tf_keras.src")
    for module, home in (("functional", "functional"), ("sequential", "sequential"), ("training", "model"))
}
_UNNAMED = "a Sequential, before Keras 2.2 a bare list of layers, was given a name"
_MODELS = ("Sequential", "Functional", "Model")


def is_old(version: object) -> bool:
    """Whether a `keras_version` as stored, text or bytes, is of Keras 2, or absent, as in files that no later Keras wrote."""
    text = version.decode("utf-8", "replace") if isinstance(version, bytes) else version
    major = text.split(".", 1)[0] if isinstance(text, str) else ""
    return not (major.isascii() and major.isdigit() and int(major) >= 3)


def modernise(config: dict[str, Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The model configuration `config` (decoded JSON of Keras 2) as Keras 3 loads it, and one note a repair, for the report.

    `config` itself is left as it is. Nesting is bounded by the scan, which has seen it before.

    Raises:
        Refused: a layer would load and compute something else than it did in Keras 2.
    """
    notes: Counter[str] = Counter()
    renewed = _walk(config, notes)
    return renewed, tuple(note if count == 1 else f"{note} ({count} layers)" for note, count in notes.items())


def _walk(value: Any, notes: Counter[str]) -> Any:
    if isinstance(value, list):
        return [_walk(inner, notes) for inner in value]
    if not isinstance(value, dict):
        return value
    renewed = {key: _walk(inner, notes) for key, inner in value.items()}
    kind, config = renewed.get("class_name"), renewed.get("config")
    if not isinstance(kind, str):
        return renewed
    if kind == "Sequential" and isinstance(config, list):
        notes[_UNNAMED] += 1
        renewed["config"] = config = {
            "name": renewed.get("name", f"sequential_{notes[_UNNAMED]}"),
            "layers": config,
        }
    if renewed.get("module") in _OLD_HOMES:
        renewed["module"] = _OLD_HOMES[renewed["module"]]
    if isinstance(config, dict):
        for repair in _REPAIRS:
            repair(kind, config, notes)
    return renewed


def _drop(kind: str, config: dict[str, Any], notes: Counter[str]) -> None:
    for key, neutral in DROPPED.get(kind, {}).items():
        if key in config and (not neutral or config[key] in neutral):
            del config[key]
            if neutral:
                notes[
                    f"{key}, which Keras 3 does not have in {kind}, was at its neutral value and was left out"
                ] += 1


def _axis(kind: str, config: dict[str, Any], notes: Counter[str]) -> None:
    axis = config.get("axis")
    if kind == "BatchNormalization" and isinstance(axis, list) and len(axis) == 1:
        config["axis"] = axis[0]
        notes["the axis of BatchNormalization, a list of one in Keras 2, was written as a number"] += 1


def _dtype(kind: str, config: dict[str, Any], notes: Counter[str]) -> None:
    policy = config.get("dtype")
    if isinstance(policy, dict) and policy.get("class_name") == "Policy":
        name = policy.get("config", {}).get("name") if isinstance(policy.get("config"), dict) else None
        if isinstance(name, str):
            config["dtype"] = name
            notes[f'the dtype policy "{name}" was written by its name'] += 1


def _initializers(kind: str, config: dict[str, Any], notes: Counter[str]) -> None:
    """Initializers of tf.keras 1.13 to 2.0 have a dtype, which those of Keras 3 refuse. Loaded weights replace what they draw."""
    for key, value in config.items():
        inner = value.get("config") if isinstance(value, dict) and key.endswith("initializer") else None
        if isinstance(inner, dict) and "dtype" in inner:
            del inner["dtype"]
            notes["the dtype of initializers, which Keras 3 does not have, was left out"] += 1


def _wrapped(kind: str, config: dict[str, Any], notes: Counter[str]) -> None:
    """The layer inside a wrapper is looked up by its module, which Keras 2 did not always write."""
    for key in ("layer", "backward_layer", "cell"):
        inner = config.get(key)
        if isinstance(inner, dict) and isinstance(inner.get("class_name"), str) and "module" not in inner:
            inner["module"] = "keras" if inner["class_name"] in _MODELS else "keras.layers"
            notes[f"the layer inside {kind} was written with its module"] += 1


def _input(kind: str, config: dict[str, Any], notes: Counter[str]) -> None:
    """Only an InputLayer says what goes in. A Sequential of Keras 2 may say it in its first layer, or by a model in its place."""
    layers = config.get("layers")
    if kind not in _MODELS or not isinstance(layers, list) or not layers:
        return
    shape, dtype = _input_of(layers[0])
    for layer in layers:
        if layer["class_name"] != "InputLayer":
            layer["config"].pop("batch_input_shape", None)
    if kind != "Sequential" or shape is None or layers[0]["class_name"] == "InputLayer":
        return
    taken = {_name(layer) for layer in layers}
    name = f"{_name(layers[0])}_input"
    while name in taken:
        name += "_"
    layers.insert(
        0, {"class_name": "InputLayer", "config": {"batch_shape": shape, "dtype": dtype, "name": name}}
    )
    notes[
        "the input shape of a Sequential, which stood in its first layer, was moved into an InputLayer"
    ] += 1


def _input_of(layer: Any) -> tuple[list[Any] | None, str]:
    """The batch shape and dtype that a layer of a Sequential takes, or None where it does not say."""
    config = layer.get("config") if isinstance(layer, dict) else None
    if not isinstance(config, dict):
        return None, "float32"
    shape = config.get("batch_input_shape", config.get("batch_shape"))
    if isinstance(shape, list):
        dtype = config.get("dtype")
        # A layer of mixed precision takes float32 images and casts them itself.
        return shape, dtype if isinstance(dtype, str) and not dtype.startswith("mixed") else "float32"
    if layer.get("class_name") in _MODELS and isinstance(config.get("layers"), list) and config["layers"]:
        return _input_of(config["layers"][0])
    return None, "float32"


def _names(kind: str, config: dict[str, Any], notes: Counter[str]) -> None:
    """Keras 3 takes no slash in a layer's name. Weights find their layers by order, so a name may change."""
    layers = config.get("layers")
    if kind not in _MODELS or not isinstance(layers, list):
        return
    taken = {_name(layer) for layer in layers}
    new: dict[str, str] = {}
    for old in sorted(name for name in taken if "/" in name):
        new[old] = old.replace("/", "_")
        while new[old] in taken:
            new[old] += "_"
        taken.add(new[old])
    if not new:
        return
    notes["slashes in the names of layers were written as underscores"] += len(new)
    for layer in layers:
        if _name(layer) in new:
            layer["config"]["name"] = new[_name(layer)]
        if layer.get("name") in new:
            layer["name"] = new[layer["name"]]
    for call in _calls(config):
        call[0] = new.get(call[0], call[0])


def _graph(kind: str, config: dict[str, Any], notes: Counter[str]) -> None:
    """The calls in a functional model: [layer, number of its call, number of its output, ...], in Keras 3's numbering.

    Keras 2 counts a nested model's own making as its call 0; Keras 3 does so for the outputs of a model alone, and there not
    for a nested Sequential. It also takes a list of one output for a list, and a layer after it then fails.
    """
    layers = config.get("layers")
    if kind not in ("Functional", "Model") or not isinstance(layers, list):
        return
    nested = {_name(layer): layer for layer in layers if layer.get("class_name") in _MODELS}
    calls = [call for call in _calls({"layers": layers}) if call[0] in nested]
    shifted = {call[0] for call in calls if call[1] == len(nested[call[0]].get("inbound_nodes", []))}
    for call in calls:
        call[1] -= call[0] in shifted
    for end in ("input_layers", "output_layers"):
        for call in _leaves(config.get(end)):
            sequential = call[0] in nested and nested[call[0]].get("class_name") == "Sequential"
            call[1] -= sequential and call[1] == len(nested[call[0]].get("inbound_nodes", []))
        if isinstance(config.get(end), list) and len(config[end]) == 1 and isinstance(config[end][0], list):
            config[end] = config[end][0]


def _calls(config: dict[str, Any]) -> list[list[Any]]:
    """Every reference to a layer's call in the configuration of a functional model, as Keras 2 writes it."""
    found = _leaves(config.get("input_layers")) + _leaves(config.get("output_layers"))
    for layer in config["layers"]:
        found += _leaves(layer.get("inbound_nodes"))
    return found


def _leaves(value: Any) -> list[list[Any]]:
    if isinstance(value, dict):
        value = list(value.values())
    if not isinstance(value, list):
        return []
    if len(value) >= 3 and isinstance(value[0], str) and isinstance(value[1], int):
        return [value]
    return [leaf for inner in value for leaf in _leaves(inner)]


def _name(layer: dict[str, Any]) -> str:
    config = layer.get("config")
    name = config.get("name") if isinstance(config, dict) else layer.get("name")
    return name if isinstance(name, str) else ""


def _same_arithmetic(kind: str, config: dict[str, Any], notes: Counter[str]) -> None:
    for key, value in config.items():
        function = value.get("config") if isinstance(value, dict) else value
        if key.endswith("activation") and function == "hard_sigmoid":
            raise Refused(
                f"the {kind} {config.get('name', '')} uses hard_sigmoid, which is 0.2 x + 0.5 in Keras 2 and x / 6 + 0.5 in "
                "Keras 3; convert the model to ONNX or a SavedModel with the Keras that made it"
            )


_REPAIRS: tuple[Callable[[str, dict[str, Any], Counter[str]], None], ...] = (
    _same_arithmetic,
    _drop,
    _axis,
    _dtype,
    _initializers,
    _wrapped,
    _input,
    _names,
    _graph,
)
