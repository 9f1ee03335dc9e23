"""The parts in which attacks differ: the holes of the loop in `engine.py`.

Legend: B slots (images under attack at the same time), H W C pixels, K classes.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import numpy as np

from safeml.attacks.losses import Loss
from safeml.attacks.norms import Norm

State = dict[str, Any]


class Seen(NamedTuple):
    """One evaluation of the model. images: [B, H, W, C], as they are now. loss: [B]. direction: the steepest unit step, or None.

    slope: [B], the dual norm of the gradient: how fast the loss rises along `direction`. count: int32 [B], changes made so
    far. broken: bool [B]. draws: [B, D] random numbers of 0..1 for this step. going: bool [B], slots that go on.
    gradient: [B, H, W, C], of the loss, as it came: not always finite; or None.
    """

    images: Any
    loss: Any
    direction: Any
    slope: Any
    count: Any
    broken: Any
    draws: Any
    going: Any
    gradient: Any


class Ball(NamedTuple):
    """Where the images may go. clean: [B, H, W, C]. epsilon, steps: scalars. norm: of the ball."""

    norm: Norm
    clean: Any
    epsilon: Any
    steps: Any

    def nearest(self, images: Any) -> Any:
        """The nearest images inside the ball, then inside 0..1; clipping never leads out of an L-inf or L2 ball."""
        import tensorflow as tf

        return tf.clip_by_value(self.clean + self.norm.project(images - self.clean, self.epsilon), 0.0, 1.0)


class Method(Protocol):
    """One attack. Every object of the same `kind` and the same norm shares one compiled graph.

    moved_start: the start counts as a change of the image. loss: what is climbed. gradient: whether a look takes a gradient. leaves: an image leaves at its first misclassification.
    stride: steps between two returns to Python. draws: random numbers that a step of one image takes.
    hyperparameters: numbers (or vectors) that the graph takes as inputs, so that another value is no other graph.
    """

    @property
    def kind(self) -> str: ...
    @property
    def loss(self) -> Loss: ...
    @property
    def gradient(self) -> bool: ...
    @property
    def leaves(self) -> bool: ...
    @property
    def moved_start(self) -> bool: ...
    @property
    def stride(self) -> int: ...
    @property
    def draws(self) -> int: ...

    def hyperparameters(self, epsilon: float, steps: int, shape: tuple[int, ...]) -> State: ...

    def start(
        self, norm: Norm, clean: np.ndarray, epsilon: float, ids: np.ndarray, seed: int, attempt: int
    ) -> np.ndarray:
        """Return the start images [M, H, W, C] (NumPy); each depends only on (seed, attempt, its id)."""
        ...

    def begin(self, clean: Any, images: Any) -> State:
        """What the attack remembers of each slot, at its start. Tensors [B, ...]."""
        ...

    def move(self, seen: Seen, ball: Ball, state: State, hyperparameters: State) -> tuple[Any, State]:
        """The next images (any where not `seen.going`), and what is remembered from here on."""
        ...

    def result(self, images: Any, state: State) -> Any:
        """The images that the attack gives back for its slots."""
        ...


def per_image(values: Any) -> Any:
    """[B] -> [B, 1, 1, 1], to be broadcast over pixels."""
    return values[:, None, None, None]


def choose(condition: Any, yes: Any, no: Any) -> Any:
    """`yes` or `no` [B, ...] by `condition` [B]. Select takes whole rows; tf.where would broadcast over pixels at ten
    times the cost."""
    import tensorflow as tf

    return tf.raw_ops.Select(condition=condition, x=yes, y=no)
