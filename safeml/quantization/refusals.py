"""Models that cannot be rewritten: each is refused with its name, the reason and the remedy."""

from __future__ import annotations

from typing import Any

import keras

from safeml.errors import InputRefused


def check_model(model: Any, where: str, nested: bool = False) -> None:
    """Refuse a model that is not Functional or Sequential, that is not built, or that has two inputs or two outputs.

    nested: it is a layer of another model, and may have several inputs and outputs.
    """
    kind = _base(model)
    if kind is None or type(model).call is not kind.call:
        raise InputRefused(
            f"{where}: {type(model).__name__} is a subclassed model, whose code cannot be rewritten; build it with "
            "keras.Model(inputs, outputs) or keras.Sequential and load its weights."
        )
    if not getattr(model, "inputs", None):
        raise InputRefused(
            f"{where}: the model has no input shape yet; call it once on a batch, or begin it with keras.Input."
        )
    if nested:
        return
    for word, tensors in (("inputs", model.inputs), ("outputs", model.outputs)):
        if len(tensors) != 1:
            raise InputRefused(
                f"{where}: the model has {len(tensors)} {word}; expected one image and one score per class: make a "
                "keras.Model of one input and one output."
            )


def check_layer(operation: Any, name: str, where: str) -> None:
    """Refuse a layer that Keras quantized, that computes in another type than float32, or whose code would be copied."""
    if not isinstance(operation, keras.layers.Layer):
        return
    policy = getattr(operation.dtype_policy, "name", "")
    if getattr(operation, "quantization_mode", None) is not None or getattr(
        operation.dtype_policy, "quantization_mode", None
    ):
        raise InputRefused(
            f'{where}: the layer "{name}" was quantized by Keras already (policy {policy}); start from the float32 '
            "model."
        )
    if operation.weights and operation.compute_dtype != "float32":
        raise InputRefused(
            f'{where}: the layer "{name}" computes in {operation.compute_dtype} (policy {policy}); expected float32: '
            'build the model under keras.config.set_dtype_policy("float32") and load its weights.'
        )
    if getattr(operation, "lora_enabled", False):
        raise InputRefused(
            f'{where}: the layer "{name}" has LoRA weights beside its kernel; save and load the model once, which '
            "merges them, and disable lora_rank."
        )
    if isinstance(operation, keras.layers.Lambda):
        raise InputRefused(
            f'{where}: the layer "{name}" is a Lambda, whose code cannot be copied safely; replace it by a layer of '
            "Keras or an operation of keras.ops."
        )
    if getattr(operation, "data_format", None) == "channels_first":
        raise InputRefused(
            f'{where}: the layer "{name}" has its channels first; expected channels_last: build the model with '
            'data_format="channels_last" and load its weights.'
        )


def _base(model: Any) -> Any:
    """keras.Sequential, or the class of Functional models; None for any other model."""
    if isinstance(model, keras.Sequential):
        return keras.Sequential
    if isinstance(model, keras.Model) and isinstance(model, keras.Function):
        return next(
            kind
            for kind in type(model).__mro__
            if kind.__module__.startswith("keras.") and kind.__name__ == "Functional"
        )
    return None
