"""Grad-CAM. Legend: N images, H W pixels, H' W' D feature maps.

Reference: R. Selvaraju et al., "Grad-CAM: visual explanations from deep networks via gradient-based localization", 2017.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from safeml import framework
from safeml.classifiers.batches import until_it_fits
from safeml.explainers.base import Effort, NotApplicable

if TYPE_CHECKING:
    from safeml.classifiers.base import Classifier, FeatureMaps


def grad_cam(
    classifier: Classifier, images: np.ndarray, classes: np.ndarray, ids: np.ndarray, effort: Effort
) -> np.ndarray:
    """Return the positive part of the feature maps, each weighted by its mean gradient, at the size of the image; see `Explainer`.

    The maps are scaled bilinearly. Their resolution is that of the last convolution, often a few pixels.
    """
    maps: FeatureMaps | None = getattr(classifier, "feature_maps", None)
    if maps is None:
        raise NotApplicable("the model has no feature maps of a convolution")
    done: list[np.ndarray] = []
    start = 0
    while start < len(images):
        done.append(until_it_fits(effort.batch, partial(_batch, maps, images[start:], classes[start:])))
        start += len(done[-1])
    return np.concatenate(done)


def _batch(maps: FeatureMaps, images: np.ndarray, classes: np.ndarray, size: int) -> np.ndarray:
    """Return the maps of the first `size` images. Every batch is padded to one shape, so that it compiles once."""
    import tensorflow as tf

    part = images[:size]
    padding = size - len(part)
    pixels = np.concatenate([part, np.zeros((padding, *images.shape[1:]), np.float32)])
    labels = np.concatenate([classes[:size], np.zeros(padding, np.int64)])
    with framework.memory_errors(), framework.expected_tracing():
        values, gradient = maps.gradient(tf.constant(pixels), tf.constant(labels, tf.int32))
        weights = tf.reduce_mean(gradient, axis=[1, 2], keepdims=True)
        cam = tf.nn.relu(tf.reduce_sum(weights * values, axis=3, keepdims=True))
        scaled = tf.image.resize(cam, images.shape[1:3], method="bilinear")
    whole: np.ndarray = scaled.numpy()[: len(part), :, :, 0]
    return whole
