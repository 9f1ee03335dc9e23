"""Scores against closed forms and other libraries. Legend: N images, K classes, F features."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import special
from scipy.spatial import distance as spatial

from safeml.monitors import feature_scores, scores
from safeml.monitors.errors import MonitorRefused
from safeml.monitors.registry import SCORES, available, fit_scores, score

pytestmark = pytest.mark.slow

RNG = np.random.default_rng(0)
LOGITS = RNG.normal(0, 3, (50, 6))
LABELS = np.arange(400) % 4
FEATURES = RNG.normal(size=(400, 8)) @ RNG.normal(size=(8, 8)) + 3 * np.eye(8)[LABELS]
HEAD = RNG.normal(size=(8, 4)), RNG.normal(size=4)
OUTPUTS = FEATURES @ HEAD[0] + HEAD[1]
ARRAYS = fit_scores(OUTPUTS, FEATURES, LABELS, 4, 0)


def test_scores_of_logits_are_their_definitions() -> None:
    p = special.softmax(LOGITS, axis=1)
    top = p.max(axis=1)
    assert scores.max_probability(LOGITS) == pytest.approx(np.log(top / (1 - top)))
    assert scores.log_softmax(LOGITS) == pytest.approx(special.log_softmax(LOGITS, axis=1))
    assert scores.energy(LOGITS, 2.0) == pytest.approx(2 * special.logsumexp(LOGITS / 2, axis=1))
    assert scores.entropy(LOGITS) == pytest.approx(-special.entr(p).sum(axis=1))
    assert scores.max_logit(LOGITS) == pytest.approx(LOGITS.max(axis=1))


def test_a_saturated_softmax_is_still_ordered() -> None:
    """In float64 both largest probabilities are exactly 1."""
    logits = np.array([[60.0, 0, 0], [90.0, 0, 0]])
    assert (special.softmax(logits, axis=1).max(axis=1) == 1).all()
    for name in ("max_probability", "entropy", "energy", "max_logit"):
        low, high = score(name, {}, logits)
        assert low < high, name
    assert np.isfinite(scores.max_probability(np.array([[1e4, 0.0]]))).all()


def test_mahalanobis_is_the_distance_of_scipy() -> None:
    state = feature_scores.fit_mahalanobis(FEATURES, LABELS, 4)
    means = np.stack([FEATURES[k == LABELS].mean(axis=0) for k in range(4)])
    centred = FEATURES - means[LABELS]
    within = centred.T @ centred / (len(FEATURES) - 1)
    within += feature_scores.RIDGE * np.trace(within) / 8 * np.eye(8)
    total = np.cov(FEATURES, rowvar=False)
    total += feature_scores.RIDGE * np.trace(total) / 8 * np.eye(8)
    nearest = spatial.cdist(FEATURES[:20], means, "mahalanobis", VI=np.linalg.inv(within)).min(axis=1) ** 2
    overall = (
        spatial.cdist(FEATURES[:20], FEATURES.mean(axis=0)[None], "mahalanobis", VI=np.linalg.inv(total))[
            :, 0
        ]
        ** 2
    )
    assert feature_scores.mahalanobis(state, FEATURES[:20]) == pytest.approx(-nearest, rel=1e-3)
    assert feature_scores.relative_mahalanobis(state, FEATURES[:20]) == pytest.approx(
        overall - nearest, rel=1e-3, abs=1e-3
    )


def test_neighbours_are_those_of_a_whole_search() -> None:
    state = feature_scores.fit_neighbours(FEATURES, LABELS, 4, 0)
    assert len(state["coreset"]) == 400  # fewer than the coreset may hold
    bank = FEATURES / np.linalg.norm(FEATURES, axis=1, keepdims=True)
    other = RNG.normal(size=(10, 8))
    unit = other / np.linalg.norm(other, axis=1, keepdims=True)
    kth = np.sort(spatial.cdist(unit, bank), axis=1)[:, feature_scores.NEIGHBOURS - 1]
    assert feature_scores.neighbours(state, other) == pytest.approx(-kth, abs=1e-4)
    few = feature_scores.fit_neighbours(np.repeat(FEATURES, 5, axis=0), np.repeat(LABELS, 5), 4, 0)["coreset"]
    assert len(few) == feature_scores.CORESET


def test_the_head_is_recovered_and_vim_is_its_formula() -> None:
    origin, linear = feature_scores.head_origin(OUTPUTS, FEATURES)
    assert linear
    shifted = OUTPUTS + RNG.normal(size=(400, 1))  # the softmax was taken off up to a constant of each image
    again, _ = feature_scores.head_origin(shifted, FEATURES)
    assert again == pytest.approx(origin)
    own = origin @ HEAD[0] + HEAD[1]
    assert own == pytest.approx(own.mean())
    state = feature_scores.fit_vim(OUTPUTS, FEATURES)
    centred = FEATURES - origin
    _, vectors = np.linalg.eigh(centred.T @ centred)
    rest = np.linalg.norm(centred @ vectors[:, :4], axis=1)
    scale = OUTPUTS.max(axis=1).mean() / rest.mean()
    expected = special.logsumexp(OUTPUTS, axis=1) - scale * rest
    assert feature_scores.vim(state, OUTPUTS, FEATURES) == pytest.approx(expected, abs=1e-3)


def test_a_head_that_is_not_linear_has_the_mean_as_origin() -> None:
    origin, linear = feature_scores.head_origin(np.sin(3 * OUTPUTS), FEATURES)
    assert not linear
    assert origin == pytest.approx(FEATURES.mean(axis=0))


@pytest.mark.parametrize("name", [name for name, row in SCORES.items() if row.features])
def test_features_far_away_are_trusted_less(name) -> None:
    far = np.concatenate([FEATURES[:50], -30 * np.ones((50, 8)) + RNG.normal(size=(50, 8))])
    values = score(name, ARRAYS, np.repeat(OUTPUTS[:50], 2, axis=0), far)
    assert np.median(values[:50]) > np.median(values[50:])


def test_a_constant_feature_that_changes_is_far_and_finite() -> None:
    fixed = FEATURES.copy()
    fixed[:, 3] = 1.5
    arrays = fit_scores(OUTPUTS, fixed, LABELS, 4, 0)
    moved = fixed[:5].copy()
    moved[:, 3] += 1
    same, other = (
        score("mahalanobis", arrays, OUTPUTS[:5], fixed[:5]),
        score("mahalanobis", arrays, OUTPUTS[:5], moved),
    )
    assert np.isfinite(other).all()
    assert (other < same - 50).all()


def test_a_class_without_an_image_is_near_nothing() -> None:
    arrays = fit_scores(np.concatenate([OUTPUTS, OUTPUTS[:, :1]], axis=1), FEATURES, LABELS, 5, 0)
    assert not arrays["known"][4]
    assert np.isfinite(score("mahalanobis", arrays, np.zeros((1, 5)), np.zeros((1, 8)))).all()


def test_many_features_are_reduced_and_the_rest_is_not_lost() -> None:
    wide = RNG.normal(size=(300, 4)) @ RNG.normal(size=(4, 300)) + 0.01 * RNG.normal(size=(300, 300))
    arrays = fit_scores(wide @ RNG.normal(size=(300, 3)), wide, np.arange(300) % 3, 3, 0)
    assert arrays["class_means"].shape == (3, feature_scores.MOST_FEATURES)
    off = wide[:3] + 5 * RNG.normal(size=(3, 300))
    logits = np.zeros((3, 3))
    assert (score("mahalanobis", arrays, logits, off) < score("mahalanobis", arrays, logits, wide[:3])).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_value_that_is_not_finite_is_refused(bad) -> None:
    logits, features = OUTPUTS[:2].copy(), FEATURES[:2].copy()
    logits[1, 1], features[0, 0] = bad, bad
    for name in SCORES:
        with pytest.raises(MonitorRefused, match="not finite"):
            score(name, ARRAYS, logits if not SCORES[name].features else OUTPUTS[:2], features)


@pytest.mark.parametrize("name", [name for name, row in SCORES.items() if row.features])
def test_another_number_of_features_is_refused(name) -> None:
    with pytest.raises(MonitorRefused, match=r"expected \[N, 8\]"):
        score(name, ARRAYS, OUTPUTS[:2], FEATURES[:2, :7])


def test_a_score_of_features_needs_them() -> None:
    assert available({}) == ("max_probability", "max_logit", "energy", "entropy")
    assert available(ARRAYS) == tuple(SCORES)
    with pytest.raises(MonitorRefused, match="needs features"):
        score("vim", {}, OUTPUTS)
    with pytest.raises(MonitorRefused, match="expected one of"):
        score("magic", {}, OUTPUTS)
