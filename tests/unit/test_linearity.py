"""Which images the linearity check draws, and which of them count as nonlinear."""

from __future__ import annotations

import numpy as np
import pytest

from safeml.audits.linearity import LEAST_GAIN, MOST_NONLINEAR, PROBE_SIZE, nonlinear_share, probe, probe_step


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


class Rounded:
    """Says that it rounds its activations."""

    quantized_activations = True


@pytest.mark.parametrize(
    ("norm", "epsilon", "expected"),
    [
        ("linf", 4 / 255, 2 / 255),
        ("linf", 8 / 255, 1 / 127),  # one code
        ("linf", 1 / 255, 0.5 / 255),  # half of epsilon
        ("linf", 32 / 255, 3.2 / 255),  # the small step is longer
        ("l2", 0.5, 0.25),
        ("l2", 2.0, np.sqrt(32 * 32 * 3) / 127),
    ],
)
def test_a_model_of_rounded_activations_is_probed_by_one_code_and_at_most_half_of_epsilon(
    norm: str, epsilon: float, expected: float
) -> None:
    own = probe_step(Rounded(), norm, (32, 32, 3), 0.1 * epsilon, epsilon)  # type: ignore[arg-type]
    assert own == pytest.approx(expected)
    assert probe_step(object(), norm, (32, 32, 3), 0.1 * epsilon, epsilon) == 0.1 * epsilon  # type: ignore[arg-type]
