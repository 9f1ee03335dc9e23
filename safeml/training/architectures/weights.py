"""A network of `keras.applications` without its classifier, and the weights it starts from. Nothing is random unasked."""

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

FETCH_SECONDS = 600  # 550 MB, the largest but the rarest, at a megabyte a second


def application(
    name: str, settings: BackboneSettings, shape: tuple[int, int, int], base: Path, where: str
) -> keras.Model:
    """The network called `name` for images of `shape`, as Keras builds it: it takes its own convention of pixels.

    where: the recipe, for messages. base: the folder that a relative path of weights starts from.
    Raises ConfigError where it does not take such images or has no such alpha; StageError where weights cannot be fetched;
    InputRefused where a file is refused by the scan, damaged, or of another network.
    """
    options: dict[str, Any] = {"input_shape": shape}
    if name.startswith("MobileNet"):
        options["alpha"] = settings.alpha
    elif settings.alpha != 1:
        raise ConfigError(f"{where}: backbone.alpha is for the MobileNets, and {name} is none; leave it out.")
    built = _build(
        name, None, options, where
    )  # a size or an alpha that does not go is said before anything is fetched
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
    """Have the file of weights in Keras' cache, or raise StageError within `FETCH_SECONDS`; without a network, at once."""
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
            f"{where}: the ImageNet weights of {name} cannot be fetched ({failure}); fetch that file elsewhere and set "
            'backbone.weights = "its path", or set "none" to start from random weights.'
        )


def with_weights(model: keras.Model, path: Path, name: str, given: str, where: str) -> keras.Model:
    """`model` with the weights in the HDF5 file at `path`, scanned first; a layout of Keras 2 or 3."""
    if not path.exists():
        near = difflib.get_close_matches(given, ["imagenet", "none"], n=1)
        hint = f'; did you mean "{near[0]}"?' if near else "."
        raise ConfigError(
            f'{where}: backbone.weights is "{given}", and there is no such file; expected "imagenet", "none", '
            f"or the path of a .weights.h5 or .h5 file{hint}"
        )
    with snapshot(path) as copy:
        facts = _scan(copy, path)
        if facts.pop("format") != HDF5.name:
            raise ConfigError(
                f"{where}: backbone.weights names {path}, a whole model and no file of weights; name it as backbone.source."
            )
        # "count" of a Normalization layer and the like are numbers as well, and are stored as such.
        wanted = {"arrays": len(model.weights), "stored numbers": int(model.count_params())}
        if any(facts[fact] != number for fact, number in wanted.items()):
            raise InputRefused(
                f"{path}: holds {facts['arrays']:,} arrays of {facts['stored numbers']:,} numbers; {name} without its classifier "
                f"has {wanted['arrays']:,} of {wanted['stored numbers']:,}, so give weights of that network (and alpha)."
            )
        architecture = copy.copy.with_name("architecture.json")
        architecture.write_text(model.to_json())
        loaded, _ = load_weights(architecture, copy.copy, str(path))
        check_weights(loaded, copy.copy, str(path))
    return loaded


def _scan(copy: Snapshot, path: Path) -> dict[str, Any]:
    """What the scan of the private copy found. Weights alone are what is wanted, so no architecture is asked for."""
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
        raise StageError(f"{path}: is not known to be safe, so it is not loaded: {outcome.reason}.")
    return dict(outcome.value)


def correct_normalization(model: keras.Model, name: str) -> None:
    """In the published files of EfficientNet the "variance" of pixels is their standard deviation.

    Keras makes up for it by one more layer, where it fetches the file itself; here the number is put right.
    """
    if not name.startswith("EfficientNetB"):
        return
    layer = next(layer for layer in model.layers if isinstance(layer, keras.layers.Normalization))
    mean, variance, *others = layer.get_weights()
    if np.allclose(variance, TORCH_STD, atol=1e-3):
        layer.set_weights([mean, (variance * np.asarray(TORCH_STD, np.float32)), *others])
        layer.finalize_state()
