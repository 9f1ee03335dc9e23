"""From the private copy of a scanned file to a Keras 3 model: archives, HDF5 files of Keras 2 and 3, weights beside a JSON.

Nothing here opens what the user named: a path is of a copy in a private, writable folder, and `where` is the user's word for it
in messages. Keras is given safe mode, and whatever it raises is a property of the file.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import warnings
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np

from safeml.classifiers.head import NO_INPUT_SHAPE, causes
from safeml.classifiers.keras_legacy import is_old, modernise
from safeml.errors import ConfigError, InputRefused
from safeml.scan.base import Refused
from safeml.scan.keras_config import ALIASES, COMPILATION

KERAS_FLOOR = (3, 15, 1)  # the first release without the known ways around safe mode
Kind = Literal["model", "weights-legacy", "weights"]
Array = tuple[tuple[int, ...], str]  # the shape, and the sha256 of the little-endian bytes
BESIDE_THE_MODEL = ("optimizer", "metrics")  # beside the weights, where Keras 3 lays them out
# What weights are called in both generations; a depthwise kernel is called a kernel in some layers of Keras 3.
ROLES = frozenset({"kernel", "bias", "gamma", "beta", "moving_mean", "moving_variance", "pointwise_kernel"})
OF_KERAS_3 = {"Functional": "keras.src.models.functional", "Model": "keras.src.models.functional"}


def open_archive(path: Path, where: str) -> tuple[Any, tuple[str, ...]]:
    """The Keras model in the `.keras` archive at `path`, and what was repaired where Keras 2 wrote it.

    The file is left as it is. Raises InputRefused where Keras does not load it.
    """
    with zipfile.ZipFile(path) as archive:
        metadata = _decoded(archive.read("metadata.json").decode("utf-8", "replace"), where)
        text = archive.read("config.json").decode("utf-8", "replace")
        notes: tuple[str, ...] = ()
        if is_old(metadata.get("keras_version") if isinstance(metadata, dict) else None):
            renewed, notes = _renew(text, where)
        else:
            config = _decoded(text, where)
            renewed = for_prediction(config)
            if renewed == config:
                return _load_model(path, where), ()
        copy = path.with_name("renewed.keras")
        with zipfile.ZipFile(copy, "w") as out:
            out.writestr("config.json", json.dumps(renewed))
            out.writestr("metadata.json", json.dumps(metadata))
            with (
                archive.open("model.weights.h5") as source,
                out.open("model.weights.h5", "w", force_zip64=True) as target,
            ):
                shutil.copyfileobj(source, target)
    return _load_model(copy, where), notes


def load_h5(path: Path, where: str) -> tuple[Any, tuple[str, ...]]:
    """The Keras model in the HDF5 file at `path`, of Keras 2 or 3, and what was repaired in its configuration.

    The file is left as it is: a repaired configuration goes into another copy beside it.
    """
    import h5py

    with h5py.File(path, "r") as file:
        config, version = _text(file, "model_config"), _text(file, "keras_version")
        backend = _text(file, "backend")
    if config is None:
        raise InputRefused(
            f"{where}: holds weights alone; expected a whole model, or model.to_json() beside them as a .json file."
        )
    notes: tuple[str, ...] = ()
    if is_old(version):
        _check_origin(version, backend, where)
        renewed, notes = _renew(config, where)
    else:
        decoded = _decoded(config, where)
        _check_input_shape(decoded, where)
        renewed = for_prediction(decoded)
        if renewed == decoded:
            return _load_model(_named(path, where, ".h5"), where), ()
    copy = _copied(path, "renewed.h5", where)
    with h5py.File(copy, "r+") as file:
        del file.attrs["model_config"]
        file.attrs["model_config"] = json.dumps(renewed)
    return _load_model(copy, where), notes


def load_weights(architecture: Path, path: Path, where: str) -> tuple[Any, tuple[str, ...]]:
    """The Keras model of the JSON `architecture` with the weights in the HDF5 file at `path`, and the repairs.

    The weights are those of `save_weights` of Keras 3 or 2, or of a whole HDF5 model. Keras chooses its reader by the ending,
    so the copy that it gets is named by the content.
    """
    import h5py
    import keras

    kind = kind_by_content(path)
    with h5py.File(path, "r") as file:
        group = file["model_weights"] if kind == "model" and "model_weights" in file else file
        version, backend = _text(group, "keras_version"), _text(group, "backend")
    text = architecture.read_bytes().decode("utf-8", "replace")
    config = _decoded(text, where)
    notes: tuple[str, ...] = ()
    _check_origin(version, backend, where)
    if not isinstance(config, dict) or "module" not in config:
        config, notes = _renew(text, where)
        home = OF_KERAS_3.get(str(config.get("class_name")), "keras")
        config = {"registered_name": None, **config, "module": home}
    _check_floor()
    needed = for_prediction(config)
    model = _guarded(lambda: keras.models.model_from_json(json.dumps(needed)), where)
    copy = _named(path, where, ".weights.h5" if kind == "weights" else ".h5")
    _guarded(lambda: model.load_weights(copy), where)
    return model, notes


def _check_input_shape(config: Any, where: str) -> None:
    """Raise InputRefused where a Sequential of Keras 3 was saved before its first call: Keras builds none of its layers."""
    inner = config.get("config") if isinstance(config, dict) else None
    if (
        not isinstance(inner, dict)
        or config.get("class_name") != "Sequential"
        or inner.get("build_input_shape")
    ):
        return
    layers = inner.get("layers") or [{}]
    first = layers[0] if isinstance(layers[0], dict) else {}
    settings = first.get("config")
    if first.get("class_name") == "InputLayer" or (
        isinstance(settings, dict) and settings.get("batch_shape")
    ):
        return
    if first.get("class_name") not in ("Sequential", "Functional", "Model"):
        raise InputRefused(f"{where}: {NO_INPUT_SHAPE}")


def for_prediction(value: Any) -> Any:
    """A decoded configuration without compilations, at every depth, and with activations under Keras's own names.

    Keras builds the compilation of a nested model even where it is told `compile=False`.
    """
    if isinstance(value, list):
        return [for_prediction(inner) for inner in value]
    if not isinstance(value, dict):
        return value
    if value.get("class_name") == "function" and value.get("config") in ALIASES:
        return {**value, "config": ALIASES[value["config"]]}
    return {key: for_prediction(inner) for key, inner in value.items() if key != COMPILATION}


def check_weights(model: Any, path: Path, where: str) -> None:
    """Raise InputRefused unless the weights of the loaded `model` are the arrays of the HDF5 file at `path`, each once.

    Numbers are compared as float32 or int64, whichever type stores them. Where the file names its weights (the layout of
    Keras 2), each layer is also compared by name: its loader goes by order, and arrays of one shape could change places.
    """
    import h5py

    with h5py.File(path, "r") as file:
        root = file.get("model_weights", file)
        layers = _named_arrays(root)
        stored: list[Array] = []

        def visit(name: str, thing: Any) -> None:
            parts = name.split("/")
            # A nested model that was compiled has its optimizer beside its layers.
            beside = not layers and bool(set(BESIDE_THE_MODEL) & set(parts))
            beside = beside or any(part.startswith("seed_generator") for part in parts)
            if isinstance(thing, h5py.Dataset) and not beside:
                stored.append(_array(thing[()]))

        root.visititems(visit)
    loaded = [_array(weight.numpy()) for weight in model.weights]
    again = "save the model again, whole, with the Keras that made it"
    if len(stored) != len(loaded):
        raise InputRefused(
            f"{where}: the file holds {len(stored)} arrays, the loaded model {len(loaded)}; {again}."
        )
    left = Counter(stored) - Counter(loaded)
    if left:
        shapes = ", ".join(str(list(shape)) for shape, _ in list(left)[:3])
        raise InputRefused(
            f"{where}: {left.total()} of the {len(stored)} arrays of the file (of shape {shapes}) are not in the loaded model; {again}."
        )
    for layer in model.layers:
        if layer.name in layers and not _same_roles(layers[layer.name], layer.weights):
            raise InputRefused(
                f"{where}: the weights of the layer {layer.name} change places when Keras 3 loads them; {again}."
            )


def _array(values: Any) -> Array:
    kept = np.ascontiguousarray(values, "<f4" if np.asarray(values).dtype.kind == "f" else "<i8")
    return np.shape(values), hashlib.sha256(kept.tobytes()).hexdigest()


def _named_arrays(group: Any) -> dict[str, list[tuple[str, Array]]]:
    """The arrays of each layer with their names, where the layout of Keras 2 gives them; slashes as `modernise` writes them."""
    layers = {}
    for layer in _names(group, "layer_names"):
        names = _names(group[layer], "weight_names")
        arrays = [(name.split("/")[-1].split(":")[0], _array(group[layer][name][()])) for name in names]
        layers[layer.replace("/", "_")] = arrays
    return layers


def _names(group: Any, attribute: str) -> list[str]:
    """A list of names, which Keras cuts into numbered attributes where it is long."""
    parts = [attribute] if attribute in group.attrs else []
    number = 0
    while f"{attribute}{number}" in group.attrs:
        parts.append(f"{attribute}{number}")
        number += 1
    found = [name for part in parts for name in group.attrs[part]]
    return [name.decode() if isinstance(name, bytes) else str(name) for name in found]


def _same_roles(stored: list[tuple[str, Array]], weights: list[Any]) -> bool:
    named = [(_role(name), array) for name, array in stored]
    if not {role for role, _ in named} <= ROLES:
        return True  # names of other layers, which differ between the generations
    return Counter(named) == Counter((_role(weight.name), _array(weight.numpy())) for weight in weights)


def _role(name: str) -> str:
    return "kernel" if name == "depthwise_kernel" else name


def kind_by_content(path: Path) -> Kind:
    """What the HDF5 file at `path` holds: a whole model, weights as Keras 2 wrote them, or weights as Keras 3 writes them."""
    import h5py

    with h5py.File(path, "r") as file:
        if "model_config" in file.attrs:
            return "model"
        # Keras cuts a long list of names into layer_names0, layer_names1, ...
        return "weights-legacy" if {"layer_names", "layer_names0"} & set(file.attrs) else "weights"


def _load_model(path: Path, where: str) -> Any:
    import keras

    import safeml.int8.layers  # noqa: F401  # registers the layers that the scan allows

    _check_floor()
    return _guarded(lambda: keras.models.load_model(path, compile=False, safe_mode=True), where)


def _guarded(load: Callable[[], Any], where: str) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # advice to authors of models
            return load()
    except MemoryError:
        raise
    except Exception as error:  # any failure of the loader is a property of the file
        if type(error).__name__ == "ResourceExhaustedError":  # of TensorFlow, for want of memory
            raise MemoryError from error
        raise InputRefused(f"{where}: Keras does not load it in safe mode: {causes(error)}") from error


def _check_floor() -> None:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    import keras

    version = tuple(int(part) for part in keras.__version__.split(".")[:3])
    if version < KERAS_FLOOR:
        floor = ".".join(map(str, KERAS_FLOOR))
        raise ConfigError(
            f"keras {keras.__version__} is installed; loading model files needs {floor} or later."
        )


def _check_origin(version: str | None, backend: str | None, where: str) -> None:
    """Keras 3 reads these as if they were its own, and would compute something else."""
    if backend == "theano":
        raise InputRefused(
            f"{where}: was saved with the Theano backend, whose convolutions turn their kernels; "
            "convert it with the Keras 2 that made it."
        )
    if version is not None and version.split(".", 1)[0] in ("0", "1"):
        raise InputRefused(
            f"{where}: was saved by Keras {version[:20]}; load and save it once with Keras 2, then give that file."
        )


def _renew(text: str, where: str) -> tuple[dict[str, Any], tuple[str, ...]]:
    config = _decoded(text, where)
    if not isinstance(config, dict):
        raise InputRefused(f"{where}: its configuration is no JSON object; expected what Keras writes.")
    try:
        renewed, notes = modernise(config)
        return for_prediction(renewed), notes
    except Refused as refusal:
        raise InputRefused(f"{where}: {refusal}.") from refusal
    except (KeyError, TypeError, IndexError, AttributeError) as error:
        raise InputRefused(
            f"{where}: its configuration is not of the shape that Keras 2 wrote ({type(error).__name__}); save the model again."
        ) from error


def _decoded(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputRefused(f"{where}: its configuration is not valid JSON; save the model again.") from error


def _text(thing: Any, name: str) -> str | None:
    value = thing.attrs.get(name)
    if isinstance(value, np.ndarray) and value.size == 1:
        value = value.item()
    text = value.decode("utf-8", "replace") if isinstance(value, bytes) else value
    return text if isinstance(text, str) else None


def _named(path: Path, where: str, ending: str) -> Path:
    """`path`, or a copy beside it with the ending that Keras goes by: `.h5`, and not `.weights.h5`, is the layout of Keras 2."""
    is_weights = path.name.endswith(".weights.h5")
    if path.suffix in (".h5", ".hdf5") and is_weights == (ending == ".weights.h5"):
        return path
    return _copied(path, f"kept{ending}", where)


def _copied(path: Path, name: str, where: str) -> Path:
    target = path.with_name(name)
    try:
        shutil.copyfile(path, target)
    except OSError as error:
        raise InputRefused(
            f"{where}: cannot be copied to be opened ({error.strerror}); free some space in the temporary folder."
        ) from error
    return target
