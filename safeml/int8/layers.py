"""Keras layers of a fake-quantized model. They save and load as `.keras`, so that ModelCheckpoint works.

A shared `ActivationQuantizer` gives all its inputs one scale.
"""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from safeml.int8.codes import ACTIVATION_CODES, WEIGHT_CODES
from safeml.int8.einsum import as_product
from safeml.int8.fake import SMALLEST_SCALE, quantize_activations, quantize_weights, representable

PACKAGE = "safeml"


@keras.saving.register_keras_serializable(PACKAGE)
class ActivationQuantizer(keras.layers.Layer):
    """Round its input to INT8 codes of one scale, and while it observes, move the scale with the training batches.

    momentum: of the moving average of the scale.
    sites: the number of tensors that share the scale. The scale follows the site with the largest values; a plain average
    over the calls would cut that site.
    """

    def __init__(self, momentum: float = 0.99, sites: int = 1, **options: Any) -> None:
        super().__init__(**options)
        self.momentum = momentum
        self.sites = sites

    def build(self, input_shape: Any) -> None:
        """Make `scale`, the value of one code, and `observing`, 1 while training moves the scale.

        `shares`, float32 [sites]: the largest value of each site as a share of the largest of all.
        """
        self.scale = self.add_weight(name="scale", shape=(), initializer="ones", trainable=False)
        self.observing = self.add_weight(name="observing", shape=(), initializer="zeros", trainable=False)
        if self.sites > 1:
            self.shares = self.add_weight(
                name="shares", shape=(self.sites,), initializer="ones", trainable=False
            )
        self.built = True

    def call(self, inputs: Any, site: int = 0, training: bool | None = None) -> Any:
        """float32, any shape -> the same shape, multiples of `scale` in -128 scale..127 scale. site: the place of this call."""
        if training:
            self._observe(inputs, site)
        return quantize_activations(inputs, tf.convert_to_tensor(self.scale))

    def set_scale(self, scale: float) -> None:
        """Set the scale to the nearest that quantizes exactly on the grid of ONNX (see `representable`)."""
        self.scale.assign(representable(np.float32(scale)))

    def _observe(self, inputs: Any, site: int) -> None:
        """Move the scale towards the largest absolute value of `inputs`; a frozen quantizer reads no values."""
        scale = tf.convert_to_tensor(self.scale)

        def largest() -> Any:
            most = tf.maximum(tf.reduce_max(inputs), -tf.reduce_min(inputs))
            return tf.stop_gradient(most) / ACTIVATION_CODES[1]

        observing = tf.convert_to_tensor(self.observing)
        share = (1 - self.momentum) * observing
        if self.sites == 1:
            seen = tf.cond(observing > 0, largest, lambda: scale)
            self.scale.assign(tf.maximum((1 - share) * scale + share * seen, SMALLEST_SCALE))
            return
        own = tf.convert_to_tensor(self.shares)[site] * scale
        seen = tf.cond(observing > 0, largest, lambda: own)
        sizes = tf.convert_to_tensor(self.shares) * scale
        sizes = tf.where(tf.range(self.sites) == site, (1 - share) * own + share * seen, sizes)
        moved = tf.maximum(tf.reduce_max(sizes), SMALLEST_SCALE)
        self.scale.assign(moved)
        self.shares.assign(sizes / moved)

    def compute_output_shape(self, shape: Any) -> Any:
        """Return the shape of the input."""
        return shape

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the constructor."""
        return {**super().get_config(), "momentum": self.momentum, "sites": self.sites}


@keras.saving.register_keras_serializable(PACKAGE)
class MatrixProduct(keras.layers.Layer):
    """The matrix product of two tensors, such as queries and keys of an attention."""

    def call(self, inputs: Any) -> Any:
        """Two tensors float32 [..., A, B] and [..., B, C] -> [..., A, C]."""
        first, second = inputs
        return tf.matmul(first, second)

    def compute_output_shape(self, shapes: Any) -> Any:
        """Return [..., A, C]."""
        first, second = shapes
        return (*first[:-1], second[-1])


class QuantizedKernel:
    """A layer with a kernel that it rounds to INT8 codes, per channel of `kernel_axis`.

    `floor`: float32 [channels], the smallest largest weight of each channel, so that the bias stays inside int32.
    """

    kernel: Any
    floor: Any
    kernel_axis = -1

    def build(self, input_shape: Any) -> None:
        """Build the layer, and `floor`."""
        super().build(input_shape)  # type: ignore[misc]
        channels = self.kernel_matrix().shape[self.kernel_axis]
        self.floor = self.add_weight(  # type: ignore[attr-defined]
            name="floor", shape=(channels,), initializer="zeros", trainable=False
        )

    def save_own_variables(self, store: Any) -> None:
        """Save `floor` with the kernel and the bias: those of Keras save their own two alone."""
        keras.layers.Layer.save_own_variables(self, store)

    def load_own_variables(self, store: Any) -> None:
        """Load what `save_own_variables` saved."""
        keras.layers.Layer.load_own_variables(self, store)

    def kernel_matrix(self) -> Any:
        """The kernel in the shape in which it is quantized."""
        return tf.convert_to_tensor(self.kernel)

    def bias_sizes(self) -> np.ndarray:
        """float32 [channels]: the largest absolute bias of each channel; 0 without a bias."""
        bias = getattr(self, "bias", None)
        if bias is None:
            return np.zeros(self.floor.shape, np.float32)
        return np.abs(np.asarray(bias)).reshape(-1)

    def kernel_scale(self) -> Any:
        """float32 [channels]: the value of one code of each channel."""
        return self._largest(self.kernel_matrix()) / WEIGHT_CODES[1]

    def quantized_kernel(self) -> Any:
        """The kernel on its grid, in the shape of `kernel_matrix`."""
        kernel = self.kernel_matrix()
        return quantize_weights(kernel, self._largest(kernel), self.kernel_axis % len(kernel.shape))

    def _largest(self, kernel: Any) -> Any:
        axis = self.kernel_axis % len(kernel.shape)
        others = [other for other in range(len(kernel.shape)) if other != axis]
        largest = tf.maximum(tf.reduce_max(tf.abs(kernel), others), tf.convert_to_tensor(self.floor))
        return tf.stop_gradient(tf.maximum(largest, SMALLEST_SCALE * WEIGHT_CODES[1]))


@keras.saving.register_keras_serializable(PACKAGE)
class QuantizedConv2D(QuantizedKernel, keras.layers.Conv2D):
    """A convolution whose kernel, [H, W, inputs, outputs], is quantized per output channel."""

    def convolution_op(self, inputs: Any, kernel: Any) -> Any:
        """See `keras.layers.Conv2D`."""
        return super().convolution_op(inputs, self.quantized_kernel())


@keras.saving.register_keras_serializable(PACKAGE)
class QuantizedDepthwiseConv2D(QuantizedKernel, keras.layers.DepthwiseConv2D):
    """A depthwise convolution of depth multiplier 1 whose kernel, [H, W, inputs, 1], is quantized per input channel."""

    kernel_axis = 2

    def call(self, inputs: Any) -> Any:
        """See `keras.layers.DepthwiseConv2D`."""
        outputs = keras.ops.depthwise_conv(
            inputs,
            self.quantized_kernel(),
            strides=self.strides,
            padding=self.padding,
            dilation_rate=self.dilation_rate,
            data_format=self.data_format,
        )
        return _finished(self, outputs)


@keras.saving.register_keras_serializable(PACKAGE)
class QuantizedConv2DTranspose(QuantizedKernel, keras.layers.Conv2DTranspose):
    """A transposed convolution whose kernel, [H, W, outputs, inputs], is quantized per output channel."""

    kernel_axis = 2

    def call(self, inputs: Any) -> Any:
        """See `keras.layers.Conv2DTranspose`."""
        outputs = keras.ops.conv_transpose(
            inputs,
            self.quantized_kernel(),
            strides=list(self.strides),
            padding=self.padding,
            output_padding=self.output_padding,
            dilation_rate=self.dilation_rate,
            data_format=self.data_format,
        )
        return _finished(self, outputs)


@keras.saving.register_keras_serializable(PACKAGE)
class QuantizedDense(QuantizedKernel, keras.layers.Dense):
    """A dense layer whose kernel, [inputs, outputs], is quantized per output."""

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """See `keras.layers.Dense`."""
        return _finished(self, keras.ops.matmul(inputs, self.quantized_kernel()))


@keras.saving.register_keras_serializable(PACKAGE)
class QuantizedEinsumDense(QuantizedKernel, keras.layers.EinsumDense):
    """An EinsumDense as one matrix product, whose kernel, [inputs, outputs] then, is quantized per output.

    Its equation is one that `safeml.int8.einsum.as_product` takes.
    """

    def build(self, input_shape: Any) -> None:
        """Read the equation, and build the layer."""
        product = as_product(self.equation, len(input_shape))
        if product is None:
            raise ValueError(f"{self.equation} is not one matrix product; expected one as abc,cd->abd.")
        self.product = product
        super().build(input_shape)

    def kernel_matrix(self) -> Any:
        """float32 [inputs, outputs]: the kernel."""
        kernel = tf.convert_to_tensor(self.kernel)
        return tf.reshape(kernel, [math.prod(kernel.shape[: self.product.contracted]), -1])

    def bias_sizes(self) -> np.ndarray:
        """See `QuantizedKernel`. A bias may also differ along free axes, or be equal along outputs."""
        if self.bias is None:
            return np.zeros(self.floor.shape, np.float32)
        shape = self.kernel.shape[self.product.contracted :]
        sizes = np.abs(np.asarray(self.bias))
        sizes = sizes.reshape((-1, *sizes.shape[max(0, sizes.ndim - len(shape)) :]))
        return np.broadcast_to(sizes.max(axis=0), shape).reshape(-1)

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """See `keras.layers.EinsumDense`."""
        free, contracted, outputs = self.product
        leading = inputs.shape[1:free]
        if all(size is not None for size in leading):
            batch: list[Any] = [-1, *leading]
        else:
            batch = list(keras.ops.shape(inputs)[:free])
        kernel = self.quantized_kernel()
        if contracted > 1:
            inputs = keras.ops.reshape(inputs, (*batch, kernel.shape[0]))
        result = keras.ops.matmul(inputs, kernel)
        if outputs > 1:
            result = keras.ops.reshape(result, (*batch, *self.kernel.shape[contracted:]))
        return _finished(self, result)


def is_quantized(model: Any) -> bool:
    """Tell whether a Keras model rounds activations to codes."""
    return any(isinstance(layer, ActivationQuantizer) for layer in model._flatten_layers())


def _finished(layer: Any, outputs: Any) -> Any:
    """Add the bias of a layer, and apply its activation."""
    outputs = outputs + layer.bias if layer.bias is not None else outputs
    return layer.activation(outputs) if layer.activation is not None else outputs
