"""Fake quantization: float32 in, float32 on the grid of an INT8 code out. Legend: s scale of a code.

The operations are those that tf2onnx converts to QuantizeLinear and DequantizeLinear: it folds every other fake quantization
of a constant into the constant. Both round half to even, as ONNX and TensorRT do.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from safeml.int8.codes import ACTIVATION_CODES

# Below it, 1 / scale and the bias in units of the scale leave the range of float32 and int32.
SMALLEST_SCALE = 2.0**-40


def representable(scale: np.floating) -> np.float32:
    """Return the nearest scale with 16 bits of mantissa, at least `SMALLEST_SCALE`.

    127 and 128 times such a scale are exact in float32. TensorFlow gets the ends of the range and divides by the codes;
    it then has exactly this scale, and not a neighbour.
    """
    bits = np.asarray(scale, np.float32).view(np.uint32)
    rounded = (bits + np.uint32(0x80)) & np.uint32(0xFFFFFF00)
    return np.float32(np.maximum(rounded.view(np.float32), SMALLEST_SCALE))


def quantize_activations(values: Any, scale: Any) -> Any:
    """Return `values` rounded to multiples of `scale` in -128 scale..127 scale, of the same shape.

    values: tf.Tensor float32, any shape. scale: tf.Tensor float32 scalar, > 0. The gradient is 1 inside the range and 0
    outside.
    """
    low, high = ACTIVATION_CODES
    return tf.quantization.quantize_and_dequantize_v2(
        values,
        scale * low,
        scale * high,
        signed_input=True,
        num_bits=8,
        range_given=True,
        round_mode="HALF_TO_EVEN",
        narrow_range=False,
    )


def quantize_weights(kernel: Any, largest: Any, axis: int) -> Any:
    """Return `kernel` rounded, per channel of `axis`, to 127 steps on each side of zero up to `largest`.

    kernel: tf.Tensor float32, any shape. largest: tf.Tensor float32 [channels], > 0. The gradient is 1 everywhere.
    """
    # Of the per-channel operations, only V3 runs on the CPU in TensorFlow 2.21.
    return tf.raw_ops.QuantizeAndDequantizeV3(
        input=kernel,
        input_min=-largest,
        input_max=largest,
        num_bits=tf.constant(8),
        signed_input=True,
        range_given=True,
        narrow_range=True,
        axis=axis,
    )
