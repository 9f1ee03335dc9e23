"""The adversarial audit on a ReLU network whose worst case is known by enumerating its activation patterns.

On the ball of an image a network of few hidden units is linear in each activation pattern. For each pattern and each incorrect
class, a linear program asks whether a point of the ball with that pattern has the class at least as high as the true one. If
none has, no attack can break the image; if one has, the image is breakable.

Legend: N images, D pixels, U hidden units, K classes.
"""

from __future__ import annotations

from functools import cache
from itertools import product
from typing import Any

import numpy as np
import pytest

from safeml.audits.adversarial.campaign import Campaign
from safeml.audits.adversarial.items import Items
from safeml.audits.base import AuditInputs
from safeml.classifiers.base import InputSpec
from safeml.data.dataset import ImageDataset
from safeml.stages.adversarial import AdversarialSettings
from safeml.threats import Threat
from tests import subjects

pytestmark = pytest.mark.slow

SIDE, U, K, N = 2, 6, 4, 220
D = SIDE * SIDE
EPSILON = 0.06
CLEAR = 2e-3  # images whose largest margin inside the ball is nearer to 0 than this are left out


@cache
def weights() -> tuple[np.ndarray, ...]:
    """Hidden matrix [D, U], its bias [U], last matrix [U, K] and its bias [K]; float32 values, in float64."""
    rng = np.random.default_rng(12)
    hidden = rng.normal(0, 3.0, (D, U))
    drawn = (
        hidden,
        -0.5 * hidden.sum(axis=0) + rng.normal(0, 0.3, U),
        rng.normal(0, 1.0, (U, K)),
        np.zeros(K),
    )
    return tuple(array.astype(np.float32).astype(np.float64) for array in drawn)


def network() -> subjects.Subject:
    import tensorflow as tf

    hidden, offset, last, bias = (array.astype(np.float32) for array in weights())

    def logits(x: Any) -> Any:
        return tf.nn.relu(tf.reshape(x, [-1, D]) @ hidden + offset) @ last + bias

    return subjects.Subject("relu", K, logits, InputSpec(height=SIDE, width=SIDE, channels="grey"))


def largest_margin(image: np.ndarray, label: int) -> float:
    """Return the largest value of (incorrect logit - true logit) in the L-inf ball of `image` (float64 [D]) inside 0..1.

    Exact between -CLEAR and CLEAR; beyond, only on the same side, because most linear programs are then not needed.
    """
    from scipy.optimize import linprog

    hidden, offset, last, bias = weights()
    bounds = list(zip(np.maximum(image - EPSILON, 0), np.minimum(image + EPSILON, 1), strict=True))
    low, high = (np.array(ends) for ends in zip(*bounds, strict=True))
    least = np.minimum(hidden.T * low, hidden.T * high).sum(axis=1) + offset
    most = np.maximum(hidden.T * low, hidden.T * high).sum(axis=1) + offset
    ways = [(True,) if least[u] >= 0 else (False,) if most[u] <= 0 else (True, False) for u in range(U)]
    best = -np.inf
    for pattern in product(*ways):
        active = np.array(pattern, float)
        signs = 1 - 2 * active  # active: -(x w + b) <= 0; otherwise x w + b <= 0
        for other in set(range(K)) - {label}:
            difference = (last[:, other] - last[:, label]) * active
            constant = offset @ difference + bias[other] - bias[label]
            slope = hidden @ difference
            corner = np.where(slope > 0, high, low)
            bound = float(slope @ corner + constant)  # of the whole ball, whatever the pattern
            if bound <= max(best, -2 * CLEAR):
                continue
            if np.all((corner @ hidden + offset) * signs <= 0):
                best = bound
                continue
            found = linprog(
                -slope,
                A_ub=(hidden * signs).T,
                b_ub=-offset * signs,
                bounds=bounds,
                method="highs",
            )
            if found.status == 0:
                best = max(best, float(-found.fun + constant))
        if best > CLEAR:
            return best
    return best


@cache
def data() -> tuple[ImageDataset, np.ndarray]:
    """Images that the network classifies correctly, and whether each can be broken (bool [N])."""
    pixels = np.random.default_rng(3).integers(0, 256, (2 * N, SIDE, SIDE, 1), dtype=np.uint8)
    images = pixels.astype(np.float32) / np.float32(255)
    labels = network().predict_logits(images).argmax(axis=1).astype(np.int64)
    rows: list[int] = []
    margins: list[float] = []
    for row, image in enumerate(images):
        if len(rows) == N:
            break
        margin = largest_margin(image.reshape(D).astype(np.float64), int(labels[row]))
        if abs(margin) > CLEAR:
            rows.append(row)
            margins.append(margin)
    assert len(rows) == N
    names = tuple(f"sign {number}" for number in range(K))
    dataset = ImageDataset("relu", pixels[rows], labels[rows], names, frames_per_sign=1)
    return dataset, np.array(margins) > 0


@pytest.mark.parametrize("spend", ["full", "where_it_counts"])
def test_everything_breakable_is_broken_and_nothing_else(spend: str) -> None:
    dataset, breakable = data()
    assert 0.2 < breakable.mean() < 0.6
    threat = Threat(norm="linf", epsilon=EPSILON)
    settings = AdversarialSettings(images=N, threats=(threat,), targets=K - 1, queries=300, spend=spend)
    inputs = AuditInputs(network(), dataset)
    ran = Campaign(Items.of(inputs, dataset, settings), settings, threat, lambda *step: None)
    ran.run(settings.attacks)
    np.testing.assert_array_equal(~ran.survivors(threat), breakable)
    if spend == "where_it_counts":
        saving = ran.savings[threat]
        assert saving.survivors >= (~breakable).sum()
        assert saving.count > 0
