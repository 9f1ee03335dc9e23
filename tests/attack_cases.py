"""A small network that every attack breaks in part, and a call of each attack with a small budget."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from safeml.attacks.base import AttackOutcome, Budget
from safeml.attacks.registry import ATTACKS
from safeml.attacks.rows import ROWS
from safeml.threats import Threat
from tests import subjects

SIDE, K = 8, 5


SPENDS = {
    "fgsm": (1, 1),
    "pgd": (8, 2),
    "fmn": (25, 1),
    "ddn": (25, 1),
    "apgd_pm": (15, 2),
    "apgd_ce": (15, 2),
    "apgd_t": (15, 4),
    "square": (120, 1),
    "transfer": (12, 1),
}


# The transfer goes by its last image: a surrogate without a gradient was not attacked, and is not called broken.
GRADIENT = tuple(sorted(set(SPENDS) - {"square", "transfer"}))


SOME = {"linf": 0.03, "l2": 0.2}  # breaks some of the network's images


ATTACKS_AND_NORMS = [(name, norm) for name in sorted(ATTACKS) for norm in sorted(ROWS[name].norms)]


Function = Callable[[Any], Any]


@cache
def convolutional() -> subjects.Subject:
    """One convolution and one product with fixed random weights."""
    import tensorflow as tf

    rng = np.random.default_rng(1)
    kernel = rng.normal(0, 0.5, (3, 3, 1, 6)).astype(np.float32)
    last = rng.normal(0, 0.2, (36 * 6, K)).astype(np.float32)

    def logits(x: Any) -> Any:
        x = tf.nn.relu(tf.nn.conv2d(x - 0.5, kernel, 1, "VALID"))
        return tf.reshape(x, [-1, 36 * 6]) @ last

    return subjects.Subject("convolutional", K, logits)


@cache
def network(count: int) -> tuple[subjects.Subject, np.ndarray, np.ndarray]:
    """The classifier, grey levels in 0..1 and its own answers as their labels."""
    images = np.random.default_rng(5).integers(0, 256, (count, SIDE, SIDE, 1)).astype(np.float32)
    images /= np.float32(255)
    return convolutional(), images, convolutional().predict_logits(images).argmax(1)


def run(
    name: str,
    subject: subjects.Subject,
    images: np.ndarray,
    labels: np.ndarray,
    norm: str = "",
    epsilon: float | None = None,
    batch: int = 16,
    ids: np.ndarray | None = None,
    spends: tuple[int, int] | None = None,
    checked: bool = False,
    **budgeted: Any,
) -> AttackOutcome:
    """norm: "" is L-inf, or L2 where the attack has no other."""
    norm = norm or ROWS[name].norms[0]
    threat = Threat(norm=norm, epsilon=SOME[norm] if epsilon is None else epsilon)
    budget = Budget(*(spends or SPENDS[name]), seed=11, batch=batch, clean_checked=checked, **budgeted)
    return ATTACKS[name](
        subject, images, labels, threat, budget, np.arange(len(images)) if ids is None else ids
    )


def same(first: AttackOutcome, second: AttackOutcome) -> None:
    for name in ("first_step", "attempt", "evaluations", "zero_gradients"):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name), err_msg=name)
    np.testing.assert_allclose(first.adversarial, second.adversarial, atol=1e-5)


def counted(function: Function, rows: list[int]) -> subjects.Subject:
    """A classifier that writes down how many images it is asked for, each time."""
    import tensorflow as tf

    def note(size: np.ndarray) -> np.ndarray:
        rows.append(int(size))
        return np.float32(0)

    def logits(x: Any) -> Any:
        answers = function(x)
        return answers + tf.ensure_shape(tf.numpy_function(note, [tf.shape(x)[0]], tf.float32), [])

    return subjects.Subject("counted", K, logits)
