"""A printed sticker on the sign: queries choose its place, the gradient its colours.

References:
    T. Brown, D. Mané, A. Roy, M. Abadi, J. Gilmer, "Adversarial patch", 2017.
    K. Eykholt et al., "Robust physical-world attacks on deep learning visual classification", 2018.

Legend: N images, B images in a batch, H W C pixels, K classes.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from safeml import framework
from safeml.attacks.base import SURVIVED
from safeml.attacks.losses import margin
from safeml.attacks.signs.base import (
    DARKEST,
    LIGHTEST,
    PURPOSES,
    ROUNDING,
    STRIDE,
    UNCHANGED,
    Claim,
    SignOutcome,
)
from safeml.attacks.signs.box import changed, extent, inside, patch_sizes, placed
from safeml.attacks.signs.search import worst_of
from safeml.attacks.signs.settings import SignSettings
from safeml.classifiers.base import deployed_logits_of

# First colours at each place: against the gradient's sign, black, white, noise. The last three need no gradient, so that a
# model which hides its gradient is still asked honestly.
STARTS = 4
# The places whose colours are optimised, the worst first.
TRIES = 2


def sticker(
    classifier: Any,
    images: np.ndarray,
    labels: np.ndarray,
    boxes: np.ndarray,
    settings: SignSettings,
    seed: int,
    ids: np.ndarray,
    batch: int,
) -> SignOutcome:
    """See `SignAttack`; the classifier is a `DifferentiableClassifier`.

    Each place of a grid is queried with `STARTS` first colourings; then, at the worst places, colours climb the margin by
    the sign of its gradient. An image whose logits or gradient are not finite counts as broken.
    """
    compiled = _compile(classifier)
    first_colours, zero, odd = _against_the_gradient(compiled, images, labels, seed, ids, batch)
    side = settings.sticker_places
    sizes = patch_sizes(boxes, settings.sticker_area)
    spots = np.linspace(0, 1, side) if side > 1 else np.array([0.5])

    def masks(rows: np.ndarray, places: np.ndarray) -> np.ndarray:
        where = placed(boxes[rows], sizes[rows], spots[places // side], spots[places % side])
        return inside(where, *images.shape[1:3])[..., None]

    def draw(rows: np.ndarray, numbers: np.ndarray) -> np.ndarray:
        place, start = np.divmod(numbers, STARTS)
        return np.where(masks(rows, place), first_colours(rows, start), images[rows])

    search = worst_of(classifier.predict_logits, images, labels, side * side * STARTS, draw, batch)
    found = search.outcome
    adversarial, first, choice = found.adversarial, found.first_step.copy(), found.choice.copy()
    first[(first == SURVIVED) & odd] = 1

    by_place = search.bad.reshape(len(images), side * side, STARTS)
    worst_places = np.argsort(-by_place.max(axis=2), axis=1, kind="stable")
    asked = side * side * STARTS
    size = np.float32(2.5 * (LIGHTEST - DARKEST) / settings.sticker_steps)
    for turn in range(min(TRIES, side * side)):
        left = np.flatnonzero(first == SURVIVED)
        for start in range(0, len(left), batch):
            rows = left[start : start + batch]
            place = worst_places[rows, turn]
            number = place * STARTS + by_place[rows, place].argmax(axis=1)
            padded = np.resize(np.arange(len(rows)), batch)  # one shape, one trace
            state = _climb(
                compiled,
                (images[rows][padded], labels[rows][padded].astype(np.int32), masks(rows, place)[padded]),
                draw(rows, number)[padded],
                size,
                settings.sticker_steps,
            )
            adversarial[rows], steps = (array[: len(rows)] for array in state)
            choice[rows] = number
            before = asked + turn * settings.sticker_steps
            first[rows] = np.where(steps == SURVIVED, SURVIVED, 1 + before + steps)
    return SignOutcome(adversarial, first, choice, zero & (choice != UNCHANGED))


def sticker_allowed(claim: Claim) -> np.ndarray:
    """bool [N]: what changed is inside the box, fits the sticker's rectangle, and has printable colours."""
    pixels = changed(claim.clean, claim.attacked)
    outside = pixels & ~inside(claim.boxes, *claim.clean.shape[1:3])
    fits = (extent(pixels) <= patch_sizes(claim.boxes, claim.settings.sticker_area)).all(axis=1)
    printable = (claim.attacked >= DARKEST - ROUNDING) & (claim.attacked <= LIGHTEST + ROUNDING)
    return np.asarray(~outside.any(axis=(1, 2)) & fits & (printable.all(axis=3) | ~pixels).all(axis=(1, 2)))


class _Compiled(NamedTuple):
    """gradient(images, labels) -> gradient of the margin, whether it is zero, whether it or the logits are not finite.

    climb: see `_climb`.
    """

    gradient: Callable[..., Any]
    climb: Callable[..., Any]


def _against_the_gradient(
    compiled: _Compiled, images: np.ndarray, labels: np.ndarray, seed: int, ids: np.ndarray, batch: int
) -> tuple[Callable[[np.ndarray, np.ndarray], np.ndarray], np.ndarray, np.ndarray]:
    """The first colours by (rows, start 0..STARTS-1); bool [N], the gradient is zero; bool [N], it is not finite."""
    rising = np.zeros(images.shape, dtype=bool)
    zero, odd = np.zeros(len(images), dtype=bool), np.zeros(len(images), dtype=bool)
    for begin in range(0, len(images), batch):
        rows = np.arange(begin, min(begin + batch, len(images)))
        padded = np.resize(rows, batch)
        found = compiled.gradient(images[padded], labels[padded].astype(np.int32))
        gradient, zero[rows], odd[rows] = (array.numpy()[: len(rows)] for array in found)
        rising[rows] = gradient > 0

    def colours(rows: np.ndarray, starts: np.ndarray) -> np.ndarray:
        chosen = np.where(rising[rows], np.float32(LIGHTEST), np.float32(DARKEST))
        chosen[starts == 1], chosen[starts == 2] = DARKEST, LIGHTEST
        for place in np.flatnonzero(starts == 3):
            rng = np.random.default_rng([seed, PURPOSES["sticker"], int(ids[rows[place]])])
            chosen[place] = rng.uniform(DARKEST, LIGHTEST, images.shape[1:])
        return chosen

    return colours, zero, odd


def _climb(
    compiled: _Compiled,
    fixed: tuple[np.ndarray, np.ndarray, np.ndarray],
    start: np.ndarray,
    size: np.float32,
    steps: int,
) -> tuple[np.ndarray, np.ndarray]:
    """The last iterates and the step at which each was first seen broken (int32 [B], -1 where it was not).

    fixed: clean images, labels and masks (bool [B, H, W, 1]). The compiled loop comes back every `STRIDE` steps: while it
    runs, no signal reaches Python.
    """
    state: Any = (start, np.full(len(start), SURVIVED, np.int32))
    # One step more than `steps`: the last one only predicts the result of the one before it.
    for step in range(0, steps + 1, STRIDE):
        stop = min(step + STRIDE, steps + 1)
        state = compiled.climb(*fixed, size, *state, np.int32(step), np.int32(stop), np.int32(steps))
        if not (state[1].numpy() == SURVIVED).any():
            break
    return state[0].numpy(), state[1].numpy()


@lru_cache(maxsize=4)
def _compile(classifier: Any) -> _Compiled:
    """Both graphs for a classifier; steps and sizes are tensors, so nothing is traced again for them."""
    import tensorflow as tf

    deployed = deployed_logits_of(classifier)

    @framework.apart
    def judged(images: Any, labels: Any) -> tuple[Any, Any, Any]:
        """Misclassified or not finite, the margin's gradient, and whether it is finite."""
        with tf.GradientTape() as tape:
            tape.watch(images)
            logits = classifier.logits(images)
            towards_error = margin(logits, labels, labels)
        gradient = tape.gradient(towards_error, images, unconnected_gradients=tf.UnconnectedGradients.ZERO)
        decisive = logits if deployed == classifier.logits else deployed(images)
        wrong = tf.argmax(decisive, axis=1, output_type=tf.int32) != labels
        total = tf.reduce_sum(tf.abs(gradient), axis=[1, 2, 3])
        finite = tf.reduce_all(tf.math.is_finite(decisive), axis=1) & tf.math.is_finite(total)
        return wrong, gradient, finite

    def gradient(images: Any, labels: Any) -> tuple[Any, Any, Any]:
        _, slope, finite = judged(images, labels)
        return slope, tf.reduce_all(slope == 0.0, axis=[1, 2, 3]), ~finite

    def climb(
        clean: Any,
        labels: Any,
        masks: Any,
        size: Any,
        attacked: Any,
        first: Any,
        step: Any,
        stop: Any,
        steps: Any,
    ) -> tuple[Any, Any]:
        def going_on(step: Any, attacked: Any, first: Any) -> Any:
            return (step < stop) & tf.reduce_any(first == SURVIVED)

        def one(step: Any, attacked: Any, first: Any) -> tuple[Any, Any, Any]:
            wrong, gradient, finite = judged(attacked, labels)
            first = tf.where((first == SURVIVED) & (wrong | ~finite), step, first)
            colours = tf.clip_by_value(attacked + size * tf.sign(gradient), DARKEST, LIGHTEST)
            moves = (first == SURVIVED) & (step < steps)
            moved = tf.where(masks, colours, clean)
            return step + 1, tf.raw_ops.Select(condition=moves, x=moved, y=attacked), first

        _, *state = tf.while_loop(going_on, one, (step, attacked, first))
        return tuple(state)

    def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
        traced = tf.function(function, autograph=False)

        def run(*arrays: Any) -> Any:
            with framework.memory_errors():
                return traced(*(tf.convert_to_tensor(array) for array in arrays))

        return run

    return _Compiled(compiled(gradient), compiled(climb))
