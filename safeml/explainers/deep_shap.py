"""Deep SHAP, by the DeepExplainer of shap in a child process. Legend: N images, H W C pixels, R backgrounds.

DeepExplainer replaces gradients of operations in the whole process, and leaves them replaced after an error; on operations that
it does not know it fails, and on some (swish) its values do not add up without an error. So it runs in a separate process, only
on networks of layers for which its values were shown to add up, and the sum is checked for each image.

Reference: S. Lundberg, S. Lee, "A unified approach to interpreting model predictions", 2017.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from safeml.errors import StageError
from safeml.explainers.base import Effort, NotApplicable
from safeml.explainers.shuffled import network_of

if TYPE_CHECKING:
    from safeml.classifiers.base import Classifier

CHILD = "safeml.explainers.deep_shap_child"
MODEL, ARRAYS, VALUES = "model.keras", "arrays.npz", "values.npy"
# Layers on which the values of shap 0.51 added up to the change of the logit, within 1e-4 of its size (measured).
ADDITIVE = frozenset(
    {
        "InputLayer", "Conv2D", "Dense", "BatchNormalization", "ReLU", "ELU", "Activation", "MaxPooling2D", "AveragePooling2D",
        "GlobalAveragePooling2D", "Add", "Flatten", "Dropout", "Rescaling", "Normalization", "ZeroPadding2D", "Softmax",
    }
)  # fmt: skip
ACTIVATIONS = frozenset({"linear", "relu", "elu", "selu", "tanh", "sigmoid", "softmax"})
# Largest share of the change of the logit that the sum of an image's values may miss, and the least change that is counted.
LARGEST_MISS, LEAST_CHANGE = 0.01, 0.01
SECONDS = 1800


def reason_against(classifier: Any) -> str:
    """Return why DeepExplainer is not run on `classifier`, a clause; "" if it is."""
    own = network_of(classifier)
    if own is None:
        return "the model is not a Keras network whose layers are known"
    if own.spec.standardise:
        return "the input is standardised image by image, which is not linear"
    for layer in _leaves(own.model.network):
        kind = type(layer).__name__
        if kind not in ADDITIVE:
            return f"DeepExplainer was not shown to add up on layers of the type {kind}"
        activation = getattr(getattr(layer, "activation", None), "__name__", "linear")
        if activation not in ACTIVATIONS:
            return f"DeepExplainer was not shown to add up on the activation {activation}"
        if max(np.ravel(getattr(layer, "dilation_rate", 1))) > 1:
            return "DeepExplainer fails on dilated convolutions"
        if kind == "ReLU" and (layer.max_value is not None or layer.negative_slope):
            return "DeepExplainer fails on ReLU with a limit or a slope"
    return ""


def deep_shap(
    classifier: Classifier, images: np.ndarray, classes: np.ndarray, ids: np.ndarray, effort: Effort
) -> np.ndarray:
    """Return the mean over the backgrounds of DeepLIFT values, summed over channels; see `Explainer`.

    Raises NotApplicable for other networks, and where the values of an image do not add up to the change of its logit.
    StageError where the child process fails.
    """
    import keras
    import tensorflow as tf

    from safeml.classifiers.contract import model_values

    reason = reason_against(classifier)
    own = network_of(classifier)
    if reason or own is None:
        raise NotApplicable(reason)
    if images.shape[1:3] != (own.spec.height, own.spec.width):
        raise NotApplicable("the model resizes the images, so that its values belong to other pixels")
    order = np.arange(own.classes) if own.spec.class_order is None else np.argsort(own.spec.class_order)
    with tempfile.TemporaryDirectory(prefix="safeml-deep-") as name:
        folder = Path(name)
        keras.saving.save_model(own.model.network, folder / MODEL)
        values, backgrounds = (
            np.asarray(model_values(tf.constant(pixels), own.spec))
            for pixels in (images, effort.backgrounds[: effort.draws])
        )
        np.savez(folder / ARRAYS, images=values, backgrounds=backgrounds, classes=order[classes])
        _run(folder)
        attributions = np.load(folder / VALUES, allow_pickle=False)
    if attributions.shape != (len(images), images.shape[1] * images.shape[2] + 1):
        raise StageError("The process of DeepExplainer returned values of another shape.")
    maps, change = attributions[:, :-1], attributions[:, -1]
    missed = np.abs(maps.sum(axis=1) - change) > LARGEST_MISS * np.maximum(np.abs(change), LEAST_CHANGE)
    if missed.any():
        raise NotApplicable(
            f"its values miss the change of the logit for {int(missed.sum())} of {len(images)} images"
        )
    return maps.reshape(images.shape[:3]).astype(np.float32)


def _leaves(network: Any) -> list[Any]:
    leaves: list[Any] = []
    for layer in network.layers:
        leaves += _leaves(layer) if getattr(layer, "layers", None) else [layer]
    return leaves


def _run(folder: Path) -> None:
    import os

    environment = {
        **os.environ,
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "KERAS_BACKEND": "tensorflow",
        "CUDA_VISIBLE_DEVICES": "",
    }
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-m", CHILD, str(folder)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            env=environment,
            timeout=SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise StageError(
            f"The process of DeepExplainer took more than {SECONDS} s and was ended; leave deep_shap out of methods."
        ) from None
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1][:200]
        raise StageError(f"The process of DeepExplainer failed: {last}; leave deep_shap out of methods.")
