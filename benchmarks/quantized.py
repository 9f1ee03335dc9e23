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
