"""Classification metrics on hand-made answers."""

from __future__ import annotations

import numpy as np
import pytest

from safeml.metrics.classification import (
    NO_ANSWER,
    class_scores,
    confusion_matrix,
    macro_f1_score,
    macro_recall_score,
    predictions,
    softmax,
)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_row_without_finite_logits_is_no_answer_and_never_class_0(bad: float) -> None:
    answers = predictions(np.array([[bad, 0.0, 1.0], [3.0, 0.0, 1.0]]))
    assert answers.classes.tolist() == [NO_ANSWER, 0]
    assert answers.answered.tolist() == [False, True]
    assert np.isnan(answers.probabilities[0]).all()
    assert not answers.ties.any()


def test_a_tie_takes_the_lowest_class_and_is_marked() -> None:
    answers = predictions(np.array([[0.0, 2.0, 2.0], [0.0, 1.0, 2.0]]))
    assert answers.classes.tolist() == [1, 2]
    assert answers.ties.tolist() == [True, False]


def test_softmax_of_huge_logits_is_finite_and_exact() -> None:
    found = softmax(np.array([[1e4, 1e4], [-1e30, 0.0]], dtype=np.float32))
    np.testing.assert_allclose(found, [[0.5, 0.5], [0.0, 1.0]])


def test_softmax_does_not_see_a_common_shift() -> None:
    logits = np.random.default_rng(0).normal(size=(20, 5))
    np.testing.assert_allclose(softmax(logits), softmax(logits + 7.0))


def test_no_answer_is_a_miss_of_its_class_and_no_false_alarm_of_any() -> None:
    confusion = confusion_matrix(np.array([0, 0, 1]), np.array([0, NO_ANSWER, 1]), 2)
    assert confusion.tolist() == [[1, 0, 1], [0, 1, 0]]
    scores = class_scores(confusion)
    assert scores.recall.tolist() == [0.5, 1.0]
    assert scores.precision.tolist() == [1.0, 1.0]


def test_what_is_undefined_is_nan_and_not_zero() -> None:
    scores = class_scores(confusion_matrix(np.array([0, 1]), np.array([0, 0]), 3))
    assert np.isnan(scores.precision[[1, 2]]).all()
    assert np.isnan(scores.recall[2])
    assert scores.recall[1] == 0.0
    assert scores.f1[1] == 0.0
    assert np.isnan(scores.f1[2])


def test_macro_scores_leave_out_classes_without_images_and_are_undefined_without_any() -> None:
    confusion = confusion_matrix(np.array([0, 0, 1, 1]), np.array([0, 0, 1, 0]), 3)
    assert macro_recall_score(confusion) == pytest.approx((1.0 + 0.5) / 2)
    assert macro_f1_score(confusion) == pytest.approx((4 / 5 + 2 / 3) / 2)
    assert np.isnan(macro_recall_score(np.zeros((3, 4), dtype=np.int64)))


def test_renaming_the_classes_permutes_the_scores() -> None:
    rng = np.random.default_rng(1)
    labels, answers, order = rng.integers(0, 6, 500), rng.integers(0, 6, 500), rng.permutation(6)
    plain = class_scores(confusion_matrix(labels, answers, 6))
    renamed = class_scores(confusion_matrix(order[labels], order[answers], 6))
    np.testing.assert_allclose(renamed.f1[order], plain.f1)
    np.testing.assert_allclose(renamed.precision[order], plain.precision)
