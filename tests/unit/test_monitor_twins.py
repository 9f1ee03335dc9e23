"""The scores as graphs: equal to those of the monitor, and with the gradient of finite differences. Legend: N images, K classes, F features."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from safeml.monitors.feature_scores import MOST_FEATURES
from safeml.monitors.registry import SCORES, fit_scores, score

pytestmark = pytest.mark.slow

K = 5


@cache
def fitted(width: int) -> tuple[dict, np.ndarray, np.ndarray]:
    """Arrays of a monitor on F features, and the logits and features that it was fitted on."""
    rng = np.random.default_rng(width)
    labels = np.arange(400) % K
    features = rng.normal(size=(400, width)) + 2 * rng.normal(size=(K, width))[labels]
    logits = features @ rng.normal(size=(width, K)) / np.sqrt(width)
    return fit_scores(logits, features, labels % (K - 1), K, 0), logits, features  # one class has no mean


def twin(name: str, arrays: dict, logits: np.ndarray, features: np.ndarray) -> tuple[np.ndarray, list]:
    """Return the values of the graph, and its gradients by logits and features."""
    import tensorflow as tf

    from safeml.attacks import monitor_scores

    inputs = tf.constant(logits), tf.constant(features)
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        values = monitor_scores.score(name, arrays, *inputs)
    return values.numpy(), [
        np.zeros(part.shape) if gradient is None else gradient.numpy()
        for part, gradient in zip(inputs, tape.gradient(values, inputs), strict=True)
    ]


def test_every_score_that_a_stage_can_deploy_has_a_twin() -> None:
    from safeml.attacks.monitor_scores import TWINS, needs_features

    assert list(TWINS) == list(SCORES)
    assert {name: needs_features(name) for name in SCORES} == {n: row.features for n, row in SCORES.items()}


@pytest.mark.parametrize("width", [3, 12, MOST_FEATURES + 10])
@pytest.mark.parametrize("name", SCORES)
def test_a_twin_equals_the_score_of_the_monitor(name: str, width: int) -> None:
    arrays, own_logits, own_features = fitted(width)

    @settings(max_examples=15, deadline=None)
    @given(
        st.integers(0, 2**32 - 1),
        st.sampled_from([1e-3, 1.0, 30.0]),
        st.sampled_from([0.0, 1.0, 50.0]),
        st.booleans(),
    )
    def equal(seed: int, sharp: float, away: float, single: bool) -> None:
        rng = np.random.default_rng(seed)
        rows = rng.integers(0, len(own_logits), 7)
        logits = sharp * (own_logits[rows] + rng.normal(size=(7, K)))
        features = own_features[rows] + away * rng.normal(size=(7, width))
        if single:  # as a model gives them
            logits, features = logits.astype(np.float32), features.astype(np.float32)
        expected = score(name, arrays, logits, features)
        values, gradients = twin(name, arrays, logits, features)
        np.testing.assert_allclose(values, expected, rtol=1e-5, atol=1e-5)
        assert all(np.isfinite(gradient).all() for gradient in gradients)

    equal()


@pytest.mark.parametrize("name", SCORES)
def test_the_gradient_of_a_twin_is_that_of_the_score(name: str) -> None:
    arrays, own_logits, own_features = fitted(12)
    rng = np.random.default_rng(3)
    logits, features = own_logits[:4] + 0.1, own_features[:4] + 0.5 * rng.normal(size=(4, 12))
    _, gradients = twin(name, arrays, logits, features)
    for place, part in enumerate((logits, features)):
        step = 1e-5 * rng.normal(size=part.shape)
        both = [
            score(
                name,
                arrays,
                *(p + sign * step if i == place else p for i, p in enumerate((logits, features))),
            )
            for sign in (1, -1)
        ]
        slope = (both[0] - both[1]) / 2
        np.testing.assert_allclose((gradients[place] * step).sum(axis=1), slope, rtol=1e-3, atol=1e-9)


def test_an_exact_match_with_the_coreset_has_a_finite_gradient() -> None:
    arrays, own_logits, _ = fitted(12)
    row = arrays["coreset"][:1].astype(np.float64)
    copies = {**arrays, "coreset": np.repeat(arrays["coreset"][:1], 20, axis=0)}
    values, gradients = twin("neighbours", copies, own_logits[:1], row)
    np.testing.assert_allclose(values, score("neighbours", copies, own_logits[:1], row), atol=1e-5)
    assert np.isfinite(gradients[1]).all()
