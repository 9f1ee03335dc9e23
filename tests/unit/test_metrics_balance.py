"""Balance of classes in closed form."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import spearmanr

from safeml.metrics.balance import (
    class_counts,
    effective_classes,
    imbalance_ratio,
    normalised_entropy,
    rank_correlation,
)


def test_counts_name_classes_without_images_too() -> None:
    assert class_counts(np.array([0, 2, 2]), 4).tolist() == [1, 0, 2, 0]


def test_even_classes() -> None:
    counts = np.full(43, 7)
    assert imbalance_ratio(counts) == 1.0
    assert effective_classes(counts) == pytest.approx(43)


def test_two_of_three_classes_used_evenly_are_two_effective_classes() -> None:
    assert effective_classes(np.array([5, 5, 0])) == pytest.approx(2)


def test_effective_classes_in_closed_form() -> None:
    # H = -(1/2 ln 1/2 + 1/4 ln 1/4 + 1/4 ln 1/4) = 1.5 ln 2
    assert effective_classes(np.array([2, 1, 1])) == pytest.approx(2**1.5)


def test_a_class_without_images_has_no_ratio() -> None:
    assert imbalance_ratio(np.array([10, 2])) == 5.0
    assert np.isnan(imbalance_ratio(np.array([10, 0])))
    assert np.isnan(effective_classes(np.zeros(3, dtype=np.int64)))


def test_normalised_entropy_in_closed_form() -> None:
    assert normalised_entropy(np.full(43, 7)) == pytest.approx(1)
    assert normalised_entropy(np.array([5, 0, 0])) == 0
    assert normalised_entropy(np.array([5, 5, 0, 0])) == pytest.approx(0.5)  # ln 2 / ln 4
    assert np.isnan(normalised_entropy(np.zeros(3, dtype=np.int64)))


def test_the_rank_correlation_is_that_of_scipy_with_ties() -> None:
    rng = np.random.default_rng(3)
    for _ in range(50):
        one, two = rng.integers(0, 6, 12), rng.integers(0, 6, 12)
        if np.ptp(one) and np.ptp(two):
            assert rank_correlation(one, two) == pytest.approx(spearmanr(one, two).statistic, abs=1e-12)
    assert np.isnan(rank_correlation(np.ones(4), np.arange(4)))
