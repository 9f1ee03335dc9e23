"""Certificates against closed forms: of a linear classifier both the L-infinity and the L2 distance are known exactly.

Legend: N images, D pixels of one image, K classes.
"""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest, norm

from safeml.certification.smoothing import ABSTAIN, smooth
from safeml.errors import StageError
from tests import subjects

SIDE = 4
D = SIDE * SIDE


def linear_weights(K: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(D, K)).astype(np.float32), rng.normal(size=K).astype(np.float32) * 0.1


def pixels(count: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0, 1, (count, SIDE, SIDE, 1)).astype(np.float32)


def exact_least_margin(
    images: np.ndarray, labels: np.ndarray, weights: np.ndarray, bias: np.ndarray, epsilon: float
) -> np.ndarray:
    """The least margin over the ball cut at 0..1, pixel by pixel: each takes the end that its weight dislikes."""
    x = images.reshape(len(images), D).astype(np.float64)
    low, high = np.clip(x - epsilon, 0, 1), np.clip(x + epsilon, 0, 1)
    least = np.full(len(images), np.inf)
    for other in range(weights.shape[1]):
        w = (weights[:, labels] - weights[:, [other]]).T.astype(np.float64)
        margin = np.where(w > 0, w * low, w * high).sum(axis=1) + bias[labels] - bias[other]
        least = np.where(labels == other, least, np.minimum(least, margin))
    return least


@pytest.mark.slow
@pytest.mark.parametrize("epsilon", [0.0, 0.02, 0.1, 0.4])
def test_on_a_linear_classifier_the_certificate_is_exact(epsilon):
    from safeml.certification.ibp import certify_linf

    weights, bias = linear_weights(3)
    images = pixels(300)
    labels = (images.reshape(300, D) @ weights + bias).argmax(1)
    labels[::7] = (labels[::7] + 1) % 3  # some are wrong
    least = exact_least_margin(images, labels, weights, bias, epsilon)
    clear = np.abs(least) > 1e-4
    assert clear.sum() > 290
    found = certify_linf(subjects.linear(weights, bias), images, labels, epsilon, batch=128)
    np.testing.assert_array_equal(found[clear], least[clear] > 0)
    assert epsilon == 0.4 or found.any()
    assert not found.all()


@pytest.mark.slow
def test_the_certified_radius_of_a_linear_classifier_is_its_distance():
    """Away from the borders of 0..1 the distance is margin / L1 norm of the weights; bisection stops short of it by its step."""
    from safeml.certification.ibp import certified_radius, certify_linf

    weights, bias = linear_weights(2, seed=3)
    images = (0.5 + 0.2 * (pixels(50, seed=4) - 0.5)).astype(np.float32)
    difference = (weights[:, 0] - weights[:, 1]).astype(np.float64)
    signed = images.reshape(50, D) @ difference + (bias[0] - bias[1])
    distance = np.abs(signed) / np.abs(difference).sum()
    labels = (signed < 0).astype(np.int64)
    labels[0] = 1 - labels[0]
    radius = certified_radius(subjects.linear(weights, bias), images, labels, most=0.2, halvings=12, batch=32)
    assert radius[0] == 0
    right = np.arange(1, 50)
    assert (radius[right] < np.minimum(distance[right], 0.2) + 1e-12).all()
    np.testing.assert_allclose(radius[right], np.minimum(distance[right], 0.2), atol=0.2 / 2**12 + 1e-5)
    at = float(np.median(radius[right]))
    np.testing.assert_array_equal(
        certify_linf(subjects.linear(weights, bias), images, labels, at, batch=50), radius >= at
    )


@pytest.mark.slow
def test_a_tie_and_a_wrong_answer_are_never_certified_but_a_constant_right_one_always():
    from safeml.certification.base import NotCertifiable
    from safeml.certification.ibp import certify_linf

    images, labels = pixels(5), np.zeros(5, dtype=np.int64)
    zero, bias = np.zeros((D, 3)), np.array([1.0, 0.0, 0.0])
    assert certify_linf(subjects.linear(zero, bias), images, labels, 1.0, batch=5).all()
    assert not certify_linf(subjects.linear(zero, bias), images, labels + 1, 0.0, batch=5).any()
    assert not certify_linf(subjects.linear(zero, 0 * bias), images, labels, 0.0, batch=5).any()
    always = subjects.Subject("always", 3, lambda x: np.tile(np.float32([1, 0, 0]), (x.shape[0], 1)))
    with pytest.raises(NotCertifiable, match="do not depend on the image"):
        certify_linf(always, images, labels, 0.0, batch=5)
    with pytest.raises(NotCertifiable, match="holds NaN"):
        certify_linf(subjects.undefined(3), images, labels, 0.0, batch=5)


@pytest.mark.slow
def test_bounds_hold_what_float32_computes_and_not_only_the_exact_sum():
    """Sums that cancel: float32 is off by far more than float64, and the exact interval at epsilon 0 is a point."""
    from safeml.certification.ibp import certify_linf, logit_bounds

    big = np.zeros((D, 2))
    big[: D - 1, 0] = np.where(np.arange(D - 1) % 2, 1e6, -1e6) * (1 + 0.1 * np.arange(D - 1))
    images = pixels(64)
    classifier = subjects.linear(big, np.zeros(2))
    lower, upper = logit_bounds(classifier, images, 0.0, batch=64)
    computed = classifier.predict_logits(images)
    exact = images.reshape(64, D).astype(np.float64) @ big.astype(np.float32).astype(np.float64)
    assert np.abs(computed - exact).max() > 0.01
    assert ((lower <= computed) & (computed <= upper)).all()
    assert ((lower <= exact) & (exact <= upper)).all()
    # A margin that is right in exact arithmetic and smaller than what float32 can be off proves nothing.
    labels = np.zeros(64, dtype=np.int64)
    bias = np.array([0.5 - exact[0, 0], 0.0])
    assert not certify_linf(subjects.linear(big, bias), images[:1], labels[:1], 0.0, batch=1)[0]


def two_class_predict(weights: np.ndarray, bias: float):
    """logits (0, w.x + b): class 1 where it is positive."""

    def predict(images: np.ndarray) -> np.ndarray:
        score = images.reshape(len(images), D) @ weights + bias
        return np.stack([np.zeros_like(score), score], axis=1)

    return predict


def at_distance(distance: float, count: int, seed: int = 0):
    """A linear classifier and `count` copies of an image of class 1 at this L2 distance from its boundary."""
    weights = np.random.default_rng(seed).normal(size=D).astype(np.float32)
    image = np.full((1, SIDE, SIDE, 1), 0.5, np.float32)
    bias = distance * np.linalg.norm(weights) - float(image.reshape(D) @ weights)
    return two_class_predict(weights, np.float32(bias)), np.repeat(image, count, axis=0)


def test_the_smoothed_radius_of_a_linear_classifier_exceeds_its_distance_with_probability_alpha_at_most():
    """Smoothing a linear classifier changes no answer, so the distance is the radius of the perfect certificate."""
    alpha, sigma, distance, repetitions = 0.1, 0.25, 0.2, 400
    predict, images = at_distance(distance, repetitions)
    labels = np.ones(repetitions, dtype=np.int64)
    found = smooth(predict, images, labels, sigma, 20, 200, alpha, seed=5)
    false = int((found.radius > distance).sum())
    # The exact interval keeps its level: more false certificates than chance allows would be a defect.
    assert binomtest(false, repetitions, alpha, alternative="greater").pvalue > 1e-3
    assert false > 0  # and it is not so wide that it proves nothing
    assert np.median(found.radius) > 0.6 * distance
    p = norm.cdf(distance / sigma)
    assert found.votes[:, 1].mean() / 200 == pytest.approx(
        p, abs=4 * np.sqrt(p * (1 - p) / 200 / repetitions)
    )


def test_on_the_boundary_it_abstains_and_abstention_is_never_robust():
    alpha, repetitions = 0.05, 400
    predict, images = at_distance(0.0, repetitions)
    found = smooth(predict, images, np.ones(repetitions, dtype=np.int64), 0.25, 20, 200, alpha, seed=6)
    answered = int((found.answers != ABSTAIN).sum())
    assert binomtest(answered, repetitions, alpha, alternative="greater").pvalue > 1e-3
    abstaining = found.answers == ABSTAIN
    assert not found.right[abstaining].any()
    assert (found.radius[abstaining] == 0).all()
    assert not found.certified(0.0)[abstaining].any()


def test_the_radius_is_the_exact_one_sided_bound_of_the_votes():
    predict, images = at_distance(0.15, 30)
    found = smooth(predict, images, np.ones(30, dtype=np.int64), 0.3, 10, 150, 0.01, seed=7)
    for row in np.flatnonzero(found.right):
        low = binomtest(int(found.votes[row, 1]), 150, alternative="greater").proportion_ci(0.99).low
        assert found.radius[row] == pytest.approx(0.3 * norm.ppf(low), rel=1e-9)
    assert found.right.sum() > 20


def test_a_constant_classifier_gets_the_largest_radius_that_so_many_samples_can_show():
    def predict(images):
        return np.tile(np.float32([0, 0, 3]), (len(images), 1))

    found = smooth(predict, pixels(4), np.array([2, 2, 0, 2]), 0.5, 10, 1000, 0.001, seed=1)
    largest = 0.5 * norm.ppf(0.001 ** (1 / 1000))  # all votes: the bound is alpha^(1/n)
    np.testing.assert_allclose(found.radius, [largest, largest, 0, largest], rtol=1e-9)
    np.testing.assert_array_equal(found.answers, [2, 2, 2, 2])
    np.testing.assert_array_equal(found.certified(largest * 0.99), [True, True, False, True])
    assert not found.certified(largest * 1.01).any()


def test_the_class_is_chosen_by_other_copies_than_those_that_certify_it():
    """A wrong choice must not be mended by the later votes: the first copies say 0, all the others say 1."""
    seen = 0

    def predict(images):
        nonlocal seen
        places = seen + np.arange(len(images))
        seen += len(images)
        return np.stack([places < 5, places >= 5], axis=1).astype(np.float32)

    found = smooth(predict, pixels(1), np.array([1]), 0.5, 5, 100, 0.001, seed=1, chunk=3)
    np.testing.assert_array_equal(found.votes, [[0, 100]])
    np.testing.assert_array_equal(found.answers, [ABSTAIN])


def test_copies_without_finite_logits_vote_for_nobody():
    def predict(images):
        logits = np.tile(np.float32([0, 1]), (len(images), 1))
        logits[images[:, 0, 0, 0] > 0.5] = np.nan
        return logits

    half = np.full((1, SIDE, SIDE, 1), 0.5, np.float32)
    found = smooth(predict, half, np.array([1]), 0.5, 100, 1000, 0.001, seed=1)
    assert found.votes[0, 0] == 0
    assert 400 < found.votes[0, 1] < 600
    assert found.answers[0] == ABSTAIN


def test_smoothing_does_not_depend_on_order_chunk_or_company():
    predict, _ = at_distance(0.1, 1)
    images, labels, ids = pixels(12), np.ones(12, dtype=np.int64), np.arange(100, 112)
    whole = smooth(predict, images, labels, 0.2, 10, 60, 0.05, seed=9, ids=ids, chunk=1000)
    order = np.random.default_rng(0).permutation(12)[:7]
    parts = smooth(predict, images[order], labels[order], 0.2, 10, 60, 0.05, seed=9, ids=ids[order], chunk=7)
    np.testing.assert_array_equal(parts.votes, whole.votes[order])
    np.testing.assert_array_equal(parts.radius, whole.radius[order])
    other = smooth(predict, images, labels, 0.2, 10, 60, 0.05, seed=10, ids=ids)
    assert (other.votes != whole.votes).any()


def test_noisy_pixels_are_in_pixel_units_and_not_cut():
    seen: list[np.ndarray] = []

    def predict(images):
        seen.append(images)
        return np.zeros((len(images), 2), np.float32)

    black = np.zeros((1, SIDE, SIDE, 1), np.uint8)
    smooth(predict, black, np.array([0]), 0.25, 100, 1900, 0.05, seed=1)
    smooth(predict, black + 255, np.array([0]), 0.25, 100, 1900, 0.05, seed=1)
    noise, white = np.concatenate(seen[: len(seen) // 2]), np.concatenate(seen[len(seen) // 2 :])
    assert noise.std() == pytest.approx(0.25, rel=0.02)
    assert abs(noise.mean()) < 0.01
    np.testing.assert_allclose(white, noise + 1, atol=1e-6)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"sigma": 0.0}, "sigma is 0.0"),
        ({"sigma": float("nan")}, "sigma is nan"),
        ({"alpha": 0.5}, "alpha 0.5"),
        ({"samples": 0}, "are 10, 0, 256"),
        ({"labels": np.zeros(3, dtype=np.int64)}, r"labels are \[3\]"),
        ({"images": np.zeros((2, D), np.float32)}, r"float32 \[2, 16\]"),
        ({"predict": lambda images: np.zeros(len(images))}, r"predict gave \[10\]"),
    ],
)
def test_smoothing_says_what_does_not_fit(change, says):
    predict, images = at_distance(0.1, 2)
    given = {
        "predict": predict,
        "images": images,
        "labels": np.ones(2, dtype=np.int64),
        "sigma": 0.2,
        "samples0": 10,
        "samples": 20,
        "alpha": 0.05,
        "seed": 1,
    }
    with pytest.raises(StageError, match=says):
        smooth(**{**given, **change})
