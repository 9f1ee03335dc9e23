"""Copy a network layer by layer: nested models are flattened, names are unique, and every layer is new."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras

# Names of the new input and output layers.
TAKEN = ("image", "pool", "dropout", "logits")


def flatten(
    model: keras.Model, images: Any, first: keras.layers.Layer | None = None
) -> tuple[keras.Model, dict[str, str]]:
    """Return `model` on `images` (a Keras input), after the layer `first`, as a functional model of layers only.

    Weights are copied. Call arguments of an inner model (`training=False`) are dropped, because the recipe defines the
    frozen layers. Returns the new model, and the new name by old name; of equal names, that of the outermost layer.
    """
    names = _unique_names(model)
    flat = keras.Model(images, _through(model, images if first is None else first(images)))
    while any(isinstance(layer, keras.Model) for layer in flat.layers):
        flat = keras.models.clone_model(
            flat, input_tensors=images, clone_function=lambda layer: layer, call_function=_inline
        )
    # At this point the layers belong to both networks.
    copy = keras.Model.from_config(flat.get_config())
    for layer in copy.layers:
        layer.set_weights(flat.get_layer(layer.name).get_weights())
        if isinstance(layer, keras.layers.Normalization):
            layer.finalize_state()  # it computes with copies of its weights
    # Undo the freezing of an earlier training. Keras does not propagate an unchanged value to the layers.
    copy.trainable = False
    copy.trainable = True
    return copy, names


def _inline(layer: Any, *args: Any, **kwargs: Any) -> Any:
    return _through(layer, args[0]) if isinstance(layer, keras.Model) else layer(*args, **kwargs)


def _through(model: Any, x: Any) -> Any:
    """Call each layer of `model` again, from the Keras tensor `x` on. (`model.call` would leave a conversion in.)"""
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
    """Yield every layer and operation once, those of inner models after all of the outer one."""
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
