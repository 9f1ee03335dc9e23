"""A network of `keras.applications` without its classifier, and its initial weights, random only on request."""

from __future__ import annotations

import difflib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np

from safeml.classifiers.keras_files import check_weights, load_weights
from safeml.config.recipe import BackboneSettings
from safeml.errors import ConfigError, InputRefused, StageError, first_line
from safeml.limits import LIMITS
from safeml.sandbox import run_limited
from safeml.scan.formats import HDF5
from safeml.scan.snapshot import Snapshot, snapshot
from safeml.training.architectures.preprocessing import TORCH_STD

FETCH_SECONDS = 600  # the largest usual file, 550 MB, at one megabyte per second


def application(
    name: str, settings: BackboneSettings, shape: tuple[int, int, int], base: Path, where: str
) -> keras.Model:
    """Build the network `name` for images of `shape` as Keras does, without preprocessing.

    where: the recipe, for messages.
    base: folder of a relative path of weights.
    Raises ConfigError if it does not support such images or this alpha; StageError if weights cannot be fetched; InputRefused
    if a file is refused by the scan, damaged, or of another network.
    """
    options: dict[str, Any] = {"input_shape": shape}
    if name.startswith("MobileNet"):
        options["alpha"] = settings.alpha
    elif settings.alpha != 1:
        raise ConfigError(f"{where}: backbone.alpha applies only to MobileNets, not to {name}; remove it.")
    built = _build(name, None, options, where)  # an invalid size or alpha is reported before any download
    if settings.weights == "imagenet":
        _fetch(name, options, where)
        return _build(name, "imagenet", options, where)
    if settings.weights != "none":
        built = with_weights(built, base / settings.weights, name, settings.weights, where)
        correct_normalization(built, name)
    return built


def _build(name: str, weights: str | None, options: dict[str, Any], where: str) -> keras.Model:
    try:
        return getattr(keras.applications, name)(include_top=False, weights=weights, **options)
    except ValueError as error:
        height, width, _ = options["input_shape"]
        raise ConfigError(
            f"{where}: {name} cannot be built for images of {height}x{width} pixels with these settings of [backbone]: "
            f"{first_line(error).rstrip('.')}."
        ) from error


def _fetch(name: str, options: dict[str, Any], where: str) -> None:
    """Fetch the weights into Keras' cache, or raise StageError within `FETCH_SECONDS`, without a network at once."""
    command = [
        sys.executable,
        "-P",
        "-m",
        "safeml.training.architectures.fetch_child",
        name,
        json.dumps(options),
    ]
    try:
        child = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=FETCH_SECONDS,
            check=False,
        )
        failure = child.stdout.strip()
        if child.returncode and not failure:
            failure = f"the process that fetches ended with {child.returncode}"
    except subprocess.TimeoutExpired:
        failure = f"the file did not arrive within {FETCH_SECONDS} seconds"
    if failure:
        raise StageError(
            f"{where}: the ImageNet weights of {name} cannot be fetched ({failure}); fetch the file elsewhere and set "
            'backbone.weights = "its path", or set "none" to start from random weights.'
        )


def with_weights(model: keras.Model, path: Path, name: str, given: str, where: str) -> keras.Model:
    """Load the weights in the HDF5 file at `path` into `model`, after a scan; layouts of Keras 2 and 3."""
    if not path.exists():
        near = difflib.get_close_matches(given, ["imagenet", "none"], n=1)
        hint = f'; did you mean "{near[0]}"?' if near else "."
        raise ConfigError(
            f'{where}: backbone.weights is "{given}", which does not exist; expected "imagenet", "none", '
            f"or the path of a .weights.h5 or .h5 file{hint}"
        )
    with snapshot(path) as copy:
        facts = _scan(copy, path)
        if facts.pop("format") != HDF5.name:
            raise ConfigError(
                f"{where}: backbone.weights names {path}, a whole model, not a weights file; set it as backbone.source."
            )
        # "count" of a Normalization layer and similar values are stored numbers too.
        wanted = {"arrays": len(model.weights), "stored numbers": int(model.count_params())}
        if any(facts[fact] != number for fact, number in wanted.items()):
            raise InputRefused(
                f"{path}: holds {facts['arrays']:,} arrays of {facts['stored numbers']:,} numbers; {name} without its classifier "
                f"has {wanted['arrays']:,} of {wanted['stored numbers']:,}, so set weights of that network (and alpha)."
            )
        architecture = copy.copy.with_name("architecture.json")
        architecture.write_text(model.to_json())
        loaded, _ = load_weights(architecture, copy.copy, str(path))
        check_weights(loaded, copy.copy, str(path))
    return loaded


def _scan(copy: Snapshot, path: Path) -> dict[str, Any]:
    """Return the result of the scan of the private copy of a weights file, which needs no architecture."""
    outcome = run_limited(
        "safeml.scan.scan:scan_copy",
        {"path": str(copy.copy), "architecture": ""},
        memory=LIMITS.scan_memory,
        seconds=LIMITS.scan_seconds + copy.bytes // LIMITS.scan_bytes_per_second,
        files=LIMITS.model_bytes,
        folders=(copy.copy.parent,),
    )
    if outcome.kind == "refused":
        raise InputRefused(f"{path}: {outcome.reason}.")
    if outcome.kind != "ok":
        raise StageError(f"{path}: could not be judged, so it is not loaded: {outcome.reason}.")
    return dict(outcome.value)


def correct_normalization(model: keras.Model, name: str) -> None:
    """Correct the "variance" of pixels in the published files of EfficientNet, which is their standard deviation.

    Keras compensates with another layer if it fetches the file itself; here the number is corrected.
    """
    if not name.startswith("EfficientNetB"):
        return
    layer = next(layer for layer in model.layers if isinstance(layer, keras.layers.Normalization))
    mean, variance, *others = layer.get_weights()
    if np.allclose(variance, TORCH_STD, atol=1e-3):
        layer.set_weights([mean, (variance * np.asarray(TORCH_STD, np.float32)), *others])
        layer.finalize_state()
