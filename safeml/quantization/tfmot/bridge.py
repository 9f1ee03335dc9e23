"""A plan as a `tf_keras` model (Keras 2). Runs in the child process.

What a configuration loses on the way is not visible in it, so the child compares outputs with those of the source.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tf_keras

from safeml.errors import InputRefused, first_line
from safeml.quantization.tfmot.plan import RANGE, REGULARIZERS, REMEDY, LayerPlan, NetworkPlan

# The layer as it is called: itself, or annotated.
Annotate = Callable[[Any, LayerPlan], Any]
# Keys that Keras 2 does not know, or reads in another way: weights are set, and the type is float32.
DROPPED = ("_initializer", "_constraint", "dtype", "name")
# Keys with another name in Keras 2.
RENAMED = {"LeakyReLU": {"negative_slope": "alpha"}}


def rebuilt(plan: NetworkPlan, arrays: Mapping[str, np.ndarray], annotate: Annotate | None = None) -> Any:
    """Return the `tf_keras.Model` of a plan with its weights.

    annotate: wraps each layer before it is called; without it, quantizers are left out and the model is a float one.
    Raises InputRefused for a layer that Keras 2 does not have or does not build.
    """
    made: dict[str, Any] = {}
    plans = {layer.name: layer for layer in plan.layers}
    image = tf_keras.Input(tuple(plan.shape), name="image")
    tensors = {0: image}
    for call in plan.calls:
        layer = plans[call.layer]
        inputs = [tensors[number] for number in call.inputs]
        if layer.kind == RANGE and annotate is None:
            tensors[call.output] = inputs[0]
            continue
        try:
            if layer.name not in made:
                made[layer.name] = _made(layer)
            wrapped = made[layer.name]
            if annotate is not None:
                wrapped = made.setdefault(f"{layer.name}:wrapped", annotate(wrapped, layer))
            tensors[call.output] = wrapped(inputs if call.as_list else inputs[0])
        except (TypeError, ValueError, AttributeError, NotImplementedError) as error:
            raise _refusal(plan, layer, first_line(error)) from error
    for layer in plan.layers:
        if layer.weights and layer.name in made:
            try:
                made[layer.name].set_weights([arrays[key] for key in layer.array_names()])
            except ValueError as error:
                raise _refusal(plan, layer, "its weights have another form there") from error
    return tf_keras.Model(image, tensors[plan.output], name="network")


def _made(layer: LayerPlan) -> Any:
    if layer.kind == RANGE:
        return tf_keras.layers.Activation("linear", name=layer.name)
    kind = getattr(tf_keras.layers, layer.kind, None)
    if kind is None:
        raise ValueError(f"it has no layer {layer.kind}")
    return kind.from_config({**configuration(layer, kind), "name": layer.name})


def configuration(layer: LayerPlan, kind: type) -> dict[str, Any]:
    """Return the configuration of a layer in the words of Keras 2."""
    known: set[str] = set()
    for base in kind.__mro__:
        if "__init__" in vars(base):
            known |= set(inspect.signature(base.__init__).parameters)  # type: ignore[misc]
    renamed = RENAMED.get(layer.kind, {})
    config = {}
    for key, value in layer.config.items():
        key = renamed.get(key, key)
        if key not in known or key.endswith(DROPPED):
            continue
        if key.endswith("_regularizer"):
            value = _regularizer(value)
        if key == "axis" and isinstance(value, list) and len(value) == 1:
            value = value[0]
        config[key] = value
    return config


def _regularizer(value: Any) -> Any:
    name = value.get("class_name") if isinstance(value, dict) else None
    if name not in REGULARIZERS:
        return None
    return getattr(tf_keras.regularizers, name)(**value["config"])


def _refusal(plan: NetworkPlan, layer: LayerPlan, reason: str) -> InputRefused:
    return InputRefused(
        f'{plan.name}: the layer "{layer.name}" ({layer.kind}) cannot be built in Keras 2 ({reason.rstrip(".")}); {REMEDY}.'
    )
