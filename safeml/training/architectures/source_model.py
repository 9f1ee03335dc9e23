"""A trained Keras model as the source of a transfer: found, scanned, tried in a child, opened from the scanned bytes."""

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
    """model: takes RGB in 0..1 at the size that was asked for. note: which one it is, for the manifest."""

    model: keras.Model
    note: str


def open_source(path: Path, shape: tuple[int, int, int], where: str) -> Opened:
    """The Keras model at `path`, whose input contract must be that of the images: RGB, 0..1, of `shape`.

    Raises InputRefused and StageError as `load_model` does; ConfigError where it is no Keras model, or takes other images.
    """
    opened = load_model(path)
    if opened.origin.scan.format not in (KERAS.name, HDF5.name):
        raise ConfigError(
            f"{where}: backbone.source is {path}, which is of the format {opened.origin.scan.format}; "
            "expected a Keras model (.keras or .h5), whose layers can be trained on."
        )
    # The classifier hides its layers, so the same bytes are opened once more: those of a second private copy.
    with scanned(path) as found:
        if found.copy is None or found.scan.sha256 != opened.origin.scan.sha256:
            raise InputRefused(f"{path}: changed while it was opened; run the command again.")
        model = _open(found.scan.format, found.copy, found.architecture, str(path))
    if model_fingerprint(model) != opened.model.fingerprint:
        raise InputRefused(f"{path}: loads as another model each time; expected one model.")
    check_contract(model, shape, f"{where}: backbone.source ({path})")
    known = "" if opened.origin.safeml_trained else "; that it takes RGB in 0..1 is taken for granted"
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
            f"the training images have {shape[0]}x{shape[1]}, so bring them to its size."
        )
    first = next((layer for layer in _leaves(model) if not isinstance(layer, keras.layers.InputLayer)), None)
    if first is not None and _takes_bytes(first):
        raise ConfigError(
            f'{who} takes pixels of 0..255, as its first layer "{first.name}" shows; '
            "expected one that takes 0..1, as models of `safeml train` do."
        )


def _leaves(model: Any) -> Any:
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from _leaves(layer)
        else:
            yield layer


def _takes_bytes(layer: Any) -> bool:
    """Whether `layer`, the first one, is there to bring pixels of 0..255 to a small range."""
    if isinstance(layer, keras.layers.Rescaling):
        return bool(np.max(np.abs(layer.scale)) < 0.1)
    if isinstance(layer, keras.layers.Normalization):
        return bool(np.max(np.abs(np.asarray(layer.mean))) > 1)
    return False
