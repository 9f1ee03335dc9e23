"""The cost rules: bounds, order and asymmetry."""

from __future__ import annotations

import numpy as np
import pytest

from safeml.data.signs import CLASS_NAMES
from safeml.errors import ConfigError
from safeml.metrics.hazard import EQUAL_COST_REASON, RULES, cost_matrix, has_rules, reason

COSTS = cost_matrix(CLASS_NAMES)


def cost(true: str, predicted: str) -> float:
    return float(COSTS[CLASS_NAMES.index(true), CLASS_NAMES.index(predicted)])


def test_costs_are_in_bounds_zero_on_the_diagonal_and_positive_elsewhere() -> None:
    assert COSTS.shape == (43, 43)
    assert not np.diagonal(COSTS).any()
    off = COSTS[~np.eye(43, dtype=bool)]
    assert off.min() > 0
    assert off.max() == 1.0


def test_the_order_of_harm() -> None:
    assert cost("Stop", "Priority road") == 1.0
    assert cost("Stop", "Priority road") > cost("Priority road", "Stop")
    assert cost("Stop", "Priority road") > cost("Speed limit (20km/h)", "Speed limit (30km/h)")
    assert cost("Keep right", "Keep left") == cost("Turn left ahead", "Turn right ahead") == 0.8
    assert cost("Go straight or right", "Go straight or left") == 0.8
    assert cost("Keep right", "Turn left ahead") < 0.8
    assert cost("Bumpy road", "Road work") == 0.2
    assert cost("Speed limit (50km/h)", "End of all speed and passing limits") == 0.6
    assert cost("End of all speed and passing limits", "Speed limit (50km/h)") == 0.2
    assert cost("Yield", "Stop") < cost("Stop", "Yield")


def test_a_speed_limit_read_too_high_costs_more_with_each_km_h_and_more_than_too_low() -> None:
    speeds = (30, 50, 60, 70, 80, 100, 120)
    rising = [cost("Speed limit (20km/h)", f"Speed limit ({speed}km/h)") for speed in speeds]
    assert rising == sorted(set(rising))
    assert rising[-1] == 1.0
    for speed in speeds:
        assert cost(f"Speed limit ({speed}km/h)", "Speed limit (20km/h)") == 0.1 < min(rising)


def test_the_matrix_follows_the_order_of_the_class_names() -> None:
    order = np.random.default_rng(0).permutation(43)
    shuffled = cost_matrix(tuple(CLASS_NAMES[k] for k in order))
    np.testing.assert_array_equal(shuffled, COSTS[np.ix_(order, order)])


def test_every_rule_is_the_reason_of_some_confusion() -> None:
    reasons = {
        reason(true, predicted) for true in CLASS_NAMES for predicted in CLASS_NAMES if true != predicted
    }
    assert reasons == {rule.reason for rule in RULES}


def test_unknown_classes_cost_1_for_every_mistake() -> None:
    assert not has_rules(("cat", "dog"))
    assert cost_matrix(("cat", "dog")).tolist() == [[0, 1], [1, 0]]
    assert reason("cat", "dog") == EQUAL_COST_REASON


def test_the_user_matrix_is_used_as_it_is() -> None:
    own = np.array([[0.0, 0.25], [1.0, 0.0]])
    np.testing.assert_array_equal(cost_matrix(("cat", "dog"), own), own)


@pytest.mark.parametrize(
    ("own", "word"),
    [
        (np.zeros((2, 3)), "expected \\[2, 2\\]"),
        (np.array([[0.0, 1.5], [0.0, 0.0]]), "outside 0..1"),
        (np.array([[0.0, np.nan], [0.0, 0.0]]), "outside 0..1"),
        (np.array([[0.1, 1.0], [1.0, 0.0]]), "diagonal"),
    ],
)
def test_a_matrix_of_another_kind_is_refused(own: np.ndarray, word: str) -> None:
    with pytest.raises(ConfigError, match=word):
        cost_matrix(("cat", "dog"), own)
