"""The wrapper of ART's black-box membership attack: shapes, an oracle by a forest fitted directly, and errors in a sentence."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from safeml.attacks.art.membership import BlackBoxAttack, column
from safeml.errors import StageError


@pytest.mark.parametrize(
    "answer",
    [
        np.zeros((4, 4)),
        np.zeros(3),
        np.zeros((1, 4)),
        np.array([[0.5], [0.5], [np.nan], [0.5]]),
        np.full((4, 1), 1.5),
    ],
    ids=["compared with a vector", "too few", "a row", "not finite", "no probability"],
)
def test_an_answer_of_another_form_is_refused(answer: np.ndarray) -> None:
    with pytest.raises(StageError, match="the membership attack of ART returned"):
        column(answer, 4)


def test_a_column_is_a_vector_so_that_a_comparison_counts_each_image_once() -> None:
    answer, members = np.array([[0.9], [0.8], [0.1], [0.2]]), np.array([True, True, False, False])
    assert (column(answer, 4).round().astype(bool) == members).mean() == 1.0
    assert ((answer.round() == members).mean(), (answer.round() == members).shape) == (
        0.5,
        (4, 4),
    )  # the trap


@pytest.mark.slow
def test_a_leak_is_found_and_equal_sides_are_not() -> None:
    """Members have a larger first feature by two standard deviations: the best attack has an AUC of 0.921."""
    from sklearn.metrics import roc_auc_score

    rng = np.random.default_rng(0)

    def side(shift: float) -> tuple[np.ndarray, np.ndarray]:
        return rng.normal((shift, 0, 0), size=(600, 3)), rng.integers(0, 4, 600)

    truth = np.repeat([1, 0], 600)
    for shift, low, high in ((2.0, 0.85, 0.94), (0.0, 0.44, 0.56)):
        attack = BlackBoxAttack(side(shift), side(0), 4, 7)
        features, labels = (np.concatenate(pair) for pair in zip(side(shift), side(0), strict=True))
        scores = attack.scores(features, labels)
        assert scores.shape == (1200,)
        assert low < roc_auc_score(truth, scores) < high, shift


@pytest.mark.slow
def test_a_failure_of_art_is_one_sentence() -> None:
    bad: Any = np.zeros((5, 3)), np.zeros(4, int)
    with pytest.raises(StageError, match="the membership attack of ART failed"):
        BlackBoxAttack(bad, bad, 4, 7)
