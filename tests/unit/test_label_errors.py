"""Confident learning: planted label errors are found, and clean labels give none."""

from __future__ import annotations

import numpy as np
import pytest

from safeml.metrics.label_errors import class_thresholds, confident_classes, label_error_candidates


def blurred_truth(seed: int, K: int = 5, N: int = 400, sharp: float = 6.0) -> tuple[np.ndarray, np.ndarray]:
    """Return the true classes [N] and probabilities [N, K] of a good model."""
    rng = np.random.default_rng(seed)
    true = rng.integers(0, K, N)
    logits = rng.normal(0, 0.5, (N, K))
    logits[np.arange(N), true] += sharp
    powers = np.exp(logits)
    return true, powers / powers.sum(axis=1, keepdims=True)


def test_planted_label_errors_are_found_and_nothing_else() -> None:
    true, probabilities = blurred_truth(0)
    labels = true.copy()
    planted = np.array([3, 50, 51, 200])
    labels[planted] = (labels[planted] + 1) % 5
    assert set(label_error_candidates(probabilities, labels)) == set(planted)
    assert len(label_error_candidates(probabilities, true)) == 0


def test_the_least_probable_label_is_first() -> None:
    true, probabilities = blurred_truth(1)
    labels = np.where(np.arange(400) % 10 == 0, (true + 2) % 5, true)
    rows = label_error_candidates(probabilities, labels)
    own = probabilities[rows, labels[rows]]
    assert (np.diff(own) >= 0).all()


def test_the_thresholds_by_hand() -> None:
    probabilities = np.array([[0.9, 0.1], [0.7, 0.3], [0.4, 0.6]])
    np.testing.assert_allclose(class_thresholds(probabilities, np.array([0, 0, 1])), [0.8, 0.6])
    assert confident_classes(probabilities, np.array([0, 0, 1])).tolist() == [0, -1, 1]


def test_a_class_without_images_is_never_named() -> None:
    probabilities = np.array([[0.1, 0.1, 0.8], [0.6, 0.3, 0.1], [0.2, 0.7, 0.1]])
    labels = np.array([0, 0, 1])
    assert np.isnan(class_thresholds(probabilities, labels)[2])
    assert not np.isin(confident_classes(probabilities, labels), [2]).any()


def test_one_image_a_class_and_a_constant_model_give_no_candidate() -> None:
    assert len(label_error_candidates(np.eye(4), np.arange(4))) == 0
    assert len(label_error_candidates(np.full((6, 3), 1 / 3), np.array([0, 0, 1, 1, 2, 2]))) == 0


def test_the_candidates_are_those_of_cleanlab() -> None:
    cleanlab = pytest.importorskip(
        "cleanlab.filter", reason="cleanlab is not installed; it is an oracle only"
    )
    for seed in range(10):
        true, probabilities = blurred_truth(seed, K=4, N=300, sharp=2.0)
        labels = np.where(np.random.default_rng(seed).random(300) < 0.1, (true + 1) % 4, true)
        theirs = cleanlab.find_label_issues(
            labels, probabilities, filter_by="confident_learning", return_indices_ranked_by="self_confidence"
        )
        assert set(label_error_candidates(probabilities, labels)) == set(theirs.tolist())
