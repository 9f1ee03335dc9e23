"""Measures of detection against scikit-learn and hand-made cases. Legend: N images, R resamples."""

from __future__ import annotations

import numpy as np
import pytest

from safeml.metrics.detection import (
    auroc_draws,
    auroc_score,
    average_precision_score,
    detection_rates,
    fpr_at_95_error,
)

metrics = pytest.importorskip("sklearn.metrics")


@pytest.mark.parametrize("digits", [8, 0])
def test_they_are_those_of_scikit_learn_with_and_without_ties(digits: int) -> None:
    rng = np.random.default_rng(digits)
    reject = rng.random(300) < 0.2
    scores = np.round(rng.normal(size=300) - reject, digits)
    assert auroc_score(scores, reject) == pytest.approx(metrics.roc_auc_score(reject, -scores))
    assert average_precision_score(scores, reject) == pytest.approx(
        metrics.average_precision_score(reject, -scores)
    )
    other = metrics.average_precision_score(~reject, scores)
    assert average_precision_score(scores, reject, positive_rejected=False) == pytest.approx(other)


def test_a_resample_is_the_score_of_the_images_it_holds() -> None:
    rng = np.random.default_rng(1)
    reject = rng.random(40) < 0.4
    scores = np.round(rng.normal(size=40), 1)
    rows = rng.integers(40, size=(5, 40))
    counts = np.array([np.bincount(row, minlength=40) for row in rows], float)
    drawn = auroc_draws(scores, reject, counts)
    assert drawn == pytest.approx([metrics.roc_auc_score(reject[row], -scores[row]) for row in rows])


def test_a_score_that_separates_and_one_that_is_the_wrong_way_round() -> None:
    reject = np.array([True] * 5 + [False] * 95)
    scores = np.arange(100.0)
    assert detection_rates(scores, reject) == {
        "auroc": 1.0,
        "aupr_reject": 1.0,
        "aupr_trust": 1.0,
        "fpr_at_95": 0.0,
        "coverage_at_1_percent": 0.95,
    }
    assert auroc_score(-scores, reject) == 0
    assert fpr_at_95_error(-scores, reject) == 1
    assert auroc_score(np.zeros(100), reject) == 0.5


def test_without_both_kinds_nothing_is_measured() -> None:
    for reject in (np.zeros(4, bool), np.ones(4, bool)):
        assert np.isnan(auroc_score(np.arange(4.0), reject))
        assert np.isnan(fpr_at_95_error(np.arange(4.0), reject))
    assert np.isnan(average_precision_score(np.arange(4.0), np.zeros(4, bool)))


def test_minus_infinity_is_the_least_trusted() -> None:
    assert auroc_score(np.array([-np.inf, -np.inf, 0.0, 1.0]), np.array([True, True, False, False])) == 1
