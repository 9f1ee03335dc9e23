"""A trained Keras model as the source of a transfer: scanned, tried in a child, opened from the scanned bytes."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np

from safeml.classifiers import keras_files
from safeml.classifiers.fingerprint import model_fingerprint
from safeml.classifiers.load import load_model
from safeml.errors import ConfigError, InputRefused
from safeml.scan.formats import HDF5, KERAS
from safeml.scan.scan import scanned


class Opened(NamedTuple):
    """An opened source model.

    model: takes RGB in 0..1 at the requested size.
    note: its identity, for the manifest.
    """

    model: keras.Model
    note: str


def open_source(path: Path, shape: tuple[int, int, int], where: str) -> Opened:
    """Open the Keras model at `path`, whose input contract must be that of the images: RGB, 0..1, of `shape`.

    Raises InputRefused and StageError like `load_model`; ConfigError if it is not a Keras model, or takes other images.
    """
    opened = load_model(path)
    if opened.origin.scan.format not in (KERAS.name, HDF5.name):
        raise ConfigError(
            f"{where}: backbone.source is {path}, which has the format {opened.origin.scan.format}; "
            "expected a Keras model (.keras or .h5), whose layers can be trained."
        )
    # The classifier hides its layers, so a second private copy of the same bytes is opened.
    with scanned(path) as found:
        if found.copy is None or found.scan.sha256 != opened.origin.scan.sha256:
            raise InputRefused(f"{path}: changed during loading; run the command again.")
        model = _open(found.scan.format, found.copy, found.architecture, str(path))
    if model_fingerprint(model) != opened.model.fingerprint:
        raise InputRefused(
            f"{path}: loading it twice gave two different models; export it without random initialisation."
        )
    check_contract(model, shape, f"{where}: backbone.source ({path})")
    known = "" if opened.origin.safeml_trained else "; assumed to take RGB in 0..1"
    return Opened(model, f"{opened.source.file.name}, fingerprint {opened.model.fingerprint}{known}")


def _open(format_name: str, copy: Path, architecture: Path | None, where: str) -> Any:
    if format_name == KERAS.name:
        return keras_files.open_archive(copy, where)[0]
    if architecture is not None:
        return keras_files.load_weights(architecture, copy, where)[0]
    return keras_files.load_h5(copy, where)[0]


def check_contract(model: Any, shape: tuple[int, int, int], who: str) -> None:
    """Raise ConfigError unless `model` takes images of `shape` in RGB and, as far as its layers show it, in 0..1."""
    height, width, depth = (int(side) if side else None for side in model.inputs[0].shape[1:])
    if depth not in (None, shape[2]):
        raise ConfigError(f"{who} takes images of {depth} channels; the training images have {shape[2]}.")
    if height not in (None, shape[0]) or width not in (None, shape[1]):
        raise ConfigError(
            f"{who} takes images of {height or 'any'}x{width or 'any'} pixels (height x width); "
            f"the training images have {shape[0]}x{shape[1]}, so set size to that of the model."
        )
    first = next((layer for layer in _leaves(model) if not isinstance(layer, keras.layers.InputLayer)), None)
    if first is not None and _takes_bytes(first):
        raise ConfigError(
            f'{who} takes pixels of 0..255, as its first layer "{first.name}" shows; '
            "expected a model for 0..1, like those of `safeml train`."
        )


def _leaves(model: Any) -> Any:
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from _leaves(layer)
        else:
            yield layer


def _takes_bytes(layer: Any) -> bool:
    """Return whether the first layer `layer` rescales pixels of 0..255."""
    if isinstance(layer, keras.layers.Rescaling):
        return bool(np.max(np.abs(layer.scale)) < 0.1)
    if isinstance(layer, keras.layers.Normalization):
        return bool(np.max(np.abs(np.asarray(layer.mean))) > 1)
    return False
