"""Batches of one epoch. Order and augmentation of an epoch depend only on (seed, epoch).

Legend: N images, B images in a batch, H W C pixels, K classes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from safeml.config.recipe import FitSettings
from safeml.data.dataset import ImageDataset
from safeml.training.augment import DRAWS, augment

ORDER, AUGMENT = 1, 2
# For the functions of a `tf.data.Dataset`: AutoGraph would rewrite their source, which takes seconds and changes nothing.
as_written: Callable[..., Any] = tf.autograph.experimental.do_not_convert


def steps_per_epoch(data: ImageDataset, recipe: FitSettings) -> int:
    return -(-len(data) // recipe.batch)


def training_batches(data: ImageDataset, recipe: FitSettings, first: int) -> tf.data.Dataset:
    """Return batches of endless epochs from epoch `first` (from 0): (images [B, H, W, C], one-hot labels or targets, weights [B]).

    The last batch of an epoch may be smaller; an epoch has `steps_per_epoch` batches.
    """
    prepare = _prepare(data)
    weights = tf.constant(class_weights(data, recipe), tf.float32)
    classes = tf.constant(data.labels)
    order = _order(data, recipe)

    @as_written
    def epoch_of(epoch: Any) -> tf.data.Dataset:
        draws = tf.random.stateless_uniform(
            [len(data), DRAWS], seed=_seed(recipe.seed, epoch, AUGMENT), minval=-1.0, maxval=1.0
        )
        return tf.data.Dataset.from_tensor_slices((order(epoch), draws)).batch(recipe.batch)

    @as_written
    def load(rows: Any, draws: Any) -> tuple[Any, Any, Any]:
        images, labels = prepare(rows)
        own = tf.gather(weights, tf.gather(classes, rows))
        return augment(images, draws, recipe.augment), labels, own

    # Deterministic: the order does not depend on the threads.
    batches = tf.data.Dataset.range(first, recipe.epochs).flat_map(epoch_of)
    return batches.map(load, num_parallel_calls=2, deterministic=True).prefetch(2)


def validation_batches(data: ImageDataset, batch: int) -> tf.data.Dataset:
    """Return all images once, in order, without augmentation."""
    return tf.data.Dataset.range(len(data)).batch(batch).map(_prepare(data)).prefetch(2)


def class_weights(data: ImageDataset, recipe: FitSettings) -> np.ndarray:
    """Return the loss weights of the classes, float64 [K], mean 1 over the images; inverse to class size if configured."""
    if recipe.balance != "class_weights":
        return np.ones(data.classes)
    counts = np.bincount(data.labels, minlength=data.classes)
    present = counts > 0
    return np.divide(len(data), present.sum() * counts, out=np.zeros(data.classes), where=present)


def _order(data: ImageDataset, recipe: FitSettings) -> Callable[[Any], Any]:
    """Return a function epoch -> order of the images, int64 [N]."""
    if recipe.balance != "sampling":
        return lambda epoch: tf.random.experimental.stateless_shuffle(
            tf.range(len(data), dtype=tf.int64), seed=_seed(recipe.seed, epoch, ORDER)
        )
    counts = np.bincount(data.labels, minlength=data.classes)
    chances = tf.constant(-np.log(counts[data.labels])[None], tf.float32)
    return lambda epoch: tf.random.stateless_categorical(
        chances, len(data), seed=_seed(recipe.seed, epoch, ORDER)
    )[0]


def _seed(seed: int, epoch: Any, purpose: int) -> Any:
    return tf.stack([tf.constant(seed, tf.int64), tf.cast(epoch, tf.int64) * 16 + purpose])


def _prepare(data: ImageDataset) -> Callable[[Any], tuple[Any, Any]]:
    """Return a function rows [B] -> (float32 images in 0..1, one-hot labels, or the targets of a regression)."""
    pixels, labels = tf.constant(data.images), tf.constant(data.truths)

    @as_written
    def prepare(rows: Any) -> tuple[Any, Any]:
        images = tf.cast(tf.gather(pixels, rows), tf.float32) / 255.0
        if data.targets is not None:
            return images, tf.gather(labels, rows)
        return images, tf.one_hot(tf.gather(labels, rows), data.classes)

    return prepare
