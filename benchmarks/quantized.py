"""A committed model quantized after training, for benchmarks of what the exports do with it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from safeml import framework

MODELS = Path(__file__).parent.parent / "models"


def signs(shared: Path, split: str, count: int) -> np.ndarray:
    """Return real signs, float32 [count, 32, 32, 3] in 0..1, drawn from data/gtsrb/SPLIT.npz in the folder `shared`."""
    with np.load(shared / "data" / "gtsrb" / f"{split}.npz") as arrays:
        images = arrays["images"]
    drawn = np.random.default_rng(0).choice(len(images), count, replace=False)
    return images[drawn].astype(np.float32) / 255


def quantized_after_training(images: np.ndarray, name: str = "resnet-gtsrb") -> Any:
    """Return the fake-quantized model, calibrated on `images` by their largest values."""
    framework.start()
    import keras

    from safeml.int8.layers import ActivationQuantizer
    from safeml.quantization.rewrite import fold, with_quantizers

    (file,) = (MODELS / name).glob("*.keras")
    model = with_quantizers(fold(keras.models.load_model(file, compile=False)))
    quantizers = [layer for layer in model.layers if isinstance(layer, ActivationQuantizer)]
    for layer in quantizers:
        layer.momentum = 0.0
        layer.observing.assign(1.0)
    model(images, training=True)
    for layer in quantizers:
        layer.observing.assign(0.0)
    return model
