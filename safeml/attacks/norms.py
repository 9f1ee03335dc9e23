"""What the descent loop asks of a norm: random start, steepest direction, projection, length.

`start` is NumPy and runs once for each image; the others are TensorFlow and run inside the compiled loop.
Legend: N images, H W C pixels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Norm:
    """A norm, as the descent loop needs it.

    start(rng, shape): float64 `shape`, a uniformly distributed point of the unit ball.
    normalise(gradient): [N, H, W, C] -> the steepest ascent direction of unit norm; zero where the gradient is zero.
    project(change, epsilon): [N, H, W, C] -> the nearest change whose norm is at most epsilon (a number, or [N, 1, 1, 1]).
    size(change): [N, H, W, C] -> [N, 1, 1, 1], its norm.
    step(epsilon, steps): the usual size of one of `steps` steps. In L2 it stays large: a step only turns the change.
    """

    start: Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]
    normalise: Callable[[Any], Any]
    project: Callable[[Any, Any], Any]
    size: Callable[[Any], Any]
    step: Callable[[float, int], float]


def random_starts(norm: Norm, shape: tuple[int, ...], ids: np.ndarray, seed: int, restart: int) -> np.ndarray:
    """One random point of the unit ball for each image, float32 [N, *shape].

    An image's point depends on (seed, restart, its id) alone, never on its neighbours in a batch.
    """
    points = [norm.start(np.random.default_rng([seed, restart, int(i)]), shape) for i in ids]
    return np.stack(points).astype(np.float32)


def _cube_start(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return rng.uniform(-1.0, 1.0, shape)


def _sign(gradient: Any) -> Any:
    import tensorflow as tf

    return tf.sign(gradient)


def _clip_to_cube(change: Any, epsilon: Any) -> Any:
    import tensorflow as tf

    return tf.clip_by_value(change, -epsilon, epsilon)


def _sphere_start(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    direction = rng.standard_normal(shape)
    # A radius of u^(1/d) makes the point uniform by volume in d dimensions.
    radius = rng.uniform() ** (1.0 / direction.size)
    return direction * (radius / np.linalg.norm(direction))


def _unit_length(gradient: Any) -> Any:
    import tensorflow as tf

    # Dividing by the largest entry first: the squares of small but honest gradients would underflow to zero.
    largest = tf.reduce_max(tf.abs(gradient), axis=[1, 2, 3], keepdims=True)
    scaled = tf.math.divide_no_nan(gradient, largest)
    return tf.math.divide_no_nan(scaled, _length(scaled))


def _shrink_to_sphere(change: Any, epsilon: Any) -> Any:
    import tensorflow as tf

    # A ball of radius 0 is one of FMN's where there is no gradient: no change divided by no radius must stay no change.
    return change * tf.math.divide_no_nan(epsilon, tf.maximum(_length(change), epsilon))


def _length(change: Any) -> Any:
    import tensorflow as tf

    return tf.sqrt(tf.reduce_sum(tf.square(change), axis=[1, 2, 3], keepdims=True))


def _largest(change: Any) -> Any:
    import tensorflow as tf

    return tf.reduce_max(tf.abs(change), axis=[1, 2, 3], keepdims=True)


NORMS = {
    "linf": Norm(
        start=_cube_start,
        normalise=_sign,
        project=_clip_to_cube,
        size=_largest,
        step=lambda epsilon, steps: 2.5 * epsilon / steps,
    ),
    "l2": Norm(
        start=_sphere_start,
        normalise=_unit_length,
        project=_shrink_to_sphere,
        size=_length,
        step=lambda epsilon, steps: max(2.5 / steps, 0.25) * epsilon,
    ),
}
