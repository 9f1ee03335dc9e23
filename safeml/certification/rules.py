"""Rules of operations that compute: how each carries intervals. Legend: N images, H W C pixels, D inputs of one sum.

A rule is called as rule(operation, inputs, N) and gives the `Interval` of the operation's only output. Two ideas cover all:
a linear map moves the centre by its weights and the radius by their absolute values; a rising map moves both ends.

References:
    S. Gowal et al., "On the effectiveness of interval bound propagation for training verifiably robust models", 2018.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from safeml.certification.interval import (
    MOST_TERMS,
    TINY,
    UNIT,
    Interval,
    added,
    multiplied,
    negated,
    rounding,
)
from safeml.certification.moves import MOVES, Rule, refuse, static


def _linear(
    operation: Any, x: Interval, weights: Interval, terms: int, apply: Callable[[Any, Any], Any]
) -> Interval:
    if weights.varies or not weights.exact:
        refuse(operation, "its weights are computed while it runs; only stored weights are supported")
    if terms > MOST_TERMS:
        refuse(operation, f"it sums {terms} products, and float32 rounding is bounded up to {MOST_TERMS}")
    centre = apply(x.centre, weights.lower)
    reach = x.radius + rounding(terms) * x.magnitude + TINY
    spread = apply(reach, tf.abs(weights.lower)) + TINY
    return Interval(centre - spread, centre + spread, x.varies)


def _check_layout(operation: Any) -> None:
    if operation.get_attr("data_format") != b"NHWC":
        refuse(operation, "its channels come first; only channels-last layers are supported")


def _padding(operation: Any) -> str:
    padding = operation.get_attr("padding").decode()
    if padding not in ("SAME", "VALID"):
        refuse(operation, f"its padding is {padding}; only SAME and VALID are supported")
    return str(padding)


def _convolution(convolve: Callable[..., Any], of_each_channel: bool) -> Rule:
    """Conv2D, or the depthwise one, whose kernels see one channel each."""

    def rule(operation: Any, inputs: Sequence[Interval], images: int) -> Interval:
        x, kernel = inputs
        _check_layout(operation)
        strides, padding = operation.get_attr("strides"), _padding(operation)
        if list(operation.get_attr("dilations")) != [1, 1, 1, 1]:
            refuse(operation, "its kernel is dilated; only dilation 1 is supported")
        height, width, taken, _ = kernel.lower.shape
        if taken != x.lower.shape[3]:
            refuse(operation, "it convolves groups of channels; only whole convolutions are supported")
        terms = height * width * (1 if of_each_channel else taken)
        return _linear(operation, x, kernel, terms, lambda a, w: convolve(a, w, strides, padding))

    return rule


def _matmul(operation: Any, inputs: Sequence[Interval], images: int) -> Interval:
    x, weights = inputs
    if operation.get_attr("transpose_a") or (weights.varies and not x.varies):
        refuse(operation, "it sums over images; only products with stored weights are supported")
    turned = operation.get_attr("transpose_b")
    terms = weights.lower.shape[1 if turned else 0]
    return _linear(operation, x, weights, terms, lambda a, w: tf.matmul(a, w, transpose_b=turned))


def _check_rows(operation: Any, inputs: Sequence[Interval]) -> None:
    """Refuse operands of which one image's row could meet another's, or that store a row for each place in a batch."""
    varying = [value.lower.shape for value in inputs if value.varies]
    stored = [value.lower.shape for value in inputs if not value.varies]
    if not varying:
        return
    rank, rows = len(varying[0]), varying[0][0]
    if any(len(shape) != rank or shape[0] != rows for shape in varying):
        refuse(operation, "its operands do not have one row for each image")
    if any(len(shape) > rank or (len(shape) == rank and shape[0] != 1) for shape in stored):
        refuse(operation, "a stored operand has a row for each place in a batch")


def _add(operation: Any, inputs: Sequence[Interval], images: int) -> Interval:
    _check_rows(operation, inputs)
    return added(*inputs)


def _bias(operation: Any, inputs: Sequence[Interval], images: int) -> Interval:
    _check_layout(operation)
    return _add(operation, inputs, images)


def _subtract(operation: Any, inputs: Sequence[Interval], images: int) -> Interval:
    return _add(operation, (inputs[0], negated(inputs[1])), images)


def _negate(operation: Any, inputs: Sequence[Interval], images: int) -> Interval:
    return negated(inputs[0])


def _multiply(operation: Any, inputs: Sequence[Interval], images: int) -> Interval:
    _check_rows(operation, inputs)
    return multiplied(*inputs)


def _divide(operation: Any, inputs: Sequence[Interval], images: int) -> Interval:
    divisor = inputs[1]
    # Constants have values during tracing, so NumPy can test them; TensorFlow cannot.
    if divisor.varies or bool(((divisor.lower.numpy() <= 0) & (divisor.upper.numpy() >= 0)).any()):
        refuse(operation, "its divisor depends on the image or may be zero")
    inverse = Interval(1 / divisor.upper, 1 / divisor.lower, varies=False)
    return _multiply(operation, (inputs[0], inverse.widened(UNIT * inverse.magnitude)), images)


def _inverse_root(operation: Any, inputs: Sequence[Interval], images: int) -> Interval:
    x = inputs[0]
    if x.varies or bool((x.lower.numpy() <= 0).any()):
        refuse(operation, "its operand depends on the image or is not positive")
    found = Interval(tf.math.rsqrt(x.upper), tf.math.rsqrt(x.lower), varies=False)
    return found.widened(
        4 * UNIT * found.magnitude
    )  # devices approximate it to a few units in the last place


def _fused_normalisation(operation: Any, inputs: Sequence[Interval], images: int) -> Interval:
    x, *statistics = inputs
    if operation.get_attr("is_training") or any(value.varies or not value.exact for value in statistics):
        refuse(
            operation, "it normalises with the statistics of the batch; only stored statistics are supported"
        )
    _check_layout(operation)
    scale, offset, mean, variance = (value.lower for value in statistics)
    factor = scale / tf.sqrt(variance + operation.get_attr("epsilon"))
    ends = [(end - mean) * factor + offset for end in (x.lower, x.upper)]
    size = (x.magnitude + tf.abs(mean)) * tf.abs(factor) + tf.abs(offset)
    return Interval(tf.minimum(*ends), tf.maximum(*ends), x.varies).widened(8 * UNIT * size)


def _rising(function: Callable[..., Any]) -> Rule:
    """Return the rule of a function that is monotone in each argument and rounds nothing."""

    def rule(operation: Any, inputs: Sequence[Interval], images: int) -> Interval:
        _check_rows(operation, inputs)
        lower, upper = function(*(x.lower for x in inputs)), function(*(x.upper for x in inputs))
        return Interval(lower, upper, any(x.varies for x in inputs))

    return rule


def _leaky_relu(operation: Any, inputs: Sequence[Interval], images: int) -> Interval:
    slope = float(operation.get_attr("alpha"))
    if not 0 <= slope <= 1:
        refuse(operation, f"its slope is {slope}; only slopes in 0..1 are supported")
    found = inputs[0].mapped(lambda end: tf.nn.leaky_relu(end, slope))
    return found.widened(UNIT * found.magnitude)


def _pooling(pool: Callable[..., Any], sums: bool) -> Rule:
    def rule(operation: Any, inputs: Sequence[Interval], images: int) -> Interval:
        _check_layout(operation)
        size, strides, padding = (
            operation.get_attr("ksize"),
            operation.get_attr("strides"),
            _padding(operation),
        )
        if size[0] != 1 or size[3] != 1:
            refuse(operation, "it pools over images or channels")
        x = inputs[0].widened(rounding(size[1] * size[2]) * inputs[0].magnitude) if sums else inputs[0]
        return x.mapped(lambda end: pool(end, size, strides, padding))

    return rule


def _reduction(reduce: Callable[..., Any], sums: bool) -> Rule:
    def rule(operation: Any, inputs: Sequence[Interval], images: int) -> Interval:
        x, shape = inputs[0], inputs[0].lower.shape
        axes = [int(axis) % len(shape) for axis in static(operation, 1).ravel()]
        if x.varies and 0 in axes:
            refuse(operation, "it reduces over images")
        if sums:
            x = x.widened(rounding(int(np.prod([shape[axis] for axis in axes]))) * x.magnitude)
        return x.mapped(lambda end: reduce(end, axes, operation.get_attr("keep_dims")))

    return rule


RULES: dict[str, Rule] = {
    **MOVES,
    "Add": _add,
    "AddV2": _add,
    "AvgPool": _pooling(tf.nn.avg_pool2d, sums=True),
    "BiasAdd": _bias,
    "Conv2D": _convolution(tf.nn.conv2d, of_each_channel=False),
    "DepthwiseConv2dNative": _convolution(tf.nn.depthwise_conv2d, of_each_channel=True),
    "FusedBatchNormV3": _fused_normalisation,
    "LeakyRelu": _leaky_relu,
    "MatMul": _matmul,
    "Max": _reduction(tf.reduce_max, sums=False),
    "MaxPool": _pooling(tf.nn.max_pool2d, sums=False),
    "Maximum": _rising(tf.maximum),
    "Mean": _reduction(tf.reduce_mean, sums=True),
    "Minimum": _rising(tf.minimum),
    "Mul": _multiply,
    "Neg": _negate,
    "RealDiv": _divide,
    "Relu": _rising(tf.nn.relu),
    "Relu6": _rising(tf.nn.relu6),
    "Rsqrt": _inverse_root,
    "Sub": _subtract,
}
# Their results are never larger than their inputs, so there is nothing new to hold against `LARGEST`.
NEVER_LARGER = frozenset({*MOVES, "Max", "MaxPool", "Mean", "AvgPool", "Relu", "Relu6"}) - {"PadV2"}
