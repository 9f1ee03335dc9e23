"""Errors of a regression model. Legend: N images, T targets.

An error is prediction minus target, in the unit of the target. What is undefined is NaN here, never 0.
"""

from __future__ import annotations

import numpy as np


def within_tolerance(errors: np.ndarray, tolerances: np.ndarray) -> np.ndarray:
    """Return which predictions are correct, bool [N]: no error of an image is larger than its tolerance, and all are finite.

    errors: float [N, T]. tolerances: float [T], > 0.

    >>> within_tolerance(np.array([[0.5], [-1.5], [1.0]]), np.array([1.0])).tolist()
    [True, False, True]
    """
    with np.errstate(invalid="ignore"):
        return np.asarray((np.abs(errors) <= tolerances).all(axis=1))


def root_mean_squared_error(errors: np.ndarray) -> float:
    """Return the root of the mean squared error. errors: float [N], N > 0.

    >>> root_mean_squared_error(np.array([3.0, -4.0])) ** 2
    12.5
    """
    return float(np.sqrt(np.mean(np.square(errors))))


def mean_absolute_error(errors: np.ndarray) -> float:
    """Return the mean absolute error. errors: float [N], N > 0."""
    return float(np.mean(np.abs(errors)))


def bias_error(errors: np.ndarray) -> float:
    """Return the mean error; positive where predictions are too high. errors: float [N], N > 0."""
    return float(np.mean(errors))


def r2_score(errors: np.ndarray, targets: np.ndarray) -> float:
    """Return the share of the targets' variance that the predictions explain, at most 1; NaN where the targets do not vary.

    errors: float [N]. targets: float [N]. 0 is the mean of these targets as a constant prediction; below 0 is worse than that.
    """
    total = float(np.square(targets - targets.mean()).sum())
    return 1.0 - float(np.square(errors).sum()) / total if total > 0 else float("nan")
