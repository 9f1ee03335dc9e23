"""A Keras 3 model in memory as the model under test: seen through its logits, its weights checked."""

from __future__ import annotations

from typing import Any

import numpy as np

from safeml import framework
from safeml.classifiers.contract import LOG_NOTE
from safeml.classifiers.fingerprint import model_fingerprint
from safeml.classifiers.frozen import FrozenGraph, freeze
from safeml.classifiers.head import (
    EPSILON,
    INTEGER_NOTE,
    NO_INPUT_SHAPE,
    causes,
    check_ends,
    check_shapes,
    judge_outputs,
    probe_values,
)
from safeml.classifiers.keras_head import without_activation
from safeml.classifiers.tensors import TensorClassifier, TensorModel
from safeml.errors import InputRefused
from safeml.settings.model import InputSettings


def wrap(
    model: Any, settings: InputSettings, class_names: tuple[str, ...], name: str, where: str = "model"
) -> TensorClassifier:
    """A Keras model that you made or loaded yourself, as a checked classifier of these classes."""
    return from_keras(model, where).fed(settings, class_names, name)


def from_keras(model: Any, where: str, notes: tuple[str, ...] = ()) -> TensorModel:
    """Return a Keras model as a `TensorModel`, without the softmax or sigmoid that it ends in.

    Raises InputRefused where it has not one image input and one row of outputs, or where a weight is not finite.
    """
    framework.start()  # a model in memory comes here without `load_model`
    import keras

    _check_inputs(model, where)
    check_ends(len(model.inputs), len(model.outputs), where)
    shape = tuple(model.inputs[0].shape)
    # Looking at outputs is not enough: a ReLU turns NaN into 0 on this backend, and the model looks merely weak.
    broken = [weight.path for weight in model.weights if not np.isfinite(_numbers(weight)).all()]
    if broken:
        raise InputRefused(
            f"{where}: the weights of {broken[0]} are not finite; the file is damaged or its training diverged."
        )
    fingerprint, parameters = model_fingerprint(model), int(model.count_params())
    given = tuple(model.outputs[0].shape)
    kind = str(model.outputs[0].dtype)
    if kind != "float32":
        notes = (*notes, f"the outputs are {kind} and are read as float32")
    integers = not keras.backend.is_float_dtype(model.inputs[0].dtype)
    if integers:
        model = _with_float_input(model, where)
        notes = (*notes, INTEGER_NOTE)
    bare = without_activation(model)
    activation = None if bare is None else bare.activation
    outputs = check_shapes(shape, given, where, one_sigmoid=activation == "sigmoid")
    probe = probe_values(shape[1:]) * np.float32(255 if integers else 1)
    logits = model if bare is None else bare.model
    gives, takes_log = judge_outputs(
        _call(model, probe, where),
        None if activation is None else _call(logits, probe, where),
        where,
        activation or "softmax",
        EPSILON.get(kind, 0.0),
    )
    return TensorModel(
        where=where,
        input_shape=shape[1:],
        outputs=outputs,
        gives=gives,
        parameters=parameters,
        fingerprint=fingerprint,
        notes=(*notes, *((bare.note,) if bare else ()), *((LOG_NOTE,) if takes_log else ())),
        forward=lambda values: logits(values, training=False),
        penultimate=_penultimate(model),
        takes_log=takes_log,
        one_logit=given[1] == 1 and outputs == 2,
        integers=integers,
        graph=lambda: _graph(logits, where),
        network=model,
        logits_network=logits,
    )


def _check_inputs(model: Any, where: str) -> None:
    """Raise InputRefused where a Sequential was saved before anything said which inputs it takes."""
    try:
        known = bool(model.inputs)
    except AttributeError:  # what Keras raises of a Sequential that was never called
        known = False
    if not known:
        raise InputRefused(f"{where}: {NO_INPUT_SHAPE}")


def _numbers(weight: Any) -> np.ndarray:
    return np.asarray(weight.numpy(), np.float32)


def _with_float_input(model: Any, where: str) -> Any:
    """A model of integers as the same model of float32 values, which must give the same outputs for all whole values."""
    values = np.rint(probe_values(tuple(model.inputs[0].shape)[1:]) * np.float32(255))
    try:
        view = type(model).from_config(_float_inputs(model.get_config()))
        view.set_weights(model.get_weights())
    except (ValueError, TypeError, KeyError) as error:
        raise InputRefused(
            f"{where}: takes {model.inputs[0].dtype} images; expected float32 ({causes(error)})."
        ) from error
    expected = _call(model, values.astype(str(model.inputs[0].dtype)), where)
    if not np.allclose(_call(view, values, where), expected, rtol=1e-5, atol=1e-5):
        raise InputRefused(
            f"{where}: takes {model.inputs[0].dtype} images and computes something else on float32 values; "
            "expected float32, or integers that are cast to floats at once."
        )
    return view


def _float_inputs(value: Any) -> Any:
    """A configuration whose input layers take float32."""
    if isinstance(value, list | tuple):
        return [_float_inputs(inner) for inner in value]
    if not isinstance(value, dict):
        return value
    renewed = {key: _float_inputs(inner) for key, inner in value.items()}
    if renewed.get("class_name") == "InputLayer":
        renewed["config"] = {**renewed["config"], "dtype": "float32"}
    return renewed


def _graph(model: Any, where: str) -> FrozenGraph:
    import tensorflow as tf

    shape = tf.TensorSpec((None, *model.inputs[0].shape[1:]), tf.float32)
    function = tf.function(lambda values: model(values, training=False), autograph=False)
    return freeze(function.get_concrete_function(shape), where)


def _call(model: Any, values: np.ndarray, where: str) -> np.ndarray:
    import tensorflow as tf

    try:
        return np.asarray(model(values, training=False), np.float32)
    except tf.errors.ResourceExhaustedError as error:
        raise MemoryError from error
    except (ValueError, TypeError, tf.errors.OpError) as error:
        raise InputRefused(
            f"{where}: does not run on images of {list(values.shape[1:])}: {causes(error)}"
        ) from error


def _penultimate(model: Any) -> Any:
    def features(values: Any) -> Any:
        import keras

        last = [layer for layer in model.layers if layer.weights][-1]
        return keras.Model(model.inputs[0], last.input)(values, training=False)

    return features
