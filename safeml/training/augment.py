"""Label-preserving random augmentation. A mirrored sign is another sign, so there is no flip.

A new change is a setting in `safeml/config/recipe.py`, one more draw here, and its name in
`safeml/audits/training/recipe.py`. Every change depends on the image and its random numbers, which come from (seed, epoch,
image) alone: an image of an epoch is the same whatever the batch, the thread or the point of resumption.
Legend: B images, H W C pixels.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from safeml.config.recipe import AugmentSettings

DRAWS = 7
BLUR_RADIUS = 2


def augment(images: Any, draws: Any, settings: AugmentSettings) -> Any:
    """Augment images; pixels outside the image repeat the edge.

    images: float32 [B, H, W, C], 0..1.
    draws: float32 [B, DRAWS], uniform in -1..1.
    """
    shift_x, shift_y, turn, zoom, contrast, brightness, blur = tf.unstack(draws, axis=1)
    images = _moved(
        images,
        shift_x * settings.shift,
        shift_y * settings.shift,
        turn * (settings.rotation_degrees * 3.141592653589793 / 180),
        1.0 + zoom * settings.zoom,
    )
    if settings.blur_sigma:
        images = _blurred(
            images, tf.maximum(blur, 0.0) * settings.blur_sigma
        )  # every second image stays sharp
    mean = tf.reduce_mean(images, axis=[1, 2, 3], keepdims=True)
    images = (images - mean) * _each(1.0 + contrast * settings.contrast) + mean
    return tf.clip_by_value(images + _each(brightness * settings.brightness), 0.0, 1.0)


def _moved(images: Any, shift_x: Any, shift_y: Any, angle: Any, zoom: Any) -> Any:
    """Rotate and zoom about the centre, then shift by shares of the size, in one resampling."""
    height, width = images.shape[1:3]
    centre_x, centre_y = (width - 1) / 2, (height - 1) / 2
    cosine, sine = tf.cos(angle) / zoom, tf.sin(angle) / zoom
    to_x, to_y = centre_x + shift_x * width, centre_y + shift_y * height
    # Source position of each output pixel (x, y): (a x + b y + c, d x + e y + f).
    transforms = tf.stack(
        [
            cosine,
            -sine,
            centre_x - cosine * to_x + sine * to_y,
            sine,
            cosine,
            centre_y - sine * to_x - cosine * to_y,
            tf.zeros_like(angle),
            tf.zeros_like(angle),
        ],
        axis=1,
    )
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=images,
        transforms=transforms,
        output_shape=[height, width],
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode="NEAREST",
    )


def _blurred(images: Any, sigma: Any) -> Any:
    """Blur with a Gaussian of `sigma` pixels (float32 [B]), truncated at two pixels, along rows and then columns."""
    offsets = tf.range(-BLUR_RADIUS, BLUR_RADIUS + 1, dtype=tf.float32)
    weights = tf.exp(-tf.square(offsets) / (2.0 * tf.square(tf.maximum(sigma, 1e-3))[:, None]))
    weights = weights / tf.reduce_sum(weights, axis=1, keepdims=True)
    for axis in (1, 2):
        size = images.shape[axis]
        around = [[BLUR_RADIUS, BLUR_RADIUS] if at == axis else [0, 0] for at in range(4)]
        padded = tf.pad(images, around, "SYMMETRIC")
        parts = [
            _each(weights[:, k]) * tf.gather(padded, tf.range(k, k + size), axis=axis)
            for k in range(2 * BLUR_RADIUS + 1)
        ]
        images = tf.add_n(parts)
    return images


def _each(values: Any) -> Any:
    """Reshape [B] to [B, 1, 1, 1]."""
    return tf.reshape(values, [-1, 1, 1, 1])
