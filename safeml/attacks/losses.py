"""Losses that an attack maximises: the larger the loss, the nearer the image is to misclassification. Legend: B images, K classes.

Each takes logits [B, K], labels int32 [B] and targets int32 [B] (only the targeted loss uses them), and gives [B].
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Loss = Callable[[Any, Any, Any], Any]


def log_odds(logits: Any, labels: Any, targets: Any) -> Any:
    """Log-odds of misclassification: logsumexp of the incorrect logits minus the true logit.

    The cross entropy is softplus(log-odds), so both have the same maximisers, and their gradients the same direction. The
    gradient of the cross entropy is that of the log-odds times the probability of misclassification, which rounds to 0 in
    float32 where the true logit leads by more than about 17, and underflows beyond about 87. The factor of the log-odds is 1.
    """
    import tensorflow as tf

    return tf.reduce_logsumexp(_without(logits, labels), axis=1) - _of(logits, labels)


def margin(logits: Any, labels: Any, targets: Any) -> Any:
    """Largest incorrect logit minus the true one: positive where the image is misclassified."""
    import tensorflow as tf

    true = _of(logits, labels)
    return tf.reduce_max(_without(logits, labels), axis=1) - true


def probability_margin(logits: Any, labels: Any, targets: Any) -> Any:
    """Margin of probabilities, as log(1 + largest incorrect probability - true probability): 0 where the two are equal.

    X. Ma et al., "Towards million-scale adversarial robustness evaluation with stronger individual attacks", 2024 (PMA). The
    margin itself rounds to -1 in float32 where the softmax saturates, and its gradient to 0. The logarithm has the same
    maximisers and gradients of the same direction: 1 - true probability is the sum of the incorrect ones, so it is a
    difference of two logsumexp, in the first of which the largest incorrect logit counts twice.
    """
    import tensorflow as tf

    incorrect = _without(logits, labels)
    largest = tf.reduce_max(incorrect, axis=1, keepdims=True)
    twice = tf.reduce_logsumexp(tf.concat([incorrect, largest], axis=1), axis=1)
    return twice - tf.reduce_logsumexp(logits, axis=1)


def difference_of_logits_ratio(logits: Any, labels: Any, targets: Any) -> Any:
    """The margin in units of the gap between the largest and the third largest logit; with two classes, the margin.

    F. Croce, M. Hein, "Reliable evaluation of adversarial robustness with an ensemble of diverse parameter-free
    attacks", 2020 (DLR): no scaling of the logits changes it.
    """
    import tensorflow as tf

    if logits.shape[1] < 3:
        return margin(logits, labels, targets)
    top = tf.math.top_k(logits, 3).values
    return tf.math.divide_no_nan(margin(logits, labels, targets), top[:, 0] - top[:, 2])


def targeted_difference_of_logits_ratio(logits: Any, labels: Any, targets: Any) -> Any:
    """As above, towards one incorrect class (targeted DLR, same source); with fewer than four classes, the plain difference."""
    import tensorflow as tf

    difference = _of(logits, targets) - _of(logits, labels)
    if logits.shape[1] < 4:
        return difference
    top = tf.math.top_k(logits, 4).values
    return tf.math.divide_no_nan(difference, top[:, 0] - 0.5 * (top[:, 2] + top[:, 3]))


def target_logit(logits: Any, labels: Any, targets: Any) -> Any:
    """The logit of the target alone: of a judged regression model how far the value is above, or below, its tolerance."""
    return _of(logits, targets)


def _of(logits: Any, classes: Any) -> Any:
    import tensorflow as tf

    return tf.gather(logits, classes, axis=1, batch_dims=1)


def _without(logits: Any, labels: Any) -> Any:
    """The logits, with that of the true class at minus infinity."""
    import tensorflow as tf

    return logits - tf.one_hot(labels, logits.shape[1], on_value=logits.dtype.max / 4, off_value=0.0)
