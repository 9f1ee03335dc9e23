"""Our classification metrics against scikit-learn's, on random answers."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import softmax as scipy_softmax
from scipy.stats import entropy

from safeml.metrics.balance import effective_classes
from safeml.metrics.classification import (
    class_scores,
    confusion_matrix,
    macro_f1_score,
    macro_recall_score,
    predictions,
    softmax,
)

sklearn = pytest.importorskip("sklearn.metrics")


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("skew", [0.2, 5.0])
def test_scores_agree_with_scikit_learn(seed: int, skew: float) -> None:
    rng = np.random.default_rng(seed)
    K = 12
    labels = rng.choice(K, 400, p=rng.dirichlet(np.full(K, skew)))
    answers = np.where(rng.random(400) < 0.7, labels, rng.integers(0, K, 400))
    confusion = confusion_matrix(labels, answers, K)
    np.testing.assert_array_equal(
        confusion[:, :K], sklearn.confusion_matrix(labels, answers, labels=range(K))
    )
    scores = class_scores(confusion)
    precision, recall, f1, support = sklearn.precision_recall_fscore_support(
        labels, answers, labels=range(K), zero_division=np.nan
    )
    np.testing.assert_allclose(scores.precision, precision)
    np.testing.assert_allclose(scores.recall, recall)
    np.testing.assert_array_equal(scores.support, support)
    defined = support + (confusion[:, :K].sum(axis=0)) > 0
    np.testing.assert_allclose(scores.f1[defined], f1[defined])
    present = np.unique(labels)
    assert macro_recall_score(confusion) == pytest.approx(
        sklearn.recall_score(labels, answers, labels=present, average="macro")
    )
    assert macro_f1_score(confusion) == pytest.approx(
        sklearn.f1_score(labels, answers, labels=present, average="macro")
    )


def test_macro_recall_is_balanced_accuracy() -> None:
    rng = np.random.default_rng(9)
    labels, answers = rng.integers(0, 7, 300), rng.integers(0, 7, 300)
    expected = sklearn.balanced_accuracy_score(labels, answers)
    assert macro_recall_score(confusion_matrix(labels, answers, 7)) == pytest.approx(expected)


def test_softmax_and_answers_agree_with_scipy() -> None:
    logits = np.random.default_rng(3).normal(scale=30, size=(200, 9))
    np.testing.assert_allclose(softmax(logits), scipy_softmax(logits, axis=1))
    np.testing.assert_array_equal(predictions(logits).classes, scipy_softmax(logits, axis=1).argmax(axis=1))


def test_effective_classes_agrees_with_scipy_entropy() -> None:
    counts = np.random.default_rng(4).integers(1, 100, 43)
    assert effective_classes(counts) == pytest.approx(np.exp(entropy(counts)))
