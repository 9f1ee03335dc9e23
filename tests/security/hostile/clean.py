"""Small clean models, written without any framework: the layout that Keras 3.15.1 (and Keras 2.3) gives a file.

The model is Flatten, Dense(16, relu), Dense(4) on images of 8 x 8 x 3; a slow test loads each with Keras. Every hostile
sample is one of these with one thing wrong.
"""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np

Config = dict[str, Any]

METADATA = {"keras_version": "3.15.1", "date_saved": "2026-01-01@00:00:00"}
WIDTHS = {"dense": (192, 16), "logits": (16, 4)}


def weights() -> dict[str, list[np.ndarray]]:
    """Kernel and bias, float32, of each Dense layer."""
    random = np.random.default_rng(0)
    return {
        name: [
            random.normal(0, 0.1, shape).astype("float32"),
            random.normal(0, 0.1, shape[1]).astype("float32"),
        ]
        for name, shape in WIDTHS.items()
    }


def named(module: str, class_name: str, config: object = None, **more: object) -> Config:
    """An object as Keras 3 writes it down."""
    value = {} if config is None else config
    return {"module": module, "class_name": class_name, "config": value, "registered_name": None, **more}


def layer(class_name: str, name: str, **settings: object) -> Config:
    """A layer of keras.layers with the settings that all layers have."""
    policy = named("keras", "DTypePolicy", {"name": "float32"})
    return named("keras.layers", class_name, {"name": name, "trainable": True, "dtype": policy, **settings})


def image_input(name: str = "input_layer", shape: list[int | None] | None = None) -> Config:
    return named(
        "keras.layers",
        "InputLayer",
        {
            "batch_shape": [None, *(shape or [8, 8, 3])],
            "dtype": "float32",
            "sparse": False,
            "ragged": False,
            "name": name,
            "optional": False,
        },
    )


def dense(name: str, units: int = 4, activation: object = "linear", **settings: object) -> Config:
    seeds = {"seed": None, "input_axes": None, "output_axes": None}
    return layer(
        "Dense",
        name,
        **{
            "units": units,
            "activation": activation,
            "use_bias": True,
            "kernel_initializer": named("keras.initializers", "GlorotUniform", seeds),
            "bias_initializer": named("keras.initializers", "Zeros"),
            "kernel_regularizer": None,
            "bias_regularizer": None,
            "kernel_constraint": None,
            "bias_constraint": None,
            "quantization_config": None,
            **settings,
        },
    )


def sequential(layers: list[Config], name: str = "clean") -> Config:
    policy = named("keras", "DTypePolicy", {"name": "float32"})
    shape = [None, 8, 8, 3]
    inner = {"name": name, "trainable": True, "dtype": policy, "layers": layers, "build_input_shape": shape}
    return named("keras", "Sequential", inner, build_config={"input_shape": shape}, compile_config={})


def built(value: Config, shape: list[int | None]) -> Config:
    """A layer with the shape that it was built for."""
    return {**value, "build_config": {"input_shape": shape}}


def clean_layers() -> list[Config]:
    return [
        image_input(),
        built(layer("Flatten", "flatten", data_format="channels_last"), [None, 8, 8, 3]),
        built(dense("dense", 16, "relu"), [None, 192]),
        built(dense("logits", 4), [None, 16]),
    ]


def clean_config() -> Config:
    return sequential(clean_layers())


def tensor(source: str, shape: list[int | None]) -> Config:
    """The output of a layer, as the argument of another in a functional model."""
    history = {"shape": [None, *shape], "dtype": "float32", "keras_history": [source, 0, 0]}
    return {"class_name": "__keras_tensor__", "config": history}


def node(value: Config, *sources: Config, **kwargs: object) -> Config:
    """`value` as a layer of a functional model, called on `sources`."""
    arguments = [list(sources)] if len(sources) > 1 else list(sources)
    calls = [{"args": arguments, "kwargs": kwargs}] if sources else []
    return {**value, "name": value["config"]["name"], "inbound_nodes": calls}


def functional(layers: list[Config], inputs: list[Any], outputs: list[Any], name: str = "branches") -> Config:
    inner = {
        "name": name,
        "trainable": True,
        "layers": layers,
        "input_layers": inputs,
        "output_layers": outputs,
    }
    config = named("keras.src.models.functional", "Functional", inner, compile_config={})
    return {**config, "registered_name": "Functional", "build_config": {"input_shape": None}}


def functional_layers() -> list[Config]:
    return [
        node(image_input()),
        node(layer("Flatten", "flatten", data_format="channels_last"), tensor("input_layer", [8, 8, 3])),
        node(dense("dense", 16, "relu"), tensor("flatten", [192])),
        node(dense("logits", 4), tensor("dense", [16])),
    ]


def functional_config() -> Config:
    return functional(functional_layers(), ["input_layer", 0, 0], ["logits", 0, 0])


def weights_h5(values: dict[str, list[np.ndarray]] | None = None) -> bytes:
    """The model.weights.h5 of a .keras archive: groups by class name, `name` as an attribute, arrays 0, 1, ..."""
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        file.create_group("layers/flatten/vars").attrs["name"] = "flatten"
        for index, (name, arrays) in enumerate((values or weights()).items()):
            group = file.create_group(f"layers/dense_{index}/vars" if index else "layers/dense/vars")
            group.attrs["name"] = name
            for number, array in enumerate(arrays):
                group[str(number)] = array
        file.create_group("vars").attrs["name"] = "clean"
    return buffer.getvalue()


def members(
    config: Config | bytes | None = None, metadata: bytes | None = None, arrays: bytes | None = None
) -> dict[str, bytes]:
    """The three members of a .keras archive; what is not given is clean."""
    if config is None:
        config = clean_config()
    return {
        "metadata.json": json.dumps(METADATA).encode() if metadata is None else metadata,
        "config.json": config if isinstance(config, bytes) else json.dumps(config).encode(),
        "model.weights.h5": weights_h5() if arrays is None else arrays,
    }


def keras_file(
    path: Path,
    config: Config | bytes | None = None,
    metadata: bytes | None = None,
    arrays: bytes | None = None,
) -> Path:
    """Write a .keras archive, stored without compression as Keras does."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members(config, metadata, arrays).items():
            archive.writestr(zipfile.ZipInfo(name), content)
    return path


def keras3_h5(path: Path, config: Config | bytes | None = None) -> Path:
    """Write the legacy HDF5 file that Keras 3 still writes for an .h5 name: model_config beside model_weights."""
    if not isinstance(config, bytes):
        config = json.dumps(config or bare(clean_config())).encode()
    with h5py.File(path, "w") as file:
        file.attrs.update(
            {"backend": "tensorflow", "keras_version": "3.15.1", "model_config": config.decode()}
        )
        top = file.create_group("model_weights")
        top.attrs.update({"backend": "tensorflow", "keras_version": "3.15.1"})
        top.attrs["layer_names"] = np.array(["flatten", *WIDTHS], dtype=h5py.string_dtype())
        for name in ("flatten", "top_level_model_weights"):
            top.create_group(name).attrs["weight_names"] = np.array([])
        for name, (kernel, bias) in weights().items():
            paths = [f"clean/{name}/kernel", f"clean/{name}/bias"]
            group = top.create_group(name)
            group.attrs["weight_names"] = np.array(paths, dtype=h5py.string_dtype())
            group[paths[0]], group[paths[1]] = kernel, bias
    return path


def bare(config: Config) -> Config:
    """The model's configuration as it stands in an .h5 file: class_name and config only, here and in each layer."""
    inner = dict(config["config"])
    inner["layers"] = [{"class_name": one["class_name"], "config": one["config"]} for one in inner["layers"]]
    return {"class_name": config["class_name"], "config": inner}


def keras2_config() -> Config:
    """The configuration of the same model as Keras 2.3 wrote it: no InputLayer, batch_input_shape on the first layer."""
    glorot = {
        "class_name": "VarianceScaling",
        "config": {"scale": 1.0, "mode": "fan_avg", "distribution": "uniform", "seed": None},
    }
    common = {
        "use_bias": True,
        "kernel_initializer": glorot,
        "bias_initializer": {"class_name": "Zeros", "config": {}},
        **dict.fromkeys(("kernel_regularizer", "bias_regularizer", "activity_regularizer")),
        **dict.fromkeys(("kernel_constraint", "bias_constraint")),
    }
    flatten = {"batch_input_shape": [None, 8, 8, 3], "data_format": "channels_last"}
    settings: list[tuple[str, str, Config]] = [
        ("Flatten", "flatten", flatten),
        ("Dense", "dense", {"units": 16, "activation": "relu", **common}),
        ("Dense", "logits", {"units": 4, "activation": "linear", **common}),
    ]
    layers = [
        {"class_name": kind, "config": {"name": name, "trainable": True, "dtype": "float32", **config}}
        for kind, name, config in settings
    ]
    return {"class_name": "Sequential", "config": {"name": "clean", "layers": layers}}


def keras2_h5(path: Path, config: Config | None = None) -> Path:
    """Write the HDF5 file of Keras 2.3: attributes are bytes of fixed length, weights are called dense/kernel:0."""
    with h5py.File(path, "w") as file:
        file.attrs["backend"], file.attrs["keras_version"] = np.bytes_(b"tensorflow"), np.bytes_(b"2.3.1")
        file.attrs["model_config"] = np.bytes_(json.dumps(config or keras2_config()).encode())
        top = file.create_group("model_weights")
        top.attrs["backend"], top.attrs["keras_version"] = np.bytes_(b"tensorflow"), np.bytes_(b"2.3.1")
        top.attrs["layer_names"] = np.array([b"flatten", b"dense", b"logits"])
        top.create_group("flatten").attrs["weight_names"] = np.array([])
        for name, (kernel, bias) in weights().items():
            group = top.create_group(name)
            group.attrs["weight_names"] = np.array([f"{name}/kernel:0".encode(), f"{name}/bias:0".encode()])
            group[f"{name}/kernel:0"], group[f"{name}/bias:0"] = kernel, bias
    return path
