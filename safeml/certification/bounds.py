"""Bounds of features, logits and margins over boxes of images, by interval bound propagation.

Legend: N images, B images of a batch, H W C pixels, D features before the last product, K classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from safeml import framework
from safeml.certification.network import Network

# An attack computes pixels in float32: epsilon and the sum are each rounded by at most 2^-25 where pixels are at most 1.
PIXEL_ROUNDING = 2.0**-24


@dataclass(frozen=True, eq=False)
class Outgoing:
    """Bounds of the features over the boxes of M images, and the linear map from features to logits.

    network: supplies the linear map.
    lower: float64 [M, D], 0 where not held.
    upper: float64 [M, D], 0 where not held.
    held: bool [M], all values stay in the range in which float32 rounding is bounded.
    """

    network: Network
    lower: np.ndarray
    upper: np.ndarray
    held: np.ndarray

    @property
    def rounding(self) -> np.ndarray:
        """Bound the float32 rounding error of each logit: float64 [M, K]."""
        from safeml.certification.interval import TINY, rounding

        size = np.maximum(np.abs(self.lower), np.abs(self.upper))
        weights, bias = np.abs(self.network.weights), np.abs(self.network.bias)
        # Two more terms for the sums after the product.
        error: np.ndarray = rounding(len(weights) + 2) * (size @ weights + bias) + TINY
        return error

    def logits(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the lower and upper bound of each logit, float64 [M, K]; infinite where not held."""
        network = self.network
        middle = (self.lower + self.upper) / 2 @ network.weights + network.bias
        spread = (self.upper - self.lower) / 2 @ np.abs(network.weights) + self.rounding
        spread[~self.held] = np.inf
        return middle - spread, middle + spread

    def least_margins(self, labels: np.ndarray) -> np.ndarray:
        """Bound the logit of the label minus the largest other logit from below: float64 [M], -inf where not held.

        Each difference of two logits is bounded as one product, so that common terms cancel.

        labels: int [M].
        """
        weights, bias, rounding = self.network.weights, self.network.bias, self.rounding
        centre, radius = (self.lower + self.upper) / 2, (self.upper - self.lower) / 2
        least = np.full(len(labels), -np.inf)
        for label in np.unique(labels[self.held]):
            rows = self.held & (labels == label)
            difference = weights[:, [label]] - weights
            margins = centre[rows] @ difference - radius[rows] @ np.abs(difference) + (bias[label] - bias)
            margins -= rounding[rows][:, [label]] + rounding[rows]
            margins[:, label] = np.inf
            least[rows] = margins.min(axis=1)
        return least


class Propagation:
    """One network, compiled once, for batches of one fixed size."""

    def __init__(self, network: Network, shape: tuple[int, ...]) -> None:
        import tensorflow as tf

        self.network = network
        ends = tf.TensorSpec([network.images, *shape], tf.float64)
        propagate = tf.function(lambda *box: _propagate(network, *box), autograph=False)
        # A concrete function: TensorFlow would warn of retracing if each model made a new function.
        self._propagate = propagate.get_concrete_function(ends, ends)

    def __call__(self, images: np.ndarray, epsilons: np.ndarray) -> Outgoing:
        """images: float32 [M, H, W, C], 0..1, at most as many as the network takes at a time. epsilons: float64 [M]."""
        import tensorflow as tf

        count, batch = len(images), self.network.images
        centres = np.resize(images, (batch, *images.shape[1:])).astype(np.float64)
        reach = np.resize(epsilons, batch)[:, None, None, None] + PIXEL_ROUNDING
        box = np.maximum(centres - reach, 0.0), np.minimum(centres + reach, 1.0)
        with framework.memory_errors():
            lower, upper, held = (
                part.numpy()[:count] for part in self._propagate(*(tf.constant(end) for end in box))
            )
        usable = held[:, None]
        return Outgoing(self.network, np.where(usable, lower, 0.0), np.where(usable, upper, 0.0), held)


def _propagate(network: Network, lower: Any, upper: Any) -> tuple[Any, Any, Any]:
    """float64 [B, H, W, C] bounds of the pixels -> [B, D] bounds of the features, and bool [B]: held."""
    import tensorflow as tf

    from safeml.certification.interval import LARGEST, Interval
    from safeml.certification.rules import NEVER_LARGER, RULES

    intervals = {**network.constants, network.pixels: Interval(lower, upper, varies=True)}
    held = tf.fill([network.images], True)
    for operation in network.operations:
        inputs = [intervals[tensor.name] for tensor in operation.inputs if not tensor.dtype.is_integer]
        interval = RULES[operation.type](operation, inputs, network.images)
        intervals[operation.outputs[0].name] = interval
        if operation.type not in NEVER_LARGER:
            # Compare both ends, so that NaN fails: a later ReLU could turn NaN into 0.
            inside = (interval.lower >= -LARGEST) & (interval.upper <= LARGEST)
            held &= tf.reduce_all(tf.reshape(inside, [network.images, -1]), axis=1)
    features = intervals[network.features]
    rows = [network.images, -1]
    return tf.reshape(features.lower, rows), tf.reshape(features.upper, rows), held
