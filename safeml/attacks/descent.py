"""The one descent loop behind every gradient attack; FGSM is this loop with one step of size epsilon.

References:
    I. Goodfellow, J. Shlens, C. Szegedy, "Explaining and harnessing adversarial examples", 2015 (FGSM).
    A. Madry et al., "Towards deep learning models resistant to adversarial attacks", 2018 (PGD).
    J. Rauber, W. Brendel, M. Bethge, "Foolbox", 2017 (one loop, three holes).
    M. Pintor et al., "Indicators of attack failure", 2022 (return the first misclassified iterate).

Legend: N images, B images in a batch, H W C pixels, K classes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from safeml import framework
from safeml.attacks.base import SURVIVED, AttackOutcome
from safeml.attacks.norms import NORMS, Norm, random_starts
from safeml.classifiers.base import DifferentiableClassifier
from safeml.config import Threat
from safeml.errors import StageError

STRIDE = 10


def attack(
    classifier: DifferentiableClassifier,
    images: np.ndarray,
    labels: np.ndarray,
    threat: Threat,
    *,
    steps: int,
    step_size: float | None = None,
    random_start: bool = False,
    restarts: int = 1,
    seed: int = 0,
    batch: int = 128,
    ids: np.ndarray | None = None,
) -> AttackOutcome:
    """Climb the cross entropy of the true label, inside the ball of `threat` and inside 0..1.

    images: float32 [N, H, W, C], 0..1. labels: int [N], 0..K-1. ids: int [N], >= 0; default 0..N-1.
    step_size: in pixel units, default 2.5 epsilon / steps. restarts: used with a random start only.
    An image that is misclassified, or whose logits or gradient are not finite, is broken: it keeps the iterate at which
    that was first seen. Images misclassified when clean are not attacked; each restart gets the survivors only.
    A verdict depends on the image, the seed and its id, not on the batch it is in (but for float rounding).
    Raises StageError for arrays of another shape or type, or a budget below one; MemoryError where a batch does not fit.
    """
    _check(images, labels, steps, restarts, batch)
    norm = NORMS[threat.norm]
    compiled = _compile(classifier, norm)  # type: ignore[arg-type]  # hashed by identity
    ids = np.arange(len(images)) if ids is None else ids
    size = np.float32(2.5 * threat.epsilon / steps if step_size is None else step_size)
    epsilon = np.float32(threat.epsilon)

    adversarial = images.copy()
    first_step = np.full(len(images), SURVIVED, dtype=np.int64)
    zero_gradients = np.zeros(len(images), dtype=bool)
    for rows, padded in _batches(np.arange(len(images)), batch):
        broken = compiled.broken(images[padded], labels[padded].astype(np.int32)).numpy()
        first_step[rows[broken[: len(rows)]]] = 0

    for restart in range(restarts if random_start else 1):
        for rows, padded in _batches(np.flatnonzero(first_step == SURVIVED), batch):
            clean = start = images[padded]
            if random_start:
                points = random_starts(norm, clean.shape[1:], ids[padded], seed, restart)
                start = np.clip(clean + epsilon * points, 0.0, 1.0)
            found, steps_made, flat = (
                array[: len(rows)]
                for array in _descend(compiled, clean, start, labels[padded], epsilon, size, steps)
            )
            adversarial[rows] = found
            changes = steps_made + int(random_start)
            first_step[rows] = np.where(steps_made == SURVIVED, SURVIVED, changes)
            if restart == 0:
                zero_gradients[rows] = flat
    return AttackOutcome(adversarial, first_step, zero_gradients)


class _Compiled(NamedTuple):
    """broken(images, labels) -> bool [B]; climb(clean, labels, epsilon, size, *state, step, stop) -> state (see `_descend`)."""

    broken: Callable[..., Any]
    climb: Callable[..., Any]


def _descend(
    compiled: _Compiled,
    clean: np.ndarray,
    start: np.ndarray,
    labels: np.ndarray,
    epsilon: np.float32,
    size: np.float32,
    steps: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The last iterates, the step at which each image was first seen broken, and whether its first gradient was zero.

    The compiled loop comes back every `STRIDE` steps: while it runs, no signal reaches Python, and Ctrl-C would wait for it.
    """
    labels = labels.astype(np.int32)
    state: Any = (start, np.full(len(labels), SURVIVED, np.int32), np.zeros(len(labels), dtype=bool))
    for step in range(0, steps, STRIDE):
        stop = min(step + STRIDE, steps)
        state = compiled.climb(clean, labels, epsilon, size, *state, np.int32(step), np.int32(stop))
        if not (state[1].numpy() == SURVIVED).any():
            break
    broken = compiled.broken(state[0], labels).numpy()
    adversarial, first, flat = (tensor.numpy() for tensor in state)
    return adversarial, np.where((first == SURVIVED) & broken, steps, first), flat


# A trace costs seconds and an audit attacks one classifier dozens of times; the bound keeps old models from piling up.
@lru_cache(maxsize=4)
def _compile(classifier: DifferentiableClassifier, norm: Norm) -> _Compiled:
    """The loop as one graph for a classifier and a norm. Epsilon, step size and steps are tensors: no retrace for them."""
    import tensorflow as tf

    def is_broken(logits: Any, labels: Any) -> Any:
        misclassified = tf.argmax(logits, axis=1, output_type=tf.int32) != labels
        return misclassified | ~tf.reduce_all(tf.math.is_finite(logits), axis=1)

    def look(images: Any, labels: Any) -> tuple[Any, Any, Any]:
        """The verdict at `images`, the gradient there and whether it is zero: one forward and one backward pass."""
        with tf.GradientTape() as tape:
            tape.watch(images)
            logits = classifier.logits(images)
            loss = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
        gradient = tape.gradient(loss, images, unconnected_gradients=tf.UnconnectedGradients.ZERO)
        total = tf.reduce_sum(tf.abs(gradient), axis=[1, 2, 3])  # NaN and infinity both survive the sum
        return is_broken(logits, labels) | ~tf.math.is_finite(total), gradient, total == 0.0

    def climb(
        clean: Any,
        labels: Any,
        epsilon: Any,
        size: Any,
        adversarial: Any,
        first: Any,
        flat: Any,
        step: Any,
        stop: Any,
    ) -> tuple[Any, Any, Any]:
        def going_on(step: Any, adversarial: Any, first: Any, flat: Any) -> Any:
            return (step < stop) & tf.reduce_any(first == SURVIVED)

        def one(step: Any, adversarial: Any, first: Any, flat: Any) -> tuple[Any, Any, Any, Any]:
            broken, gradient, zero = look(adversarial, labels)
            flat = tf.where(step == 0, zero, flat)
            first = tf.where((first == SURVIVED) & broken, step, first)
            change = norm.project(adversarial - clean + size * norm.normalise(gradient), epsilon)
            moved = tf.clip_by_value(clean + change, 0.0, 1.0)
            # Select picks whole images; tf.where would broadcast the condition over pixels at ten times the cost.
            kept = tf.raw_ops.Select(condition=first == SURVIVED, x=moved, y=adversarial)
            return step + 1, kept, first, flat

        _, *state = tf.while_loop(going_on, one, (step, adversarial, first, flat))
        return tuple(state)

    def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
        traced = tf.function(function, autograph=False)

        def run(*arrays: Any) -> Any:
            with framework.memory_errors():
                return traced(*(tf.convert_to_tensor(array) for array in arrays))

        return run

    return _Compiled(
        compiled(lambda images, labels: is_broken(classifier.logits(images), labels)), compiled(climb)
    )


def _batches(rows: np.ndarray, batch: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """`rows` in turns of `batch`, each also padded with repeats to exactly `batch`: one shape, one trace."""
    for start in range(0, len(rows), batch):
        turn = rows[start : start + batch]
        yield turn, np.resize(turn, batch)


def _check(images: np.ndarray, labels: np.ndarray, steps: int, restarts: int, batch: int) -> None:
    if images.dtype != np.float32 or images.ndim != 4:
        raise StageError(
            f"attack: images are {images.dtype} {list(images.shape)}; expected float32 [N, H, W, C]."
        )
    if labels.shape != (len(images),):
        raise StageError(
            f"attack: labels are {list(labels.shape)}; expected one for each of {len(images)} images."
        )
    if min(steps, restarts, batch) < 1:
        raise StageError(
            f"attack: steps, restarts, batch are {steps}, {restarts}, {batch}; expected at least 1 each."
        )
