"""Adversarial training: each batch is attacked with the current weights, and the model trains on the attacked images.

References:
    A. Madry et al., "Towards deep learning models resistant to adversarial attacks", 2018 (PGD training).
    E. Wong, L. Rice, J. Z. Kolter, "Fast is better than free: revisiting adversarial training", 2020 (FGSM-RS).

Legend: B images in a batch, H W C pixels, K classes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from safeml.attacks.norms import NORMS
from safeml.config.recipe import AdversarialTrainingSettings
from safeml.data.dataset import ImageDataset
from safeml.training.feed import PLAIN, Feed

START = 3  # purpose of the seed, beside those of the order and of the augmentation
Perturb = Callable[[Any, Any, Any], Any]


def attacked_training(
    model: keras.Model, settings: AdversarialTrainingSettings, seed: int, feed: Feed = PLAIN
) -> None:
    """Make `model.fit` train on attacked images. The class of the model, and so its file, does not change.

    The random start of a step depends only on (seed, step). The attack uses the model in inference mode, as an
    adversary does: without updates of statistics and without dropout.
    """
    perturb = perturbation(model, settings, feed)

    def train_step(data: Any) -> Any:
        images, labels, weights = data
        counter = tf.cast(model.optimizer.iterations, tf.int64) * 16 + START
        attacked = perturb(images, labels, tf.stack([tf.constant(seed, tf.int64), counter]))
        return type(model).train_step(model, (feed.images(attacked), feed.labels(labels), weights))

    model.train_step = train_step


def perturbation(model: keras.Model, settings: AdversarialTrainingSettings, feed: Feed = PLAIN) -> Perturb:
    """Return a function (images [B, H, W, C] in 0..1, one-hot labels [B, K], seed int64 [2]) -> attacked images.

    The result is in the ball and in 0..1.
    """
    norm = NORMS[settings.norm]
    steps = 1 if settings.method == "fgsm_rs" else settings.steps
    usual = 1.25 * settings.epsilon if settings.method == "fgsm_rs" else 2.5 * settings.epsilon / steps
    size = usual if settings.step_size is None else settings.step_size
    epsilon = settings.epsilon

    def inside(clean: Any, change: Any) -> Any:
        return tf.clip_by_value(clean + norm.project(change, epsilon), 0.0, 1.0)

    def perturb(images: Any, labels: Any, seed: Any) -> Any:
        noise = tf.random.stateless_uniform(tf.shape(images), seed, -1.0, 1.0)
        attacked = inside(
            images, epsilon * norm.normalise(noise) if settings.norm == "l2" else epsilon * noise
        )
        for _ in range(steps):
            with tf.GradientTape() as tape:
                tape.watch(attacked)
                outputs = model(feed.images(attacked), training=False)
                loss = feed.loss(feed.labels(labels), outputs)
            gradient = tape.gradient(loss, attacked)
            attacked = inside(images, attacked - images + size * norm.normalise(gradient))
        return tf.stop_gradient(attacked)

    return perturb


class RobustValidation(keras.callbacks.Callback):
    """A callback that adds `val_robust_accuracy` to the logs: accuracy under PGD on some of the validation images.

    It is weaker than the attacks of the audit. The images are the same after every epoch.
    """

    def __init__(
        self,
        settings: AdversarialTrainingSettings,
        valid: ImageDataset,
        batch: int,
        seed: int,
        feed: Feed = PLAIN,
    ):
        super().__init__()
        self.feed = feed
        chosen = valid.sample(settings.validation_images, seed)
        self.images = chosen.images
        self.labels = keras.utils.to_categorical(chosen.labels, chosen.classes)
        self.batch = batch
        self.seed = seed
        self.pgd = settings.model_copy(
            update={"method": "pgd", "steps": settings.validation_steps, "step_size": None}
        )
        self._correct: Any = None

    def set_model(self, model: keras.Model) -> None:
        super().set_model(model)
        perturb, feed = perturbation(model, self.pgd, self.feed), self.feed

        def correct(images: Any, labels: Any, seed: Any) -> Any:
            outputs = model(feed.images(perturb(images, labels, seed)), training=False)
            return tf.argmax(outputs, axis=1) == tf.argmax(feed.labels(labels), axis=1)

        self._correct = tf.function(correct, autograph=False, reduce_retracing=True)

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        if logs is not None:
            logs["val_robust_accuracy"] = self.accuracy()

    def accuracy(self) -> float:
        """Return the share of the images that the model still classifies correctly under the attack, 0..1."""
        correct = []
        for start in range(0, len(self.images), self.batch):
            rows = slice(start, start + self.batch)
            images = tf.cast(self.images[rows], tf.float32) / 255.0
            seed = tf.constant([self.seed, start], tf.int64)
            correct.append(self._correct(images, self.labels[rows], seed).numpy())
        return float(np.concatenate(correct).mean())
