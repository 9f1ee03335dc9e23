"""Interval arithmetic that contains every float32 result. Legend: N images, D inputs of one sum.

An interval here contains not only the exact value of a tensor but every value that the deployed model can compute for it in
IEEE float32, in whatever order it adds. With u = 2^-24, a sum of D products is off by at most D u / (1 - D u) times the sum
of the absolute products, in any order and with or without fused multiply-adds (N. J. Higham, "Accuracy and stability of
numerical algorithms", 2002, section 3.1). Each rule widens its result by that much, with three reserves:

* `UNIT` is 2 u, and two terms are added to each D. That takes in 1 / (1 - D u), the rounding of this file's own float64,
  and a constant that the graph optimiser multiplies into the weights or adds to another constant first.
* `TINY` takes in underflow, including denormals that are flushed to zero: at most 2^-126 times a value below `LARGEST`, in
  fewer than `MOST_TERMS` products.
* A value that may exceed `LARGEST` is not certified, so that nothing here overflows in float32.

This argument does not cover arithmetic other than float32: TensorFloat-32, bfloat16 or integers, and convolutions by
transforms (Winograd, FFT). `ibp` also compares each image's logits with
their bounds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

UNIT = 2.0**-23
TINY = 2.0**-60
LARGEST = 2.0**40
MOST_TERMS = 2**20


@dataclass(frozen=True)
class Interval:
    """lower, upper: tf.Tensor float64 of one shape, lower <= upper. varies: whether they depend on the images.

    What varies has the images on its first axis: each image owns as many consecutive rows of it as any other.
    """

    lower: Any
    upper: Any
    varies: bool

    @property
    def exact(self) -> bool:
        """Whether this is a stored number and not the result of rounded arithmetic."""
        return self.lower is self.upper

    @property
    def centre(self) -> Any:
        return self.lower if self.exact else (self.lower + self.upper) / 2

    @property
    def radius(self) -> Any:
        return (self.upper - self.lower) / 2

    @property
    def magnitude(self) -> Any:
        """The largest absolute value, element by element."""
        return tf.maximum(tf.abs(self.lower), tf.abs(self.upper))

    def mapped(self, rising: Callable[[Any], Any]) -> Interval:
        """The image of a map that rises in each element and rounds nothing; what is exact stays exact."""
        lower = rising(self.lower)
        return Interval(lower, lower if self.exact else rising(self.upper), self.varies)

    def widened(self, slack: Any) -> Interval:
        return Interval(self.lower - slack - TINY, self.upper + slack + TINY, self.varies)


def point(values: Any) -> Interval:
    """A constant of the model."""
    exactly = tf.constant(values, tf.float64)
    return Interval(exactly, exactly, varies=False)


def added(a: Interval, b: Interval) -> Interval:
    # Relative to the operands and not to the sum: constants may be added in another order, with less cancellation.
    total = Interval(a.lower + b.lower, a.upper + b.upper, a.varies or b.varies)
    return total.widened(UNIT * (a.magnitude + b.magnitude))


def negated(a: Interval) -> Interval:
    return Interval(-a.upper, -a.lower, a.varies)


def multiplied(a: Interval, b: Interval) -> Interval:
    corners = [x * y for x in (a.lower, a.upper) for y in (b.lower, b.upper)]
    lower, upper = tf.reduce_min(corners, axis=0), tf.reduce_max(corners, axis=0)
    return Interval(lower, upper, a.varies or b.varies).widened(UNIT * a.magnitude * b.magnitude)


def rounding(terms: int) -> float:
    """Bound the relative error of a float32 sum of `terms` products, with the reserves of this module."""
    return (terms + 2) * UNIT
