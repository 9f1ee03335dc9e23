"""Which images the linearity check draws, and which of them count as nonlinear."""

from __future__ import annotations

import numpy as np

from safeml.audits.linearity import LEAST_GAIN, MOST_NONLINEAR, PROBE_SIZE, nonlinear_share, probe


def test_the_probe_covers_all_rows_and_depends_on_the_seed_alone() -> None:
    rows = np.arange(100, 1100)
    chosen = probe(rows, seed=7)
    assert len(chosen) == len(set(chosen.tolist())) == PROBE_SIZE
    assert (np.diff(chosen) > 0).all()
    assert np.isin(chosen, rows).all()
    # Of the last tenth, where sorted data keep their last classes, none is missed but once in a thousand seeds.
    assert all((probe(rows, seed) >= 1000).any() for seed in range(50))
    np.testing.assert_array_equal(chosen, probe(rows, seed=7))
    assert (chosen != probe(rows, seed=8)).any()


def test_few_rows_are_all_drawn() -> None:
    np.testing.assert_array_equal(probe(np.array([3, 9, 27]), seed=1), [3, 9, 27])


def test_a_small_gain_and_nan_count_as_nonlinear() -> None:
    assert nonlinear_share(np.array([1.0, LEAST_GAIN, 0.9, 2.0])) == 0
    assert nonlinear_share(np.array([1.0, 0.0, np.nan, -1.0])) == 0.75
    assert nonlinear_share(np.zeros(0)) == 0
    assert nonlinear_share(np.r_[np.ones(PROBE_SIZE - 4), np.zeros(4)]) > MOST_NONLINEAR
