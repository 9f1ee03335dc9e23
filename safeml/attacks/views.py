"""Views of the classifier for attacks, where its own gradient is not usable.

The audit always predicts again with the classifier itself: a view only guides an attack.

References:
    A. Athalye, N. Carlini, D. Wagner, "Obfuscated gradients give a false sense of security", 2018 (BPDA, and the
        expectation over randomness).
    Y. Bengio, N. Leonard, A. Courville, "Estimating or propagating gradients through stochastic neurons", 2013
        (straight-through).

Legend: N images, H W C pixels, K classes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

WIDTH = 2 / 255
DRAWS = 8  # answers that an expectation is taken over
# Operations whose gradient is zero or nothing almost everywhere; what they do is near to doing nothing.
STEPS = ("Round", "Rint", "Floor", "Ceil", "Trunc")
THRESHOLDS = ("Sign",)


@dataclass(frozen=True, eq=False)
class View:
    """A classifier for the attack engine alone. classes: K. logits: float32 [N, H, W, C] in 0..1 -> float32 [N, K]."""

    classes: int
    logits: Callable[[Any], Any]
    predict_logits: Callable[[np.ndarray], np.ndarray]


def straight_through(classifier: Any) -> View:
    """Rounding and signs as they are going forward, and as if they were smooth going back (BPDA).

    Reaches operations of the graph itself. One inside a compiled function of a SavedModel, or a comparison turned into
    numbers, has no gradient here either: then only attacks by queries remain.
    """
    import tensorflow as tf

    _register()
    smooth = dict.fromkeys(STEPS, "SafemlIdentity")
    smooth |= dict.fromkeys(THRESHOLDS, "SafemlSoftsign")

    def logits(pixels: Any) -> Any:
        graph = tf.compat.v1.get_default_graph()
        with graph.gradient_override_map(smooth):
            return classifier.logits(pixels)

    return View(classifier.classes, logits, classifier.predict_logits)


def expectation(classifier: Any, draws: int = DRAWS) -> View:
    """Return the mean over several predictions, for a random classifier (EOT)."""
    import tensorflow as tf

    def logits(pixels: Any) -> Any:
        return tf.add_n([classifier.logits(pixels) for _ in range(draws)]) / np.float32(draws)

    return View(classifier.classes, logits, classifier.predict_logits)


def smoothed(classifier: Any, draws: int = 2 * DRAWS, width: float = WIDTH) -> View:
    """Return the mean over small changes of all pixels, for a rough loss surface; the changes are the same for every image.

    width: largest change of a pixel, in pixel units of 0..1.
    """
    import tensorflow as tf

    def logits(pixels: Any) -> Any:
        shape = [1, *pixels.shape[1:]]
        noises = [tf.random.stateless_uniform(shape, [draw, 0], -width, width) for draw in range(draws)]
        return tf.add_n([classifier.logits(pixels + noise) for noise in noises]) / np.float32(draws)

    return View(classifier.classes, logits, classifier.predict_logits)


def answers_alone(classifier: Any) -> View:
    """Wrap a model without a gradient for attacks by queries, called from inside the graph."""
    import tensorflow as tf

    def logits(pixels: Any) -> Any:
        answers = tf.numpy_function(
            lambda images: np.asarray(classifier.predict_logits(images), np.float32), [pixels], tf.float32
        )
        return tf.ensure_shape(answers, [None, classifier.classes])

    return View(classifier.classes, logits, classifier.predict_logits)


@cache
def _register() -> None:
    """TensorFlow takes a gradient of one name once in a process."""
    import tensorflow as tf

    def identity(operation: Any, upstream: Any) -> Any:
        return upstream

    def softsign(operation: Any, upstream: Any) -> Any:
        """Of x / (s + |x|), s the mean size of x: it fades away from the threshold and vanishes nowhere."""
        value = tf.abs(operation.inputs[0])
        scale = tf.reduce_mean(value) + np.float32(1e-12)
        return upstream * tf.square(scale / (scale + value)) / scale

    tf.RegisterGradient("SafemlIdentity")(identity)
    tf.RegisterGradient("SafemlSoftsign")(softsign)
