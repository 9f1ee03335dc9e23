"""Membership scores, ROC and likelihood ratios against scikit-learn, closed forms and planted answers."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.special import logsumexp, ndtr
from sklearn.metrics import roc_auc_score, roc_curve

from safeml.metrics.membership import (
    best_threshold,
    class_medians,
    confidence_score,
    lira_scores,
    margin_score,
    resampled_separation,
    separation,
    true_class_score,
)
from safeml.statistics import Clustering
from safeml.statistics.independent import independent_difference_metric

SETS = {
    "continuous": lambda rng: (rng.normal(0.5, 1, 70), rng.normal(0, 1, 90)),
    "ties": lambda rng: (rng.integers(0, 4, 70) + 0.5, rng.integers(0, 5, 90) + 0.0),
    "many ties": lambda rng: (rng.integers(0, 3, 70) * 1.0, rng.integers(0, 3, 90) * 1.0),
    "constant": lambda rng: (np.ones(70), np.ones(90)),
    "apart": lambda rng: (np.ones(70), np.zeros(90)),
    "reversed": lambda rng: (np.zeros(70), np.ones(90)),
}


@pytest.mark.parametrize("name", SETS)
def test_auc_and_tpr_are_those_of_scikit_learn(name: str) -> None:
    members, others = SETS[name](np.random.default_rng(1))
    truth, scores = np.repeat([1, 0], [70, 90]), np.concatenate([members, others])
    found = separation(members, others, (0.0, 0.01, 0.1, 0.5, 1.0))
    assert found.auc == pytest.approx(roc_auc_score(truth, scores))
    false, true, _ = roc_curve(truth, scores, drop_intermediate=False)
    expected = [true[false <= at + 1e-12].max() for at in (0.0, 0.01, 0.1, 0.5, 1.0)]
    assert found.tpr == pytest.approx(expected)


@pytest.mark.parametrize("name", SETS)
def test_the_best_threshold_is_the_best_of_all(name: str) -> None:
    members, others = SETS[name](np.random.default_rng(2))
    threshold, advantage = best_threshold(members, others)
    cuts = np.concatenate([np.unique(np.concatenate([members, others])), [np.inf]])
    best = max(float((members >= cut).mean() - (others >= cut).mean()) for cut in cuts)
    assert advantage == pytest.approx(best)
    assert (members >= threshold).mean() - (others >= threshold).mean() == pytest.approx(best)


def test_a_resample_of_all_images_is_the_measured_value_and_counts_are_copies() -> None:
    rng = np.random.default_rng(3)
    members, others = rng.integers(0, 9, 30) * 1.0, rng.integers(0, 9, 40) * 1.0
    counts = rng.integers(0, 3, (5, 30)), rng.integers(0, 3, (5, 40))
    counts[0][0], counts[1][0] = 1, 1
    areas, rates = resampled_separation(members, others, counts[0] * 1.0, counts[1] * 1.0, (0.1,))
    for row in range(5):
        repeated = (np.repeat(members, counts[0][row]), np.repeat(others, counts[1][row]))
        expected = separation(*repeated, (0.1,))
        assert areas[row] == pytest.approx(expected.auc)
        assert rates[row] == pytest.approx(expected.tpr)


def test_scores_are_the_log_odds_of_the_softmax_and_do_not_saturate() -> None:
    rng = np.random.default_rng(4)
    logits, labels = rng.normal(0, 3, (50, 6)), rng.integers(0, 6, 50)
    p = np.exp(logits - logsumexp(logits, axis=1, keepdims=True))
    own = p[np.arange(50), labels]
    assert true_class_score(logits, labels) == pytest.approx(np.log(own / (1 - own)))
    top = p.max(axis=1)
    assert confidence_score(logits) == pytest.approx(np.log(top / (1 - top)))
    others = np.where(np.eye(6, dtype=bool)[labels], -np.inf, logits).max(axis=1)
    assert margin_score(logits, labels) == pytest.approx(logits[np.arange(50), labels] - others)
    # float32 probabilities of these two are both 1.
    far = true_class_score(np.array([[200.0, 0.0], [300.0, 0.0]], np.float32), np.array([0, 0]))
    assert far.tolist() == [200.0, 300.0]


def test_scores_order_images_as_the_loss_does() -> None:
    rng = np.random.default_rng(5)
    logits, labels = rng.normal(0, 2, (200, 4)), rng.integers(0, 4, 200)
    loss = logsumexp(logits, axis=1) - logits[np.arange(200), labels]
    assert np.argsort(true_class_score(logits, labels)).tolist() == np.argsort(-loss).tolist()


def test_class_medians_of_own_classes_only() -> None:
    scores, labels = np.array([1.0, 3.0, 10.0, 20.0]), np.array([0, 0, 1, 2])
    assert class_medians(scores, labels, np.array([True, False, False])).tolist() == [2.0, 6.5, 6.5]


@pytest.mark.parametrize("gain", [0.0, 0.5, 2.0])
def test_lira_has_the_closed_form_of_gaussian_models(gain: float) -> None:
    """Members have log odds N(m_i + gain, 1), others N(m_i, 1), and so have the shadow models without the image.

    With k such models the score is N(gain, 1 + 1/k) against N(0, 1 + 1/k): AUC = Phi(gain / sqrt(2 (1 + 1/k))). The means m_i vary
    far more, so a threshold on the log odds alone has an AUC near one half.
    """
    rng = np.random.default_rng(6)
    N, S = 8000, 16
    means = rng.normal(0, 20, N)
    member = np.arange(N) < N // 2
    observed = means + gain * member + rng.normal(0, 1, N)
    outside = rng.random((S, N)).argsort(axis=0) < S // 2
    shadows = means + np.where(outside, 0, 5) + rng.normal(0, 1, (S, N))
    scores = lira_scores(observed, shadows, outside)
    expected = float(ndtr(gain / math.sqrt(2 * (1 + 2 / S))))
    found = separation(scores[member], scores[~member], ())
    assert found.auc == pytest.approx(expected, abs=0.015)
    assert np.std(scores[~member]) == pytest.approx(math.sqrt(1 + 2 / S), rel=0.05)
    blind = separation(observed[member], observed[~member], ())
    assert blind.auc == pytest.approx(0.5, abs=0.05)


def test_lira_of_shadow_models_that_agree_is_the_plain_difference() -> None:
    scores = lira_scores(np.array([1.0, 5.0]), np.zeros((4, 2)), np.ones((4, 2), bool))
    assert scores.tolist() == [1.0, 5.0]


def test_the_difference_of_independent_proportions_is_newcombes() -> None:
    """Newcombe (1998), table II, with exact intervals in place of Wilson's: 56/70 - 48/80."""
    first, second = np.arange(70) < 56, np.arange(80) < 48
    alone = Clustering(frames_per_sign=1)
    metric = independent_difference_metric(
        "d", "D", first, second, first_clustering=alone, second_clustering=alone, direction="down"
    )
    assert metric.value == pytest.approx(0.2)
    # Newcombe's method 10 gives 0.0524 to 0.3339; exact intervals are a little wider, and no more.
    assert 0.03 < metric.low < 0.0524
    assert 0.3339 < metric.high < 0.36
    assert (metric.n, metric.signs) == (150, 70)


def test_a_difference_without_known_signs_has_no_interval() -> None:
    hits = np.ones(40, bool)
    metric = independent_difference_metric(
        "d", "D", hits, ~hits, first_clustering=Clustering(frames_per_sign=1), direction="down"
    )
    assert (metric.value, metric.low, metric.signs, metric.clustering) == (1.0, None, None, "unknown")
    empty = independent_difference_metric("d", "D", hits[:0], hits, direction="down")
    assert empty.value is None


@pytest.mark.parametrize("frames", [1, 10])
def test_the_interval_of_the_difference_covers_zero_for_equal_sides(frames: int) -> None:
    """Whole signs are hit or not, half of them on each side: the interval must hold 0 in at least 95 of 100 draws, less luck."""
    rng = np.random.default_rng(7)
    covered = 0
    for _ in range(300):
        sides = [np.repeat(rng.random(signs) < 0.5, frames) for signs in (60, 90)]
        tracks = [Clustering(tracks=np.repeat(np.arange(signs), frames)) for signs in (60, 90)]
        metric = independent_difference_metric(
            "d", "D", *sides, first_clustering=tracks[0], second_clustering=tracks[1], direction="down"
        )
        covered += metric.low <= 0 <= metric.high
    assert covered >= 280  # 285 expected; 300 draws have a standard error of 4
