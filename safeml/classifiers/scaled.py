"""A Keras model with a layer that scales its logits, before the softmax or sigmoid that it ends in. Legend: K outputs."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from safeml.classifiers.base import Classifier
from safeml.classifiers.keras_head import without_activation
from safeml.classifiers.tensors import TensorClassifier
from safeml.errors import InputRefused

LAYER = "logit_scaling"


def with_scaled_logits(classifier: Classifier, weights: np.ndarray, biases: np.ndarray) -> Any:
    """Return a Keras model whose logits are multiplied by `weights`, plus `biases`; the rest of it is shared, not copied.

    classifier: of a model from a Keras file.
    weights, biases: float64 [K] in the order of the classes, or [1] to scale all outputs alike.

    Raises InputRefused for a model of another format, and for one whose logits cannot be reached.
    """
    import keras

    model = classifier.model if isinstance(classifier, TensorClassifier) else None
    if model is None or model.network is None:
        raise InputRefused(
            f"{classifier.name}: is no Keras model, so no layer can be added; scale the model before its export."
        )
    if len(weights) > 1 and model.one_logit:
        raise InputRefused(f"{model.where}: has one output for two classes; use the method temperature.")
    if model.integers:
        raise InputRefused(
            f"{model.where}: takes integer images, which a rebuilt model would take as floats; save it with a float32 input."
        )
    if model.takes_log:
        raise InputRefused(
            f"{model.where}: gives probabilities by an operation that cannot be taken off; end the model in a Softmax layer."
        )
    source, order = model.network, classifier.spec.class_order
    if len(weights) > 1 and order is not None:  # output j of the file is class order[j]
        weights, biases = weights[list(order)], biases[list(order)]
    bare = without_activation(source)
    logits = source.outputs[0] if bare is None else bare.model.outputs[0]
    inputs = source.inputs if bare is None else bare.model.inputs
    scale, offset = (
        float(values[0]) if len(values) == 1 else [float(value) for value in values]
        for values in (weights, biases)
    )
    outputs = keras.layers.Rescaling(scale, offset, name=LAYER, dtype="float32")(logits)
    if bare is not None and bare.activation is not None:
        outputs = keras.layers.Activation(
            bare.activation, name=f"{LAYER}_{bare.activation}", dtype="float32"
        )(outputs)
    return keras.Model(inputs[0], outputs, name=source.name)


def keras_bytes(model: Any) -> bytes:
    """Return the bytes of the model as a .keras file, without optimizer."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.keras"
        model.save(file, include_optimizer=False)
        return file.read_bytes()
