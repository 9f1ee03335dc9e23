"""Square: a random search by queries only; each step recolours one random square and keeps it if the loss rises.

M. Andriushchenko, F. Croce, N. Flammarion, M. Hein, "Square Attack: a query-efficient black-box adversarial attack via
random search", 2020. L-inf follows its algorithm; in L2 a step moves the budget of one square to another.

Legend: B slots, H W C pixels.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from safeml.attacks.base import AttackOutcome, Budget
from safeml.attacks.losses import Loss, margin
from safeml.attacks.method import Ball, Seen, State, choose
from safeml.attacks.norms import NORMS, Norm
from safeml.attacks.slots import attack
from safeml.classifiers.base import DifferentiableClassifier
from safeml.threats import Threat

FIRST_SHARE = 0.8  # of the pixels, in the first square
# After which the share is halved, in queries of ten thousand (of the source).
HALVED_AT = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)
DRAWS = 8  # row, column, row and column of the square that pays (L2), and up to 4 channels
TINY = 1e-12


def square(
    classifier: DifferentiableClassifier,
    images: np.ndarray,
    labels: np.ndarray,
    threat: Threat,
    budget: Budget,
    ids: np.ndarray,
) -> AttackOutcome:
    """budget.steps are queries after the first one; the classifier needs no gradient."""
    method = RandomSquares(threat.norm == "l2")
    return attack(classifier, images, labels, threat, method, budget, ids)


def sides(steps: int, shape: tuple[int, ...]) -> np.ndarray:
    """int32 [steps + 1]: the side of the square at each query, in pixels."""
    height, width = shape[:2]
    scaled = np.arange(steps + 1) * 10_000 // max(steps, 1)
    share = FIRST_SHARE * 0.5 ** np.searchsorted(HALVED_AT, scaled)
    side = np.round(np.sqrt(share * height * width)).astype(np.int32)
    return np.clip(side, 1, min(height, width) - 1 if min(height, width) > 1 else 1)


@dataclass(frozen=True)
class RandomSquares:
    """`own` of a slot: the best image so far and its loss; `images` is what is tried next."""

    euclidean: bool
    loss: Loss = margin
    kind: str = "square"
    moved_start: bool = True
    gradient: bool = False
    leaves: bool = True
    stride: int = field(default=50, compare=False)
    draws: int = DRAWS

    def hyperparameters(self, epsilon: float, steps: int, shape: tuple[int, ...]) -> State:
        return {
            "epsilon": np.float32(epsilon),
            "steps": np.int32(steps),
            "side": sides(steps, shape),
        }

    def start(
        self, norm: Norm, clean: np.ndarray, epsilon: float, ids: np.ndarray, seed: int, attempt: int
    ) -> np.ndarray:
        """Vertical stripes of full strength (L-inf), or a field of signs of the ball's length (L2)."""
        _, height, width, depth = clean.shape
        signs = np.empty(clean.shape, np.float32)
        for row, number in enumerate(ids):
            rng = np.random.default_rng([seed, attempt, int(number)])
            tall = height if self.euclidean else 1
            signs[row] = rng.choice(np.array([-1, 1], np.float32), (tall, width, depth))
        length = np.sqrt(np.float32(height * width * depth)) if self.euclidean else np.float32(1)
        return np.clip(clean + np.float32(epsilon) * signs / length, 0.0, 1.0)

    def begin(self, clean: Any, images: Any) -> State:
        import tensorflow as tf

        return {"best_image": images, "best": tf.zeros_like(images[:, 0, 0, 0]) - np.float32(np.inf)}

    def move(self, seen: Seen, ball: Ball, state: State, hyperparameters: State) -> tuple[Any, State]:
        import tensorflow as tf

        better = seen.loss > state["best"]
        best_image = tf.cond(
            tf.reduce_any(better),
            lambda: choose(better, seen.images, state["best_image"]),
            lambda: state["best_image"],
        )
        side = tf.gather(hyperparameters["side"], seen.count)
        tried = (_moved_budget if self.euclidean else _recoloured)(best_image, seen.draws, side, ball)
        return tried, {"best_image": best_image, "best": tf.maximum(state["best"], seen.loss)}

    def result(self, images: Any, state: State) -> Any:
        return images


def _recoloured(best: Any, draws: Any, side: Any, ball: Ball) -> Any:
    """One square of the best image at full strength, one sign a channel."""
    import tensorflow as tf

    inside = _window(best, draws[:, 0], draws[:, 1], side)
    coloured = tf.clip_by_value(ball.clean + ball.epsilon * _signs(best, draws), 0.0, 1.0)
    return tf.where(inside, coloured, best)


def _moved_budget(best: Any, draws: Any, side: Any, ball: Ball) -> Any:
    """One square is put back to the clean image, and another gets what it cost, shaped as a bump of either sign."""
    import tensorflow as tf

    change = best - ball.clean
    gains = tf.cast(_window(best, draws[:, 0], draws[:, 1], side), tf.float32)
    pays = tf.cast(_window(best, draws[:, 2], draws[:, 3], side), tf.float32)
    rest = change * (1.0 - tf.maximum(gains, pays))
    left = tf.maximum(tf.square(ball.epsilon) - tf.square(_length(rest)), 0.0)
    old = change * gains
    bump = gains * _bump(best, draws, side) * _signs(best, draws)
    new = bump / (_length(bump) + TINY) + old / (_length(old) + TINY)
    return ball.nearest(ball.clean + rest + new * tf.sqrt(left) / (_length(new) + TINY))


def _bump(images: Any, draws: Any, side: Any) -> Any:
    """[B, H, W, 1], largest in the middle of the square and falling towards its border."""
    import tensorflow as tf

    height, width = images.shape[1:3]

    def away(first: Any, size: int) -> Any:
        middle = tf.cast(first, tf.float32) + (tf.cast(side, tf.float32) - 1.0) / 2.0
        return tf.abs(tf.range(size, dtype=tf.float32)[None] - middle[:, None])

    top, left = _corner(draws[:, 0], side, height), _corner(draws[:, 1], side, width)
    rings = tf.maximum(away(top, height)[:, :, None], away(left, width)[:, None, :])
    return (1.0 / (1.0 + rings))[..., None]


def _window(images: Any, row: Any, column: Any, side: Any) -> Any:
    """bool [B, H, W, 1]: a square of `side` pixels; its corner by draws of 0..1."""
    import tensorflow as tf

    height, width = images.shape[1:3]

    def within(draw: Any, size: int) -> Any:
        first = _corner(draw, side, size)[:, None]
        place = tf.range(size)[None]
        return (place >= first) & (place < first + side[:, None])

    return (within(row, height)[:, :, None] & within(column, width)[:, None, :])[..., None]


def _corner(draw: Any, side: Any, size: int) -> Any:
    import tensorflow as tf

    return tf.cast(draw * tf.cast(size - side + 1, tf.float32), tf.int32)


def _signs(images: Any, draws: Any) -> Any:
    """[B, 1, 1, C] of -1 and 1."""
    import tensorflow as tf

    depth = images.shape[3]
    return tf.where(draws[:, None, None, DRAWS - 4 : DRAWS - 4 + depth] < 0.5, -1.0, 1.0)


def _length(change: Any) -> Any:
    return NORMS["l2"].size(change)
