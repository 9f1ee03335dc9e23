"""Rules of operations that only move numbers: reshaping, choosing, joining, padding. They round nothing.

No rule combines images: an operation on the first axis is refused, because a certificate covers one image.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import numpy as np
import tensorflow as tf

from safeml.certification.base import NotCertifiable
from safeml.certification.interval import Interval

Rule = Callable[[Any, Sequence[Interval], int], Interval]


def refuse(operation: Any, why: str) -> NoReturn:
    """Raise NotCertifiable. The name of an operation holds the name of its layer."""
    raise NotCertifiable(
        f'no bound is known for the operation {operation.type} of "{operation.name}": {why}.'
    )


def static(operation: Any, place: int) -> np.ndarray:
    """The value of an integer input, such as an axis, which must not depend on the images."""
    values = tf.get_static_value(operation.inputs[place])
    if values is None:
        refuse(operation, "its shape or axis is computed while it runs; export the model with fixed sizes")
    return np.asarray(values)


def passed(operation: Any, inputs: Sequence[Interval], images: int) -> Interval:
    """Pass the only varying input on, as Identity does."""
    return inputs[0]


def reshaped(operation: Any, inputs: Sequence[Interval], images: int) -> Interval:
    """Reshape: elements keep their order, so images stay separate if the rows divide evenly."""
    x, shape = inputs[0], operation.outputs[0].shape
    if not shape.is_fully_defined():
        refuse(operation, "its shape is computed while it runs; export the model with fixed sizes")
    if x.varies and (len(shape) == 0 or shape[0] % images):
        refuse(operation, "it does not keep one row for each image")
    return x.mapped(lambda end: tf.reshape(end, shape))


def padded(operation: Any, inputs: Sequence[Interval], images: int) -> Interval:
    """Pad with zeros, PadV2 with a stored number."""
    x, widths = inputs[0], static(operation, 1)
    if x.varies and widths[0].any():
        refuse(operation, "it adds images")
    if operation.type == "PadV2" and not inputs[1].exact:
        refuse(operation, "it pads with a computed number")
    value = float(inputs[1].lower.numpy()) if operation.type == "PadV2" else 0.0
    return x.mapped(lambda end: tf.pad(end, widths, constant_values=value))


def gathered(operation: Any, inputs: Sequence[Interval], images: int) -> Interval:
    x, places = inputs[0], static(operation, 1)
    axis = int(static(operation, 2)) % len(x.lower.shape)
    if (x.varies and axis == 0) or operation.get_attr("batch_dims"):
        refuse(operation, "it chooses among images")
    return x.mapped(lambda end: tf.gather(end, places, axis=axis))


def joined(operation: Any, inputs: Sequence[Interval], images: int) -> Interval:
    axis = int(static(operation, len(operation.inputs) - 1)) % len(inputs[0].lower.shape)
    varying = [value.varies for value in inputs]
    if any(varying) and (axis == 0 or not all(varying)):
        refuse(operation, "it joins images, or images with stored numbers")
    lower, upper = tf.concat([x.lower for x in inputs], axis), tf.concat([x.upper for x in inputs], axis)
    return Interval(lower, upper, any(varying))


def moved(move: Callable[[Any, np.ndarray], Any], keeps_images: Callable[[np.ndarray, int], bool]) -> Rule:
    """Of an operation whose second input says what goes where. keeps_images(that input, rank): it leaves the first axis."""

    def rule(operation: Any, inputs: Sequence[Interval], images: int) -> Interval:
        x, where = inputs[0], static(operation, 1)
        if x.varies and not keeps_images(where, len(x.lower.shape)):
            refuse(operation, "it moves images")
        return x.mapped(lambda end: move(end, where))

    return rule


PASSING = ("Identity", "StopGradient", "PreventGradient", "EnsureShape")
MOVES: dict[str, Rule] = {
    **dict.fromkeys(PASSING, passed),
    **dict.fromkeys(("Reshape", "Squeeze", "ExpandDims"), reshaped),
    **dict.fromkeys(("Pad", "PadV2"), padded),
    "ConcatV2": joined,
    "GatherV2": gathered,
    "ReverseV2": moved(tf.reverse, lambda axes, rank: 0 not in [int(axis) % rank for axis in axes]),
    "Tile": moved(tf.tile, lambda times, rank: int(times[0]) == 1),
    "Transpose": moved(tf.transpose, lambda order, rank: int(order[0]) == 0),
}
