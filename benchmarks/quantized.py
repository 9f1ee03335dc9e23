"""A committed model quantized after training, for benchmarks of what the exports do with it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from safeml import framework
from safeml.data.rendered import render

MODELS = Path(__file__).parent.parent / "models"


def quantized_after_training(images: int, name: str = "resnet-gtsrb") -> tuple[np.ndarray, Any]:
    """Return rendered signs, float32 [images, 32, 32, 3] in 0..1, and the model calibrated on them by their largest values."""
    framework.start()
    import keras

    from safeml.int8.layers import ActivationQuantizer
    from safeml.quantization.rewrite import fold, with_quantizers

    signs = render(images, seed=5, size=32, frames_per_sign=4).images.astype(np.float32) / 255
    (file,) = (MODELS / name).glob("*.keras")
    model = with_quantizers(fold(keras.models.load_model(file, compile=False)))
    quantizers = [layer for layer in model.layers if isinstance(layer, ActivationQuantizer)]
    for layer in quantizers:
        layer.momentum = 0.0
        layer.observing.assign(1.0)
    model(signs, training=True)
    for layer in quantizers:
        layer.observing.assign(0.0)
    return signs, model
