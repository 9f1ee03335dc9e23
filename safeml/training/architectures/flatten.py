"""A network taken over layer by layer: models inside of models are opened, names are unique, and every layer is a new one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras

# Names that the new ends use.
TAKEN = ("image", "pool", "dropout", "logits")


def flatten(
    model: keras.Model, images: Any, first: keras.layers.Layer | None = None
) -> tuple[keras.Model, dict[str, str]]:
    """What `model` computes of `images` (a Keras input), after the layer `first`, as a functional model of layers only.

    Weights are copied. Arguments that an inner model was called with (`training=False`) are dropped: what is frozen here is
    said by the recipe. Returns the new model, and the new name by each old one; of equal names, the outermost layer's.
    """
    names = _unique_names(model)
    flat = keras.Model(images, _through(model, images if first is None else first(images)))
    while any(isinstance(layer, keras.Model) for layer in flat.layers):
        flat = keras.models.clone_model(
            flat, input_tensors=images, clone_function=lambda layer: layer, call_function=_inline
        )
    # Up to here layers belong to both networks, and to two places of them.
    copy = keras.Model.from_config(flat.get_config())
    for layer in copy.layers:
        layer.set_weights(flat.get_layer(layer.name).get_weights())
        if isinstance(layer, keras.layers.Normalization):
            layer.finalize_state()  # it computes with copies of its weights
    # What somebody froze in an earlier training. A value that is there already is not set again, and reaches no layer.
    copy.trainable = False
    copy.trainable = True
    return copy, names


def _inline(layer: Any, *args: Any, **kwargs: Any) -> Any:
    return _through(layer, args[0]) if isinstance(layer, keras.Model) else layer(*args, **kwargs)


def _through(model: Any, x: Any) -> Any:
    """Each layer of `model` called anew, from the Keras tensor `x` on. (The model's own `call` leaves a conversion in.)"""
    return keras.Function(model.inputs[0], model.outputs[0]).call(x)


def _unique_names(model: keras.Model) -> dict[str, str]:
    names: dict[str, str] = {}
    used = set(TAKEN)
    for operation in _operations(model):
        old, number = operation.name, 1
        new = f"source_{old}" if old in TAKEN else old
        while new in used:
            number += 1
            new = f"{old}_{number}"
        used.add(new)
        operation.name = new
        names.setdefault(old, new)
    return names


def _operations(model: keras.Model) -> Iterator[Any]:
    """Every layer and operation once, those of inner models after all of the outer one."""
    seen: set[int] = set()
    waiting = [model]
    while waiting:
        inner = waiting.pop(0)
        for operation in inner.layers if isinstance(inner, keras.Sequential) else inner.operations:
            if id(operation) in seen or isinstance(operation, keras.layers.InputLayer):
                continue
            seen.add(id(operation))
            if isinstance(operation, keras.Model):
                waiting.append(operation)
            yield operation
