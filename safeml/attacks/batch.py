"""How many images at a time a machine attacks fastest. Legend: N images, H W C pixels."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from safeml import framework
from safeml.attacks.targets import given_type
from safeml.classifiers.base import DifferentiableClassifier
from safeml.classifiers.judged import judge_of

SIZES = (32, 64, 128, 256)
REPEATS = 2
WORTH_IT = 1.05  # a larger batch must be this much faster: its last survivors cost more


def fastest_batch(classifier: DifferentiableClassifier, images: np.ndarray, labels: np.ndarray) -> int:
    """Return the batch size with the most gradients per second, of a few; images: uint8 [N, H, W, C], labels: int [N].

    A batch that does not fit into memory ends the search.
    """
    gradient = _gradient(classifier)
    best, best_rate = SIZES[0], 0.0
    for size in SIZES:
        rows = np.resize(np.arange(len(images)), size)
        pixels = images[rows].astype(np.float32) / np.float32(255)
        try:
            with framework.memory_errors():
                seconds = min(
                    _timed(gradient, pixels, labels[rows].astype(given_type(labels)))
                    for _ in range(REPEATS + 1)
                )
        except MemoryError:
            break
        if size / seconds > WORTH_IT * best_rate:
            best, best_rate = size, size / seconds
    return best


def _timed(gradient: Any, pixels: np.ndarray, labels: np.ndarray) -> float:
    began = time.perf_counter()
    gradient(pixels, labels).numpy()
    return time.perf_counter() - began


def _gradient(classifier: DifferentiableClassifier) -> Any:
    import tensorflow as tf

    judge = judge_of(classifier)

    def gradient(pixels: Any, truths: Any) -> Any:
        logits, labels = judge(classifier.logits(pixels), truths)
        loss = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
        return tf.gradients(tf.reduce_sum(loss), [pixels], unconnected_gradients="zero")[0]

    return tf.function(gradient, autograph=False, reduce_retracing=True)
