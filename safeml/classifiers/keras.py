"""A Keras 3 model in memory as the model under test: seen through its logits, its weights checked."""

from __future__ import annotations

from typing import Any

import numpy as np

from safeml.classifiers.fingerprint import model_fingerprint
from safeml.classifiers.head import LOG_NOTE, check_ends, check_shapes, judge_outputs, probe_values
from safeml.classifiers.tensors import TensorClassifier, TensorModel
from safeml.errors import InputRefused, first_line
from safeml.settings.model import InputSettings


def wrap(
    model: Any, settings: InputSettings, class_names: tuple[str, ...], name: str, where: str = "model"
) -> TensorClassifier:
    """A Keras model that you made or loaded yourself, as a checked classifier of these classes."""
    return from_keras(model, where).fed(settings, class_names, name)


def from_keras(model: Any, where: str, notes: tuple[str, ...] = ()) -> TensorModel:
    """A Keras model as a `TensorModel`. Its softmax head, if it has one, is taken off.

    Raises InputRefused where it has not one image input and one row of outputs, or where a weight is not finite.
    """
    check_ends(len(model.inputs), len(model.outputs), where)
    shape = tuple(model.inputs[0].shape)
    outputs = check_shapes(shape, tuple(model.outputs[0].shape), where)
    # Looking at outputs is not enough: a ReLU turns NaN into 0 on this backend, and the model looks merely weak.
    broken = [weight.path for weight in model.weights if not np.isfinite(weight.numpy()).all()]
    if broken:
        raise InputRefused(
            f"{where}: the weights of {broken[0]} are not finite; the file is damaged or its training diverged."
        )
    fingerprint, parameters = model_fingerprint(model), int(model.count_params())
    kind = str(model.outputs[0].dtype)
    if kind != "float32":
        notes = (*notes, f"the outputs are {kind} and are read as float32")
    probe = probe_values(shape[1:])
    found = _call(model, probe, where)
    without, taken_off = _without_softmax(model)
    gives, takes_log = judge_outputs(found, _call(without, probe, where) if taken_off else None, where)
    return TensorModel(
        where=where,
        input_shape=shape[1:],
        outputs=outputs,
        gives=gives,
        parameters=parameters,
        fingerprint=fingerprint,
        notes=(*notes, *taken_off, *((LOG_NOTE,) if takes_log else ())),
        forward=lambda values: without(values, training=False),
        penultimate=_penultimate(model),
        takes_log=takes_log,
    )


def _call(model: Any, values: np.ndarray, where: str) -> np.ndarray:
    import tensorflow as tf

    try:
        return np.asarray(model(values, training=False), np.float32)
    except tf.errors.ResourceExhaustedError as error:
        raise MemoryError from error
    except (ValueError, TypeError, tf.errors.OpError) as error:
        raise InputRefused(
            f"{where}: does not run on images of {list(values.shape[1:])}: {first_line(error)}"
        ) from error


def _penultimate(model: Any) -> Any:
    def features(values: Any) -> Any:
        import keras

        last = [layer for layer in model.layers if layer.weights][-1]
        return keras.Model(model.inputs[0], last.input)(values, training=False)

    return features


def _without_softmax(model: Any) -> tuple[Any, tuple[str, ...]]:
    """The model up to its logits, and a note where a softmax head was taken off."""
    import keras

    last = model.layers[-1]
    is_softmax = getattr(last, "activation", None) is keras.activations.softmax
    if isinstance(last, keras.layers.Softmax) or (isinstance(last, keras.layers.Activation) and is_softmax):
        return keras.Model(model.inputs[0], last.input), (
            f'the softmax layer "{last.name}" was taken off; the logits are exact',
        )
    if isinstance(last, keras.layers.Dense) and is_softmax:
        linear = keras.layers.Dense.from_config({**last.get_config(), "activation": "linear"})
        outputs = linear(last.input)
        linear.set_weights(last.get_weights())
        note = f'the softmax of the layer "{last.name}" was taken off; the logits are exact'
        return keras.Model(model.inputs[0], outputs), (note,)
    return model, ()
