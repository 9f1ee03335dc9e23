"""The head of a Keras model: its last activation taken off, whether a layer or an operation, at any depth of nesting."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from safeml.classifiers.head import Activation

HALF = ("float16", "bfloat16")
OPERATIONS: dict[str, Activation] = {"Softmax": "softmax", "Sigmoid": "sigmoid"}


@dataclass(frozen=True, eq=False)
class Bare:
    """A model before its last activation.

    model: the Keras model that gives the logits.
    activation: what was taken off; None where only the precision of the last layer was raised.
    note: for the report.
    """

    model: Any
    activation: Activation | None
    note: str


@dataclass(frozen=True, eq=False)
class _End:
    tensor: Any
    activation: Activation
    layer: str


def without_activation(model: Any) -> Bare | None:
    """Take the softmax or sigmoid off the end of a Keras model; its last dense layer then computes in float32.

    None where the model ends in neither and in no half precision.
    """
    import keras

    end = _end(model.outputs[0])
    logits = _in_float32(model.outputs[0] if end is None else end.tensor)
    if end is None:
        if logits is model.outputs[0]:
            return None
        return Bare(keras.Model(model.inputs[0], logits), None, "the last layer is computed in float32")
    note = f'the {end.activation} of the layer "{end.layer}" was taken off; the logits are exact'
    return Bare(keras.Model(model.inputs[0], logits), end.activation, note)


def _end(tensor: Any) -> _End | None:
    """Where the last activation before `tensor` starts."""
    import keras

    layers = keras.layers
    operation, inputs = _made_by(tensor)
    if not inputs or len(inputs) != 1:
        return None
    kind = type(operation).__name__
    if isinstance(operation, keras.Model):
        inner = _end(operation.outputs[0])
        if inner is None:
            return None
        return _End(keras.Model(operation.inputs[0], inner.tensor)(inputs[0]), inner.activation, inner.layer)
    if isinstance(operation, layers.Identity | layers.Dropout) or (
        _activation(operation) == "linear" and isinstance(operation, layers.Activation)
    ):
        return _end(inputs[0])
    if (
        kind == "Cast"
        and keras.backend.is_float_dtype(inputs[0].dtype)
        and keras.backend.is_float_dtype(tensor.dtype)
    ):
        return _end(inputs[0])
    if isinstance(operation, layers.Softmax) or (
        kind in OPERATIONS and type(operation).__module__ == "keras.src.ops.nn"
    ):
        # Along another axis than the classes it is no head.
        if getattr(operation, "axis", -1) not in (-1, 1):
            return None
        return _End(inputs[0], OPERATIONS[kind], operation.name)
    name = _activation(operation)
    if name not in ("softmax", "sigmoid"):
        return None
    activation: Activation = "softmax" if name == "softmax" else "sigmoid"
    if isinstance(operation, layers.Activation):
        return _End(inputs[0], activation, operation.name)
    if type(operation) is layers.Dense:
        return _End(_again(operation, activation="linear")(inputs[0]), activation, operation.name)
    return None


def _in_float32(tensor: Any) -> Any:
    """The same logits, their last dense layer computed in float32 where it is computed in half precision."""
    import keras

    if str(tensor.dtype) not in HALF:
        return tensor
    operation, inputs = _made_by(tensor)
    if type(operation) is not keras.layers.Dense or _activation(operation) != "linear" or len(inputs) != 1:
        return tensor
    return _again(operation, dtype="float32")(inputs[0])


def _again(layer: Any, **changes: Any) -> Any:
    """A function that calls a copy of a dense layer with other settings and the same weights."""

    def call(values: Any) -> Any:
        copy = type(layer).from_config({**layer.get_config(), **changes})
        if str(layer.compute_dtype) in HALF and getattr(layer, "quantization_mode", None) is None:
            copy = type(layer).from_config({**copy.get_config(), "dtype": "float32"})
        outputs = copy(values)
        copy.set_weights(layer.get_weights())
        return outputs

    return call


def _made_by(tensor: Any) -> tuple[Any, list[Any]]:
    history = tensor._keras_history
    node = history.operation._inbound_nodes[history.node_index]
    return history.operation, list(node.input_tensors)


def _activation(operation: Any) -> str:
    """The name of an operation's activation; "" where it has none of Keras's own."""
    import keras

    function = getattr(operation, "activation", None)
    for name in ("linear", "softmax", "sigmoid"):
        if function is getattr(keras.activations, name):
            return name
    return ""
