"""The symmetric scheme of TFMOT: which kernels and tensors it quantizes, and how. Runs in the child process.

The default scheme of TFMOT gives activations a zero point, which TensorRT refuses, and places quantizers for TFLite. This one
has the placement of `safeml.quantization.placement`, zero point 0, and 127 codes on each side of zero.
Legend: C output channels of a kernel.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras
from tensorflow_model_optimization import quantization
from tensorflow_model_optimization.python.core.quantization.keras import (
    quant_ops,
)

from safeml.errors import InputRefused, first_line
from safeml.quantization.tfmot.bridge import rebuilt
from safeml.quantization.tfmot.plan import RANGE, REMEDY, LayerPlan, NetworkPlan


class KernelCodes(quantization.keras.quantizers.LastValueQuantizer):
    """Quantize a kernel per channel of `axis`; the range of a channel is its largest weight.

    TFMOT counts channels along the last axis, which of a depthwise kernel has length 1; so the axis is moved there.
    """

    def __init__(self, axis: int) -> None:
        super().__init__(num_bits=8, per_axis=True, symmetric=True, narrow_range=True)
        self.axis = axis

    def build(self, tensor_shape: Any, name: str, layer: Any) -> dict[str, Any]:
        """Make `min_var` and `max_var`, float32 [C]."""
        return {
            f"{end}_var": layer.add_weight(
                f"{name}_{end}", shape=(tensor_shape[self.axis],), initializer="zeros", trainable=False
            )
            for end in ("min", "max")
        }

    def __call__(self, inputs: Any, training: Any, weights: dict[str, Any], **options: Any) -> Any:
        """float32 [...] -> the same shape, on the grid of each channel."""
        order = [axis for axis in range(len(inputs.shape)) if axis != self.axis] + [self.axis]
        moved = super().__call__(tf.transpose(inputs, order), training, weights, **options)
        return tf.transpose(moved, np.argsort(order))

    def set_range(self, kernel: Any, weights: dict[str, Any]) -> None:
        """Set the ranges to those of `kernel`: TFMOT knows only those of the training step before the last change."""
        others = [axis for axis in range(len(kernel.shape)) if axis != self.axis]
        largest = tf.reduce_max(tf.abs(kernel), others)
        weights["min_var"].assign(-largest)
        weights["max_var"].assign(largest)

    def get_config(self) -> dict[str, Any]:
        """Return the argument of the constructor."""
        return {"axis": self.axis}


class SymmetricRange(quantization.keras.quantizers.MovingAverageQuantizer):
    """Quantize activations within a symmetric range, a moving average of the largest magnitude of each training batch.

    `decay`: weight of the earlier average per step; 1 keeps the range. TFMOT itself has 0.999, fixed.
    """

    def __init__(self) -> None:
        super().__init__(num_bits=8, per_axis=False, symmetric=True, narrow_range=True)

    def build(self, tensor_shape: Any, name: str, layer: Any) -> dict[str, Any]:
        """Make `min_var`, `max_var` and `decay`, float32 scalars."""
        decay = layer.add_weight(f"{name}_decay", shape=(), initializer="ones", trainable=False)
        return {**super().build(tensor_shape, name, layer), "decay": decay}

    def __call__(self, inputs: Any, training: Any, weights: dict[str, Any], **options: Any) -> Any:
        """float32, any shape -> the same shape, on the grid of the range."""
        return quant_ops.MovingAvgQuantize(
            inputs,
            weights["min_var"],
            weights["max_var"],
            ema_decay=tf.convert_to_tensor(weights["decay"]),
            is_training=training,
            symmetric=True,
            narrow_range=True,
        )

    def get_config(self) -> dict[str, Any]:
        """Return no arguments: the constructor has none."""
        return {}


class KernelConfig(quantization.keras.QuantizeConfig):
    """Quantize the kernel of a layer, and nothing else of it.

    attribute: of the layer. axis: of the output channels.
    """

    def __init__(self, attribute: str, axis: int) -> None:
        self.attribute = attribute
        self.axis = axis

    def get_weights_and_quantizers(self, layer: Any) -> list[Any]:
        """See `QuantizeConfig`."""
        return [(getattr(layer, self.attribute), KernelCodes(self.axis))]

    def get_activations_and_quantizers(self, layer: Any) -> list[Any]:
        """See `QuantizeConfig`."""
        return []

    def set_quantize_weights(self, layer: Any, quantize_weights: list[Any]) -> None:
        """See `QuantizeConfig`."""
        setattr(layer, self.attribute, quantize_weights[0])

    def set_quantize_activations(self, layer: Any, quantize_activations: list[Any]) -> None:
        """See `QuantizeConfig`."""

    def get_output_quantizers(self, layer: Any) -> list[Any]:
        """See `QuantizeConfig`."""
        return []

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the constructor."""
        return {"attribute": self.attribute, "axis": self.axis}


class RangeConfig(quantization.keras.QuantizeConfig):
    """Quantize the output of a layer."""

    def get_weights_and_quantizers(self, layer: Any) -> list[Any]:
        """See `QuantizeConfig`."""
        return []

    def get_activations_and_quantizers(self, layer: Any) -> list[Any]:
        """See `QuantizeConfig`."""
        return []

    def set_quantize_weights(self, layer: Any, quantize_weights: list[Any]) -> None:
        """See `QuantizeConfig`."""

    def set_quantize_activations(self, layer: Any, quantize_activations: list[Any]) -> None:
        """See `QuantizeConfig`."""

    def get_output_quantizers(self, layer: Any) -> list[Any]:
        """See `QuantizeConfig`."""
        return [SymmetricRange()]

    def get_config(self) -> dict[str, Any]:
        """Return no arguments: the constructor has none."""
        return {}


class _AnnotatedOnly(quantization.keras.QuantizeLayoutTransform, quantization.keras.QuantizeRegistry):
    """No transformation of the layout, and no layer that is quantized without an annotation."""

    def apply(self, model: Any, layer_quantize_map: Any) -> tuple[Any, Any]:
        return model, layer_quantize_map

    def supports(self, layer: Any) -> bool:
        return False

    def get_quantize_config(self, layer: Any) -> Any:
        raise ValueError(f"{layer.name} has no annotation")


class SymmetricScheme(quantization.keras.QuantizeScheme):
    """Quantize what is annotated, and nothing else."""

    def get_layout_transformer(self) -> Any:
        """See `QuantizeScheme`."""
        return _AnnotatedOnly()

    def get_quantize_registry(self) -> Any:
        """See `QuantizeScheme`."""
        return _AnnotatedOnly()


OBJECTS = {kind.__name__: kind for kind in (KernelCodes, SymmetricRange, KernelConfig, RangeConfig)}


class QuantizedNetwork:
    """The fake-quantized model of TFMOT for a plan. `model`: the `tf_keras.Model`."""

    def __init__(self, plan: NetworkPlan, arrays: Mapping[str, np.ndarray]) -> None:
        """Annotate and quantize the network. Raises InputRefused where TFMOT does not take it."""
        self.plan = plan
        with quantization.keras.quantize_scope(OBJECTS):
            annotated = rebuilt(plan, arrays, _annotated)
            try:
                self.model = quantization.keras.quantize_apply(
                    annotated, SymmetricScheme(), quantized_layer_name_prefix=""
                )
            except (RuntimeError, TypeError, ValueError, AttributeError) as error:
                raise InputRefused(
                    f"{plan.name}: TensorFlow Model Optimization does not take the model "
                    f"({first_line(error).rstrip('.')}); {REMEDY}."
                ) from error
        for layer in self._layers(RANGE):
            ends = self._range(layer)
            ends["min_var"].assign(-arrays[layer.name])
            ends["max_var"].assign(arrays[layer.name])
        self.refresh()

    def _layers(self, kind: str) -> list[LayerPlan]:
        return [layer for layer in self.plan.layers if layer.kind == kind]

    def _range(self, layer: LayerPlan) -> dict[str, Any]:
        variables: dict[str, Any] = self.model.get_layer(layer.name)._output_quantizer_vars
        return variables

    def set_decay(self, decay: float) -> None:
        """Let training move the ranges with `decay`; 1 keeps them.

        A range that several tensors share stays as calibrated: an average over its calls would cut the largest tensor.
        """
        for layer in self._layers(RANGE):
            self._range(layer)["decay"].assign(decay if layer.sites == 1 else 1.0)

    def refresh(self) -> None:
        """Set the range of each kernel to its weights."""
        for layer in self.plan.layers:
            if layer.kernel_axis is not None:
                ((kernel, quantizer, ends),) = self.model.get_layer(layer.name)._weight_vars
                quantizer.set_range(kernel, ends)

    def arrays(self) -> dict[str, np.ndarray]:
        """Return weights and ranges by the names of the plan."""
        arrays: dict[str, np.ndarray] = {}
        for layer in self.plan.layers:
            if layer.kind == RANGE:
                arrays[layer.name] = self._range(layer)["max_var"].numpy()
            elif layer.kernel_axis is not None:
                wrapper = self.model.get_layer(layer.name)
                values = [wrapper._weight_vars[0][0].numpy()]
                if layer.weights > 1:
                    values.append(wrapper.layer.bias.numpy())
                arrays.update(zip(layer.array_names(), values, strict=True))
            elif layer.weights:
                values = self.model.get_layer(layer.name).get_weights()
                arrays.update(zip(layer.array_names(), values, strict=True))
        return arrays


def _annotated(layer: Any, plan: LayerPlan) -> Any:
    if plan.kind == RANGE:
        return quantization.keras.quantize_annotate_layer(layer, RangeConfig())
    if plan.kernel_axis is None:
        return layer
    attribute = "depthwise_kernel" if isinstance(layer, tf_keras.layers.DepthwiseConv2D) else "kernel"
    return quantization.keras.quantize_annotate_layer(layer, KernelConfig(attribute, plan.kernel_axis))
