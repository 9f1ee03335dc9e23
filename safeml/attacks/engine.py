"""The one loop behind every attack on pixels: evaluate the model, mark the broken images, move the others; compiled as one graph.

References:
    J. Rauber, W. Brendel, M. Bethge, "Foolbox", 2017 (one loop with holes).
    M. Pintor et al., "Indicators of attack failure", 2022 (leave at the first misclassified iterate).

Legend: B slots (images under attack at the same time), H W C pixels, K classes, S steps between two returns to Python.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from safeml import framework
from safeml.attacks.base import SURVIVED
from safeml.attacks.losses import Loss
from safeml.attacks.method import Ball, Method, Seen, State, choose
from safeml.attacks.norms import Norm
from safeml.classifiers.base import DifferentiableClassifier, deployed_logits_of
from safeml.classifiers.judged import judge_of, width_of

LAST_PART = 0.1  # of the steps, in which a converged loss gains nothing any more


class Compiled(NamedTuple):
    """The graphs of one method on one classifier.

    broken(images, truths) -> bool [B]. enter(slots, mask, clean, images, truths, targets, scales) -> slots, the masked ones again.
    advance(slots, hyperparameters, draws [S, B, D]) -> slots after at most S steps each. result(slots) -> what the attack gives back.
    """

    broken: Callable[..., Any]
    enter: Callable[..., State]
    advance: Callable[..., State]
    result: Callable[[State], Any]


def lanes_of(size: Any, shape: tuple[int, ...], method: Method, truths: Any) -> State:
    """`size` empty slots for images of `shape`. best, least, earlier: of the loss so far, and before the last steps.

    truths: int32 [B] labels, or float32 [B, T] targets of a regression; only their type and shape are read.
    """
    import tensorflow as tf

    images = tf.zeros((size, *shape))
    nothing_yet = tf.fill([size], np.float32(-np.inf))
    return {
        "clean": images,
        "images": images,
        "truths": tf.zeros([size, *truths.shape[1:]], truths.dtype),
        "targets": tf.zeros([size], tf.int32),
        "scales": tf.ones([size]),
        "count": tf.zeros([size], tf.int32),
        "first": tf.fill([size], SURVIVED),
        "going": tf.zeros([size], tf.bool),
        "flat": tf.zeros([size], tf.bool),
        "best": nothing_yet,
        "least": -nothing_yet,
        "earlier": nothing_yet,
        "own": method.begin(images, images),
    }


# A trace costs seconds and an audit attacks one classifier dozens of times; the bound keeps old models from piling up.
MOST_GRAPHS = 24


@lru_cache(maxsize=MOST_GRAPHS)
def broken_of(classifier: DifferentiableClassifier) -> Callable[..., Any]:
    """The graph (images, truths) -> bool [B] of a classifier."""
    answers, judge, is_broken = deployed_logits_of(classifier), judge_of(classifier), _breaks(classifier)
    return _graph(lambda images, truths: is_broken(*judge(answers(images), truths)))


def _breaks(classifier: DifferentiableClassifier) -> Callable[[Any, Any], Any]:
    """(logits, labels) -> bool [B]; logits that are not finite break too."""
    import tensorflow as tf

    reached = getattr(classifier, "broken", None) or _misclassified

    def is_broken(logits: Any, labels: Any) -> Any:
        return reached(logits, labels) | ~tf.reduce_all(tf.math.is_finite(logits), axis=1)

    return is_broken


@lru_cache(maxsize=MOST_GRAPHS)
def look_of(
    classifier: DifferentiableClassifier, norm: Norm, loss: Loss, gradient: bool
) -> Callable[..., Any]:
    """One evaluation of the model, for every method of the same loss; see `look`. gradient: whether it takes a gradient."""
    import tensorflow as tf

    answers, is_broken = deployed_logits_of(classifier), _breaks(classifier)
    judge, width = judge_of(classifier), width_of(classifier)
    own = answers == classifier.logits

    @framework.apart
    def look(images: Any, truths: Any, targets: Any, scales: Any) -> tuple[Any, Any, Any, Any, Any]:
        """Broken, loss, direction, slope and gradient at `images`: one forward pass, and one backward pass where it is asked for."""
        followed = classifier.logits if gradient else answers
        logits, labels = judge(tf.ensure_shape(followed(images), [None, width]), truths)
        value = loss(logits * scales[:, None], labels, targets)
        deciding = logits if own or not gradient else judge(answers(images), truths)[0]
        broken = is_broken(deciding, labels)
        if not gradient:
            return broken, value, images, tf.zeros_like(value), images
        # Symbolic gradients, unlike a tape's, honour what a straight-through view says of single operations.
        [slopes] = tf.gradients(tf.reduce_sum(value), [images], unconnected_gradients="zero")
        direction = norm.normalise(slopes)
        slope = tf.einsum("bi,bi->b", _flat(direction), _flat(slopes))
        undefined = ~tf.math.is_finite(slope)  # NaN and infinity both survive the sum

        def mended() -> tuple[Any, Any]:
            return choose(undefined, tf.zeros_like(direction), direction), tf.where(undefined, 0.0, slope)

        direction, slope = tf.cond(tf.reduce_any(undefined), mended, lambda: (direction, slope))
        return broken | undefined, value, direction, slope, slopes

    return look


@lru_cache(maxsize=MOST_GRAPHS)
def compile_for(classifier: DifferentiableClassifier, norm: Norm, method: Method) -> Compiled:
    """The graphs for a classifier and a norm. Epsilon, step sizes, steps and batch are tensors: no retrace for them."""
    import tensorflow as tf

    look = look_of(classifier, norm, method.loss, method.gradient)  # type: ignore[arg-type]  # hashed by identity

    def enter(
        slots: State, mask: Any, clean: Any, images: Any, truths: Any, targets: Any, scales: Any
    ) -> State:
        fresh = {
            **lanes_of(tf.shape(mask)[0], tuple(clean.shape[1:]), method, truths),
            "clean": clean,
            "images": images,
            "truths": truths,
            "targets": targets,
            "scales": scales,
            "going": tf.ones_like(mask),
            "own": method.begin(clean, images),
        }
        return _map2(lambda old, new: choose(mask, new, old), slots, fresh)

    def advance(slots: State, hyperparameters: State, draws: Any) -> State:
        steps = hyperparameters["steps"]
        late = tf.cast(tf.math.ceil((1.0 - LAST_PART) * tf.cast(steps, tf.float32)), tf.int32)
        constant = {name: slots[name] for name in ("clean", "truths", "targets", "scales")}
        changing = {name: value for name, value in slots.items() if name not in constant}
        ball = Ball(norm, slots["clean"], hyperparameters["epsilon"], steps)

        def going_on(step: Any, state: State) -> Any:
            return (step < tf.shape(draws)[0]) & tf.reduce_any(state["going"])

        def one(step: Any, state: State) -> tuple[Any, State]:
            images, count, going = state["images"], state["count"], state["going"]
            broken, loss, direction, slope, gradient = look(
                images, constant["truths"], constant["targets"], constant["scales"]
            )
            first = tf.where(going & broken & (state["first"] == SURVIVED), count, state["first"])
            flat = (
                state["flat"] | (going & (count == 0) & (slope == 0.0)) if method.gradient else state["flat"]
            )
            finite = tf.math.is_finite(loss) & going
            best = tf.where(finite, tf.maximum(state["best"], loss), state["best"])
            least = tf.where(finite, tf.minimum(state["least"], loss), state["least"])
            earlier = tf.where(count <= late, best, state["earlier"])
            if method.leaves:
                going = going & ~broken
            seen = Seen(images, loss, direction, slope, count, broken, draws[step], going, gradient)
            moved, own = method.move(seen, ball, state["own"], hyperparameters)
            own = {name: _kept(going, value, state["own"][name]) for name, value in own.items()}
            count = tf.where(going, count + 1, count)
            return step + 1, {
                "images": choose(going, moved, images),
                "count": count,
                "first": first,
                "going": going & (count < steps),
                "flat": flat,
                "best": best,
                "least": least,
                "earlier": earlier,
                "own": own,
            }

        _, changed = tf.while_loop(going_on, one, (tf.constant(0), changing))
        return {**constant, **changed}

    return Compiled(
        broken=broken_of(classifier),  # type: ignore[arg-type]
        enter=_graph(enter),
        advance=_graph(advance),
        result=lambda slots: method.result(slots["images"], slots["own"]),
    )


def _misclassified(logits: Any, labels: Any) -> Any:
    import tensorflow as tf

    return tf.argmax(logits, axis=1, output_type=tf.int32) != labels


def _kept(going: Any, new: Any, old: Any) -> Any:
    """Small memories of a slot that has left stay as they are; its images are not read any more, and cost time."""
    return choose(going, new, old) if new.shape.rank == 1 else new


def _graph(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function` compiled once, for any number of slots."""
    import tensorflow as tf

    traced: list[Any] = []

    def any_size(tensor: Any) -> Any:
        shape = tensor.shape.as_list()
        # Draws are [S, B, D]; all else begins with B, or is a number.
        open_sizes = 2 if len(shape) == 3 else min(len(shape), 1)
        return tf.TensorSpec([None] * open_sizes + shape[open_sizes:], tensor.dtype)

    def run(*arrays: Any) -> Any:
        with framework.memory_errors():
            tensors = tf.nest.map_structure(tf.convert_to_tensor, arrays)
            if not traced:
                signature = tf.nest.map_structure(any_size, tensors)
                compiled = tf.function(function, autograph=False, input_signature=signature)
                traced.append(compiled.get_concrete_function())
            return traced[0](*tensors)

    return run


def _map2(function: Callable[[Any, Any], Any], first: State, second: State) -> State:
    import tensorflow as tf

    result: State = tf.nest.map_structure(function, first, second)
    return result


def _flat(values: Any) -> Any:
    import tensorflow as tf

    return tf.reshape(values, [tf.shape(values)[0], -1])
