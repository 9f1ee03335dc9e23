"""A scanned private copy becomes a model in memory: the right loader for each format."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from safeml.classifiers.base import Model


def open_copy(format_name: str, path: Path, architecture: Path | None, where: str) -> Model:
    """The model in the private copy at `path`, of a format that the scan named.

    Raises InputRefused where it does not load, or is no image classifier.
    """
    if format_name == "ONNX file":
        from safeml.classifiers.onnx import load_onnx

        return load_onnx(path, where)
    if format_name == "SavedModel folder":
        from safeml.classifiers.saved_model import load_saved_model

        return load_saved_model(path, where)
    from safeml.classifiers import keras_files
    from safeml.classifiers.keras import from_keras

    notes: tuple[str, ...] = ()
    if format_name == "Keras archive":
        model, notes = keras_files.open_archive(path, where)
        weights = path.with_name("model.weights.h5")
    elif architecture is not None:
        model, notes = keras_files.load_weights(architecture, path, where)
        weights = path
    else:
        model, notes = keras_files.load_h5(path, where)
        weights = path
    keras_files.check_weights(model, weights, where)
    return from_keras(model, where, notes)


def describe(model: Model) -> dict[str, Any]:
    """What two loads of the same bytes have in common, JSON-able."""
    return {
        "fingerprint": model.fingerprint,
        "parameters": model.parameters,
        "outputs": model.outputs,
        "input_shape": list(model.input_shape),
        "gives": model.gives,
    }
