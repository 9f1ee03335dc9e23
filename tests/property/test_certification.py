"""Whatever the network: no attack, corner or random point breaks a certified image."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests import subjects

pytestmark = pytest.mark.slow

SIDE, K, COUNT = 6, 3, 16


def random_network(seed: int, residual: bool, pooling: str, padding: str, centred: bool) -> subjects.Subject:
    """Two convolutions, a pooling and two products with random weights of a random scale; maybe a residual connection."""
    import tensorflow as tf

    rng = np.random.default_rng(seed)
    scale = float(rng.choice([0.3, 1.0, 3.0]))

    def drawn(*shape: int) -> np.ndarray:
        return (rng.normal(size=shape) * scale / np.sqrt(np.prod(shape[:-1]))).astype(np.float32)

    first, second, bias = drawn(3, 3, 2, 4), drawn(3, 3, 4, 4), drawn(1, 4)[0]
    pool = {"max": tf.nn.max_pool2d, "mean": tf.nn.avg_pool2d}[pooling]
    side = SIDE if padding == "SAME" else SIDE - (2 if residual else 4)
    width = 4 * (-(-side // 2)) ** 2 if padding == "SAME" else 4 * (side // 2) ** 2
    inner, last = drawn(width, 8), drawn(8, K)

    def logits(x):
        x = 2 * x - 1 if centred else x
        x = tf.nn.relu(tf.nn.conv2d(x, first, 1, padding) + bias)
        y = tf.nn.conv2d(x, second, 1, "SAME" if residual else padding)
        x = tf.nn.relu(x + y if residual else y)
        x = pool(x, 2, 2, padding)
        x = tf.reshape(x, [x.shape[0] or tf.shape(x)[0], width])
        return tf.nn.relu(x @ inner) @ last

    return subjects.Subject("random", K, logits)


def corners_and_points(
    rng: np.random.Generator, image: np.ndarray, epsilon: float, count: int = 200
) -> np.ndarray:
    signs = rng.choice(np.float32([-1, 1]), (count, *image.shape))
    signs[count // 2 :] = rng.uniform(-1, 1, signs[count // 2 :].shape)
    return np.clip(image + np.float32(epsilon) * signs, 0, 1)


def climbed(
    classifier: subjects.Subject,
    images: np.ndarray,
    labels: np.ndarray,
    epsilon: float,
    rng: np.random.Generator,
) -> np.ndarray:
    """PGD on the margin, written here so that it shares nothing with what it checks (Madry et al., 2018)."""
    import tensorflow as tf

    start = images + np.float32(epsilon) * rng.uniform(-1, 1, images.shape).astype(np.float32)
    found = np.clip(start, 0, 1)
    others = 1 - np.eye(K, dtype=np.float32)[labels]
    for _ in range(25):
        with tf.GradientTape() as tape:
            x = tf.constant(found)
            tape.watch(x)
            logits = classifier.logits(x)
            highest = tf.reduce_max(logits - 1e9 * (1 - others), axis=1)
            loss = highest - tf.reduce_sum(logits * (1 - others), axis=1)
        step = np.sign(tape.gradient(loss, x).numpy()) * np.float32(epsilon / 6)
        change = np.clip(found + step - images, -np.float32(epsilon), np.float32(epsilon))
        found = np.clip(images + change, 0, 1)
    return found


@settings(max_examples=8)
@given(
    seed=st.integers(0, 10_000),
    residual=st.booleans(),
    pooling=st.sampled_from(["max", "mean"]),
    padding=st.sampled_from(["SAME", "VALID"]),
    centred=st.booleans(),
)
def test_no_attack_breaks_a_certified_image(seed, residual, pooling, padding, centred):
    from safeml.certification.ibp import certified_radius, certify_linf

    classifier = random_network(seed, residual, pooling, padding, centred)
    rng = np.random.default_rng(seed)
    images = rng.uniform(0, 1, (COUNT, SIDE, SIDE, 2)).astype(np.float32)
    images[0], images[1] = 0, 1
    labels = classifier.predict_logits(images).argmax(1)
    radius = certified_radius(classifier, images, labels, most=1.0, batch=COUNT)
    rows = np.flatnonzero(radius > 0)
    assume(len(rows))  # a network whose last layers are dead answers all images alike, and proves nothing
    epsilon = float(np.median(radius[rows]))
    # Larger balls hold smaller ones: what is certified at one radius is certified below it.
    assert certify_linf(classifier, images, labels, epsilon / 2, batch=COUNT)[radius >= epsilon].all()
    certified = radius >= epsilon
    found = climbed(classifier, images[certified], labels[certified], epsilon, rng)
    assert (classifier.predict_logits(found).argmax(1) == labels[certified]).all()
    for row in rows:
        points = corners_and_points(rng, images[row], float(radius[row]))
        assert (classifier.predict_logits(points).argmax(1) == labels[row]).all()
