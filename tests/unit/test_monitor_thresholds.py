"""The thresholds of the monitors: the declared rate of false alarms holds for signs."""

from __future__ import annotations

import numpy as np
import pytest

from safeml.monitors.errors import MonitorRefused
from safeml.monitors.thresholds import distance_threshold, least_tracks, score_threshold


@pytest.mark.parametrize("rate", [0.05, 0.2])
def test_the_declared_rate_holds_for_clustered_frames_and_a_threshold_of_frames_breaks_it(
    rate: float,
) -> None:
    rng = np.random.default_rng(5)
    rounds, tracks, length = 300, 40, 20
    by_sign, by_frame = [], []
    for _ in range(rounds):

        def draw(n: int) -> np.ndarray:
            return rng.normal(size=(n, 1)) + 0.4 * rng.normal(size=(n, length))

        calibration, later = draw(tracks), draw(50)
        limit = score_threshold(calibration.ravel(), np.repeat(np.arange(tracks), length), rate)
        by_sign.append((later.min(axis=1) < limit.value).mean())
        by_frame.append((later.min(axis=1) < np.quantile(calibration, rate)).mean())
    assert np.mean(by_sign) <= rate + 0.012
    assert np.mean(by_sign) >= rate - 1 / (tracks + 1) - 0.012
    assert np.mean(by_frame) > 1.8 * rate


@pytest.mark.parametrize(("rate", "needed"), [(0.05, 19), (0.01, 99), (0.5, 1)])
def test_the_fewest_tracks_that_allow_a_threshold(rate: float, needed: int) -> None:
    assert least_tracks(rate) == needed
    values = np.arange(needed + 1.0)
    assert score_threshold(values[:needed], np.arange(needed), rate).value == 0
    if needed > 1:
        assert score_threshold(values[: needed - 1], np.arange(needed - 1), rate).value is None
    assert distance_threshold(values[:needed, None], rate).value == needed - 1
    if needed > 1:
        assert distance_threshold(values[: needed - 1, None], rate).value is None


def test_with_one_stream_the_two_rules_agree() -> None:
    values = np.random.default_rng(0).normal(size=79)
    low = score_threshold(-values, np.arange(79), 0.1).value
    assert distance_threshold(values[:, None], 0.1).value == -low
    assert distance_threshold(np.repeat(values[:, None], 5, axis=1), 0.1).value == -low


def test_bad_values_for_a_threshold_are_refused() -> None:
    with pytest.raises(MonitorRefused, match="NaN"):
        score_threshold(np.array([np.nan]), np.array([0]), 0.5)
    with pytest.raises(MonitorRefused, match="between 0 and 1"):
        score_threshold(np.array([0.0]), np.array([0]), 1.0)
    with pytest.raises(MonitorRefused, match="as many"):
        score_threshold(np.zeros(3), np.zeros(2), 0.5)
    assert score_threshold(np.zeros(0), np.zeros(0, int), 0.5).value is None
    assert distance_threshold(np.full((30, 2), -np.inf), 0.5).value is None
