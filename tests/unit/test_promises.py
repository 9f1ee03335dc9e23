"""Which images are probed for what their gradients promise, and what counts as a broken promise."""

from __future__ import annotations

import numpy as np

from safeml.audits.promises import BREAKING, KEPT, PROBED, broken, probed


def test_the_probed_come_from_everywhere_and_are_the_same_again() -> None:
    rows = np.arange(100, 1100)
    chosen = probed(rows, seed=7)
    assert len(chosen) == len(set(chosen.tolist())) == PROBED
    assert (np.diff(chosen) > 0).all()
    assert np.isin(chosen, rows).all()
    # Of the last tenth, where sorted data keep their last classes, none is missed but once in a thousand seeds.
    assert all((probed(rows, seed) >= 1000).any() for seed in range(50))
    np.testing.assert_array_equal(chosen, probed(rows, seed=7))
    assert (chosen != probed(rows, seed=8)).any()


def test_few_rows_are_all_probed() -> None:
    np.testing.assert_array_equal(probed(np.array([3, 9, 27]), seed=1), [3, 9, 27])


def test_too_little_is_broken_and_so_is_what_is_no_number() -> None:
    assert broken(np.array([1.0, KEPT, 0.9, 2.0])) == 0
    assert broken(np.array([1.0, 0.0, np.nan, -1.0])) == 0.75
    assert broken(np.zeros(0)) == 0
    assert broken(np.r_[np.ones(PROBED - 4), np.zeros(4)]) > BREAKING
