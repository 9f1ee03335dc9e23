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
from typing import Any

import numpy as np

from safeml import framework
from safeml.classifiers.judged import width_of
from safeml.classifiers.stoppers import IDENTITY, SOFTSIGN, register_gradients

WIDTH = 2 / 255
DRAWS = 8  # outputs that an expectation averages
# Operations whose gradient is zero or none; what they do is close to the identity.
STEPS = ("Round", "Rint", "Floor", "Ceil", "StopGradient", "PreventGradient")


@dataclass(frozen=True, eq=False)
class View:
    """A classifier for the attack engine alone.

    classes: K.
    logits: tf.Tensor float32 [N, H, W, C], 0..1 -> tf.Tensor float32 [N, K].
    predict_logits: of the classifier itself, float32 [N, H, W, C], 0..1 -> float32 [N, K].
    deployed_logits: of an exported file, as `logits` but without a gradient; None where the logits are the classifier's own.
    broken: (logits, labels int32 [N]) -> bool [N], which images the attack has reached its aim on; None for the misclassified ones.
    judge, judge_arrays, outputs: of a regression model, see `Judged`: what the logits are made of, which are its values then.
    """

    classes: int
    logits: Callable[[Any], Any]
    predict_logits: Callable[[np.ndarray], np.ndarray]
    deployed_logits: Callable[[Any], Any] | None = None
    broken: Callable[[Any, Any], Any] | None = None
    judge: Callable[[Any, Any], tuple[Any, Any]] | None = None
    judge_arrays: Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]] | None = None
    outputs: int = 0

    @property
    def width(self) -> int:
        """Return how many values `logits` gives for an image."""
        return self.outputs or self.classes

    @classmethod
    def of(cls, classifier: Any, logits: Callable[[Any], Any]) -> View:
        """Return a view of `classifier` with other logits."""
        return cls(
            classifier.classes,
            logits,
            classifier.predict_logits,
            getattr(classifier, "deployed_logits", None),
            judge=getattr(classifier, "judge", None),
            judge_arrays=getattr(classifier, "judge_arrays", None),
            outputs=width_of(classifier),
        )


def straight_through(classifier: Any) -> View:
    """Pass gradients straight through operations that have none (BPDA); the values stay those of the model.

    A Keras model or a SavedModel is rewritten in its frozen graph: rounding, signs, stopped gradients, and conversions through
    integers, comparisons and ArgMax. Of any other classifier, the operations in `STEPS` and Sign pass.
    """
    import tensorflow as tf

    through = getattr(classifier, "logits_straight_through", None)
    if through is not None:
        return View.of(classifier, through)
    register_gradients()
    smooth = {**dict.fromkeys(STEPS, IDENTITY), "Sign": SOFTSIGN}

    def logits(pixels: Any) -> Any:
        graph = tf.compat.v1.get_default_graph()
        with graph.gradient_override_map(smooth):
            return classifier.logits(pixels)

    return View.of(classifier, logits)


def expectation(classifier: Any, draws: int = DRAWS) -> View:
    """Return the mean over several predictions, for a random classifier (EOT)."""
    import tensorflow as tf

    once = framework.apart(classifier.logits)

    def logits(pixels: Any) -> Any:
        return tf.add_n([once(pixels) for _ in range(draws)]) / np.float32(draws)

    return View.of(classifier, logits)


def smoothed(classifier: Any, draws: int = 2 * DRAWS, width: float = WIDTH) -> View:
    """Return the mean over small changes of all pixels, for a rough loss surface; the changes are the same for every image.

    width: largest change of a pixel, in pixel units of 0..1.
    """
    import tensorflow as tf

    once = framework.apart(classifier.logits)

    def logits(pixels: Any) -> Any:
        shape = [1, *pixels.shape[1:]]
        noises = [tf.random.stateless_uniform(shape, [draw, 0], -width, width) for draw in range(draws)]
        return tf.add_n([once(pixels + noise) for noise in noises]) / np.float32(draws)

    return View.of(classifier, logits)


def answers_alone(classifier: Any) -> View:
    """Wrap a model without a gradient for attacks by queries, called from inside the graph."""
    import tensorflow as tf

    def logits(pixels: Any) -> Any:
        answers = tf.numpy_function(
            lambda images: np.asarray(classifier.predict_logits(images), np.float32), [pixels], tf.float32
        )
        return tf.ensure_shape(answers, [None, width_of(classifier)])

    return View.of(classifier, logits)
