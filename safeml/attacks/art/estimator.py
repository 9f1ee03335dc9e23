"""A classifier as ART wants it: compiled, counted, and with the deadline inside.

Legend: N images, H W C pixels, K classes.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, Literal, NamedTuple

import numpy as np

from safeml.attacks.art.budget import Watch
from safeml.attacks.art.surroundings import home_elsewhere
from safeml.classifiers.base import DifferentiableClassifier, deployed_logits_of

Outputs = Literal["logits", "probabilities", "margins"]
# A gradient for each class repeats an image K times; this many images are asked at once.
MOST_AT_ONCE = 256
TEMPERATURE = 10.0


def breadth_estimator(
    classifier: DifferentiableClassifier,
    shape: tuple[int, ...],
    outputs: Outputs,
    watch: Watch,
    loss: Any = None,
) -> Any:
    """ART's `TensorFlowV2Classifier` for images [H, W, C] of `shape` in 0..1; each question is put to `watch` first.

    outputs: what the attack is shown of each class: its logit; its margin, the logit minus the largest other logit;
    or a probability, the softmax at a temperature of 10. A confident model's true probability rounds to 1 in float32,
    its gradient to zero, and an attack that follows it would do nothing.
    loss: a loss object of Keras or of ART; by default the cross entropy.
    """
    import keras
    import tensorflow as tf

    compiled = _compile(classifier, shape, outputs)  # type: ignore[arg-type]  # hashed by identity
    classes = classifier.classes

    class Watched(estimator_class()):  # type: ignore[misc]
        """ART compiles `predict` once more, whatever the batch, and asks for the gradient of one class at a time.

        Here each batch is counted, and one compiled call answers for many classes.
        """

        def predict(
            self, x: Any, batch_size: int = 128, training_mode: bool = False, **kwargs: Any
        ) -> np.ndarray:
            pixels = np.asarray(x, dtype=np.float32)
            found = [np.zeros((0, classes), dtype=np.float32)]
            for i in range(0, len(pixels), MOST_AT_ONCE):
                part = pixels[i : i + MOST_AT_ONCE]
                watch.check(len(part))
                found.append(compiled.answer(part).numpy())
            return np.concatenate(found)

        def loss_gradient(self, x: Any, y: Any, training_mode: bool = False, **kwargs: Any) -> Any:
            watch.check(len(x))
            pixels, answers = tf.cast(x, tf.float32), tf.cast(y, tf.float32)
            if loss is None:
                found = compiled.climb(pixels, answers)
            else:
                with tf.GradientTape() as tape:
                    tape.watch(pixels)
                    value = loss(answers, compiled.answer(pixels))
                found = tape.gradient(value, pixels, unconnected_gradients=tf.UnconnectedGradients.ZERO)
            return found if tf.is_tensor(x) else found.numpy()

        def class_gradient(
            self, x: Any, label: Any = None, training_mode: bool = False, **kwargs: Any
        ) -> np.ndarray:
            pixels = np.asarray(x, dtype=np.float32)
            if label is None:
                wanted = np.tile(np.arange(classes), (len(pixels), 1))
            else:
                wanted = np.broadcast_to(np.asarray(label).reshape(-1, 1), (len(pixels), 1))
            asked = np.repeat(pixels, wanted.shape[1], axis=0)
            flat = wanted.reshape(-1).astype(np.int32)
            found = []
            for i in range(0, len(asked), MOST_AT_ONCE):
                part = asked[i : i + MOST_AT_ONCE]
                watch.check(len(part))
                found.append(compiled.slope(part, flat[i : i + MOST_AT_ONCE]).numpy())
            return np.concatenate(found).reshape(*wanted.shape, *pixels.shape[1:])

    def model(pixels: Any, training: bool = False) -> Any:
        # Inference mode whatever ART asks for: what is deployed is what is attacked.
        watch.check(int(pixels.shape[0]))
        return compiled.answer(tf.cast(pixels, tf.float32))

    return Watched(
        model=model,
        nb_classes=classes,
        input_shape=shape,
        loss_object=loss
        or keras.losses.CategoricalCrossentropy(from_logits=outputs != "probabilities", reduction="sum"),
        clip_values=(0.0, 1.0),
    )


def estimator_class() -> Any:
    """ART's class, imported without a trace in the home folder."""
    with home_elsewhere():
        from art.estimators.classification import TensorFlowV2Classifier
    return TensorFlowV2Classifier


class _Compiled(NamedTuple):
    """Each output, the gradient of one output for each image, and that of the cross entropy.

    answer(pixels) -> [N, K]; slope(pixels, classes [N]) -> [N, H, W, C]; climb(pixels, one-hot [N, K]) -> [N, H, W, C].
    """

    answer: Callable[..., Any]
    climb: Callable[..., Any]
    slope: Callable[..., Any]


# A trace costs seconds and an audit runs dozens of attacks on one classifier; the bound keeps old models from piling up.
@lru_cache(maxsize=8)
def _compile(classifier: DifferentiableClassifier, shape: tuple[int, ...], outputs: Outputs) -> _Compiled:
    import tensorflow as tf

    pixels_of = tf.TensorSpec([None, *shape], tf.float32)

    def answered(pixels: Any) -> Any:
        return of_logits(deployed_logits_of(classifier)(pixels))

    def of_logits(logits: Any) -> Any:
        if outputs == "probabilities":
            return tf.nn.softmax(logits / TEMPERATURE)
        if outputs == "margins":
            best = tf.math.top_k(logits, 2).values
            return logits - tf.where(logits == best[:, :1], best[:, 1:], best[:, :1])
        return logits

    def slope(pixels: Any, classes: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(pixels)
            chosen = tf.gather(of_logits(classifier.logits(pixels)), classes, axis=1, batch_dims=1)
        return tape.gradient(chosen, pixels, unconnected_gradients=tf.UnconnectedGradients.ZERO)

    def climb(pixels: Any, answers: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(pixels)
            # The sum over images, not the mean: an image's gradient must not fade with the size of its batch.
            total = tf.reduce_sum(tf.nn.softmax_cross_entropy_with_logits(answers, classifier.logits(pixels)))
        return tape.gradient(total, pixels, unconnected_gradients=tf.UnconnectedGradients.ZERO)

    answer = _graph(answered, pixels_of)
    answer.get_concrete_function()  # traced here and not in the time of the attack
    return _Compiled(
        answer=answer,
        climb=_graph(climb, pixels_of, tf.TensorSpec([None, classifier.classes], tf.float32)),
        slope=_graph(slope, pixels_of, tf.TensorSpec([None], tf.int32)),
    )


def _graph(function: Callable[..., Any], *signature: Any) -> Any:
    import tensorflow as tf

    return tf.function(function, input_signature=signature, autograph=False)
