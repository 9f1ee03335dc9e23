"""Models quantized after training, for benchmarks of what the exports do with them."""

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


def committed(name: str) -> Any:
    """Return the float keras.Model in the folder `name` of models/."""
    framework.start()
    import keras

    (file,) = (MODELS / name).glob("*.keras")
    return keras.models.load_model(file, compile=False)


def random_network(name: str, low: float, high: float, count: int) -> tuple[Any, np.ndarray]:
    """Return a network of keras.applications with random weights, and `count` random images in low..high."""
    framework.start()
    import keras

    keras.utils.set_random_seed(0)
    model = getattr(keras.applications, name)(weights=None)
    pixels = np.random.default_rng(0).random((count, *model.input_shape[1:]), np.float32)
    images = (low + (high - low) * pixels).astype(np.float32)
    for layer in model.layers:  # else the values of random layers shrink below the normal numbers of FP16
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.0
    model(images, training=True)
    return model, images


def quantized_after_training(images: np.ndarray, name: str = "resnet-gtsrb") -> Any:
    """Return the fake-quantized form of a committed model, calibrated on `images`, float32 [N, H, W, C]."""
    return quantized(committed(name), images)


def quantized(model: Any, images: np.ndarray) -> Any:
    """Return the fake-quantized form of a float keras.Model, calibrated on `images`, in the values that the model takes."""
    from safeml.quantization.calibration import calibrate
    from safeml.quantization.rewrite import prepare, with_quantizers

    result = with_quantizers(prepare(model, model.name))
    calibrate(result, images)
    return result
