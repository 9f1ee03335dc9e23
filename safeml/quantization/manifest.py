"""The parts of `quantization.json` that describe models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np

from safeml.classifiers.fingerprint import model_fingerprint
from safeml.int8.layers import ActivationQuantizer, QuantizedKernel
from safeml.quantization.rewrite import quantizers
from safeml.store.files import file_sha256


def layers(model: keras.Model, keep_float: tuple[str, ...]) -> list[dict[str, Any]]:
    """Return each layer with weights: its kind, whether it is quantized, and the reason if it is not."""
    rows = []
    for layer in model.layers:
        if isinstance(layer, ActivationQuantizer) or not layer.weights:
            continue
        quantized = isinstance(layer, QuantizedKernel)
        reason = "" if quantized else f"{type(layer).__name__} has no INT8 form here; it is computed in float"
        # A separable layer is split, and its parts have its name and an ending.
        if not quantized and any(f"{layer.name}_".startswith(f"{name}_") for name in keep_float):
            reason = "listed in keep_float"
        rows.append(
            {"name": layer.name, "kind": type(layer).__name__, "quantized": quantized, "reason": reason}
        )
    return rows


def scales(model: keras.Model, observer: str, largest: dict[str, float]) -> list[dict[str, Any]]:
    """Return each activation quantizer: the value of one code, and the largest magnitude in calibration."""
    return [
        {
            "name": quantizer.name,
            "scale": float(quantizer.scale.numpy()),
            "observer": observer,
            "calibration_largest": largest.get(quantizer.name),
        }
        for quantizer in quantizers(model)
    ]


def sizes(model: keras.Model) -> dict[str, int]:
    """Return the bytes of the weights in float32, and with INT8 kernels, float32 biases and scales."""
    everything = sum(int(np.prod(weight.shape)) for layer in model.layers for weight in layer.weights)
    quantized = [layer for layer in model.layers if isinstance(layer, QuantizedKernel)]
    kernels = sum(int(np.prod(layer.kernel.shape)) for layer in quantized)
    channels = sum(int(np.prod(layer.floor.shape)) for layer in quantized)
    activations = quantizers(model)
    observers = sum(len(quantizer.weights) for quantizer in activations)
    parameters = everything - channels - observers
    return {
        "float32_bytes": 4 * parameters,
        "int8_bytes": kernels + 4 * (parameters - kernels) + 4 * (channels + len(activations)),
    }


def entry(folder: Path, name: str, model: keras.Model) -> dict[str, Any]:
    """Return the identity of the model file `name` in `folder`."""
    path = folder / name
    return {
        "file": name,
        "bytes": path.stat().st_size,
        "sha256": file_sha256(path),
        "fingerprint": model_fingerprint(model),
    }
