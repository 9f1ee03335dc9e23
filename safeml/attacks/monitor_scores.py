"""The scores of run-time monitors as TensorFlow graphs, for an adversary who knows the monitor.

Each computes what the function of the same name in `safeml.monitors` computes, in float64, and has a gradient. All scores of the
registry have one. The distance of a buffer has none: it depends on many frames, and an attack here changes one.

Legend: N images, K classes, F features, D features after the reduction.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from safeml.monitors.feature_scores import CANDIDATES, NEIGHBOURS

Arrays = Mapping[str, np.ndarray]
Score = Callable[[Arrays, Any, Any], Any]
# Below the root of a squared length: the slope of a root at 0 is infinite.
LEAST_SQUARE = 1e-14


def score(name: str, arrays: Arrays, logits: Any, features: Any) -> Any:
    """Return the score `name` of `safeml.monitors.registry`, tf.Tensor float64 [N]; higher means more trust.

    arrays: of the fitted monitor.
    logits: tf.Tensor float [N, K]. features: tf.Tensor float [N, F]; None for a score of logits.
    """
    import tensorflow as tf

    rows = None if features is None else tf.cast(features, tf.float64)
    return TWINS[name](arrays, tf.cast(logits, tf.float64), rows)


def needs_features(name: str) -> bool:
    """Return whether the score `name` reads features."""
    return name in ("mahalanobis", "relative_mahalanobis", "neighbours", "vim")


def _max_probability(arrays: Arrays, logits: Any, features: Any) -> Any:
    import tensorflow as tf

    return tf.reduce_max(logits, axis=1) - tf.reduce_logsumexp(_others(logits), axis=1)


def _max_logit(arrays: Arrays, logits: Any, features: Any) -> Any:
    import tensorflow as tf

    return tf.reduce_max(logits, axis=1)


def _energy(arrays: Arrays, logits: Any, features: Any) -> Any:
    import tensorflow as tf

    return tf.reduce_logsumexp(logits, axis=1)


def _entropy(arrays: Arrays, logits: Any, features: Any) -> Any:
    import tensorflow as tf

    top = tf.reduce_max(logits, axis=1, keepdims=True)
    mass = tf.math.log1p(tf.reduce_sum(tf.exp(_others(logits) - top), axis=1, keepdims=True))
    logs = logits - top - mass
    return tf.reduce_sum(tf.exp(logs) * logs, axis=1)


def _mahalanobis(arrays: Arrays, logits: Any, features: Any) -> Any:
    import tensorflow as tf

    return -tf.reduce_min(_class_distances(arrays, _reduced(arrays, features)), axis=1)


def _relative_mahalanobis(arrays: Arrays, logits: Any, features: Any) -> Any:
    import tensorflow as tf

    rows = _reduced(arrays, features)
    whitened = (rows - _double(arrays["mean"])) @ _double(arrays["whitening"])
    return tf.reduce_sum(whitened**2, axis=1) - tf.reduce_min(_class_distances(arrays, rows), axis=1)


def _neighbours(arrays: Arrays, logits: Any, features: Any) -> Any:
    import tensorflow as tf

    bank, size = _double(arrays["coreset"]), len(arrays["coreset"])
    nearest, few = min(NEIGHBOURS, size), min(CANDIDATES, size)
    rows = _reduced(arrays, features)
    squares = tf.reduce_sum(rows**2, axis=1, keepdims=True)
    rows = rows / tf.sqrt(tf.maximum(squares, np.finfo(np.float64).tiny))
    places = tf.math.top_k(rows @ tf.transpose(bank), few).indices
    distances = tf.reduce_sum((rows[:, None] - tf.gather(bank, places)) ** 2, axis=2)
    return -_root(-tf.math.top_k(-distances, nearest).values[:, -1])


def _vim(arrays: Arrays, logits: Any, features: Any) -> Any:
    centred = features - _double(arrays["vim_origin"])
    return _energy(arrays, logits, features) - float(arrays["vim_scale"][0]) * _rest(
        centred, _double(arrays["vim_basis"])
    )


TWINS: dict[str, Score] = {
    "max_probability": _max_probability,
    "max_logit": _max_logit,
    "energy": _energy,
    "entropy": _entropy,
    "mahalanobis": _mahalanobis,
    "relative_mahalanobis": _relative_mahalanobis,
    "neighbours": _neighbours,
    "vim": _vim,
}


def _others(logits: Any) -> Any:
    """Return the logits with the largest of each row at minus infinity, float64 [N, K]."""
    import tensorflow as tf

    top = tf.one_hot(tf.argmax(logits, axis=1), logits.shape[1], on_value=True, off_value=False)
    return tf.where(top, tf.constant(-np.inf, tf.float64), logits)


def _reduced(arrays: Arrays, features: Any) -> Any:
    """Return the features, or their projection and the length of the rest, float64 [N, D]."""
    import tensorflow as tf

    if "basis" not in arrays:
        return features
    centred = features - _double(arrays["origin"])
    basis = _double(arrays["basis"])
    return tf.concat([centred @ basis, _rest(centred, basis)[:, None]], axis=1)


def _class_distances(arrays: Arrays, rows: Any) -> Any:
    """Return the squared distance to each class that has a mean, float64 [N, at most K]."""
    import tensorflow as tf

    inside = (rows - _double(arrays["mean"])) @ _double(arrays["class_whitening"])
    centres = _double(arrays["class_means"][np.asarray(arrays["known"], bool)])
    squares = tf.reduce_sum(inside**2, axis=1, keepdims=True) - 2 * inside @ tf.transpose(centres)
    return tf.maximum(squares + tf.reduce_sum(centres**2, axis=1), 0.0)


def _rest(centred: Any, basis: Any) -> Any:
    """Return the length of what the basis leaves of each row, float64 [N]."""
    import tensorflow as tf

    return _root(tf.reduce_sum(centred**2, axis=1) - tf.reduce_sum((centred @ basis) ** 2, axis=1))


def _root(squares: Any) -> Any:
    import tensorflow as tf

    return tf.sqrt(tf.maximum(squares, LEAST_SQUARE))


def _double(values: np.ndarray) -> Any:
    import tensorflow as tf

    return tf.constant(np.asarray(values, np.float64))
