"""Keras layers of a fake-quantized model. They save and load as `.keras`, so that ModelCheckpoint works.

A shared `ActivationQuantizer` gives all its inputs one scale.
"""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from safeml.int8.fake import (
    ACTIVATION_CODES,
    SMALLEST_SCALE,
    WEIGHT_CODES,
    quantize_activations,
    quantize_weights,
)

PACKAGE = "safeml"


@keras.saving.register_keras_serializable(PACKAGE)
class ActivationQuantizer(keras.layers.Layer):
    """Round its input to INT8 codes of one scale, and while it observes, move the scale with the training batches.

    momentum: of the moving average of the scale.
    """

    def __init__(self, momentum: float = 0.99, **options: Any) -> None:
        super().__init__(**options)
        self.momentum = momentum

    def build(self, input_shape: Any) -> None:
        """Make `scale`, the value of one code, and `observing`, 1 while training moves the scale."""
        self.scale = self.add_weight(name="scale", shape=(), initializer="ones", trainable=False)
        self.observing = self.add_weight(name="observing", shape=(), initializer="zeros", trainable=False)
        self.built = True

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """float32, any shape -> the same shape, multiples of `scale` in -128 scale..127 scale."""
        if training:
            largest = tf.reduce_max(tf.abs(inputs)) / ACTIVATION_CODES[1]
            share = (1 - self.momentum) * self.observing
            self.scale.assign(tf.maximum((1 - share) * self.scale + share * largest, SMALLEST_SCALE))
        return quantize_activations(inputs, tf.convert_to_tensor(self.scale))

    def compute_output_shape(self, shape: Any) -> Any:
        """Return the shape of the input."""
        return shape

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the constructor."""
        return {**super().get_config(), "momentum": self.momentum}


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
        channels = self.kernel.shape[self.kernel_axis]
        self.floor = self.add_weight(  # type: ignore[attr-defined]
            name="floor", shape=(channels,), initializer="zeros", trainable=False
        )

    def save_own_variables(self, store: Any) -> None:
        """Save `floor` with the kernel and the bias: those of Keras save their own two alone."""
        keras.layers.Layer.save_own_variables(self, store)

    def load_own_variables(self, store: Any) -> None:
        """Load what `save_own_variables` saved."""
        keras.layers.Layer.load_own_variables(self, store)

    def kernel_scale(self) -> Any:
        """float32 [channels]: the value of one code of each channel."""
        return self._largest(tf.convert_to_tensor(self.kernel)) / WEIGHT_CODES[1]

    def quantized_kernel(self) -> Any:
        """The kernel on its grid, of the same shape."""
        kernel = tf.convert_to_tensor(self.kernel)
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
        outputs = outputs + self.bias if self.use_bias else outputs
        return self.activation(outputs) if self.activation is not None else outputs


@keras.saving.register_keras_serializable(PACKAGE)
class QuantizedDense(QuantizedKernel, keras.layers.Dense):
    """A dense layer whose kernel, [inputs, outputs], is quantized per output."""

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """See `keras.layers.Dense`."""
        outputs = keras.ops.matmul(inputs, self.quantized_kernel())
        outputs = outputs + self.bias if self.use_bias else outputs
        return self.activation(outputs) if self.activation is not None else outputs
