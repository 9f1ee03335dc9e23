"""Frames that a monitor answers together: each gets what it gets alone, to the bit. Legend: N frames, K classes, F features."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from safeml.monitors.buffer import columns_of, fit_columns, fit_reference
from safeml.monitors.distances import DISTANCES
from safeml.monitors.inputs import TOGETHER, InputChecks, fit_inputs
from safeml.monitors.registry import SCORES, fit_scores, score
from safeml.monitors.runtime import Answer, Monitor
from safeml.monitors.state import State

pytestmark = pytest.mark.slow

K, F, N, SIDE = 5, 20, 120, 6
TIMES = [0.1 * place + (20.0 if place >= 90 else 0.0) for place in range(N)]
PAIRS = [*(("max_probability", name) for name in DISTANCES), *((name, "wasserstein") for name in SCORES)]


def outputs(count: int, seed: int, rounded: bool) -> tuple[np.ndarray, np.ndarray]:
    """Logits and features, float32; whole numbers where `rounded`, so that values occur twice."""
    rng, fixed = np.random.default_rng(seed), np.random.default_rng(0)
    labels = np.sort(rng.integers(0, K, count))
    features = rng.normal(size=(count, F)) + 2 * fixed.normal(size=(K, F))[labels]
    logits = features @ fixed.normal(size=(F, K))
    if rounded:
        features, logits = np.round(features), np.round(logits)
    return logits.astype(np.float32), features.astype(np.float32)


def state(name: str, distance: str, rounded: bool, every: int = 1) -> State:
    """A monitor with every part; class 2 has no reference."""
    logits, features = outputs(300, 1, rounded)
    predicted = logits.argmax(axis=1)
    arrays = fit_scores(logits, features, predicted, K, 0) | fit_columns(features)
    arrays |= fit_reference(columns_of(arrays, logits, features), predicted, K)
    arrays["reference_known"] = arrays["reference_known"] & (np.arange(K) != 2)
    settings = {
        "score": name,
        "score_threshold": float(np.quantile(score(name, arrays, logits, features), 0.2)),
        "inputs": fit_inputs(pictures(), np.arange(N)),
        "set": [2.0, 0.5, 100, 95],
        "hold": 2,
        "distance": {
            "name": distance,
            "threshold": 0.9,
            "window": 8,
            "least": 4,
            "every": every,
            "time_out": 4.0,
        },
    }
    return State("m", K, F, settings, arrays)


def pictures() -> np.ndarray:
    """Images, among them a frozen, a blank, a white and one with values of 0 and 1."""
    images = np.random.default_rng(2).integers(0, 256, (N, SIDE, SIDE, 3)).astype(np.uint8)
    images[..., 2] //= 2
    return images


def hard() -> tuple[Any, ...]:
    """Frames with every reason to fall back."""
    images = pictures()
    images[20:25], images[30], images[31], images[32] = images[20], 128, 255, images[32] % 2
    images[33:40] = images[33:40, :, :, ::-1]
    times = list(TIMES)
    times[50], times[51], times[52] = 1.0, float("nan"), float("-inf")
    return images, times, [place % 4 == 0 for place in range(N)]


def told(answers: list[Answer]) -> list[str]:
    return [repr((*answer.decision, answer.check, answer.classes)) for answer in answers]


@pytest.mark.parametrize("rounded", [False, True])
@pytest.mark.parametrize(("name", "distance"), PAIRS)
def test_frames_together_get_the_answers_that_they_get_alone(name: str, distance: str, rounded: bool) -> None:
    fitted = state(name, distance, rounded, every=2 if rounded else 1)
    logits, features = outputs(N, 3, rounded)
    logits[60, 1], features[62, 3] = np.nan, np.inf
    images, times, new = hard()
    one = Monitor(fitted)
    alone = told(
        [one.update(logits[row], features[row], times[row], images[row], new[row]) for row in range(N)]
    )
    assert len(set(alone)) > N // 2
    for size in (3, 50):
        monitor, together = Monitor(fitted), []
        for begin in range(0, N, size):
            part = slice(begin, begin + size)
            together += monitor.update_all(
                logits[part], features[part], times[part], list(images[part]), new[part]
            )
        assert told(together) == alone


def test_the_frames_have_every_reason() -> None:
    """Otherwise the comparison above shows less than it says."""
    logits, features = outputs(N, 3, False)
    logits[60, 1] = np.nan
    images, times, new = hard()
    answers = Monitor(state("max_probability", "wasserstein", False)).update_all(
        logits, features, times, list(images), new
    )
    reasons = {answer.decision.reason for answer in answers}
    assert reasons >= {
        "",
        "input",
        "score-low",
        "clock",
        "no-reference",
        "buffer-short",
        "distance",
        "hysteresis",
    }
    assert {answer.check for answer in answers} >= {None, "frozen", "blank", "saturated", "range"}


def test_outputs_of_another_size_fall_back_together() -> None:
    monitor = Monitor(state("max_probability", "wasserstein", False))
    for logits, features in (
        (np.zeros((3, K + 1)), np.zeros((3, F))),
        (np.zeros((3, K)), np.zeros((3, F + 1))),
        (np.zeros((3, K)), None),
    ):
        answers = monitor.update_all(logits, features, [0.0] * 3, [None] * 3, [True] * 3)
        assert [answer.decision.reason for answer in answers] == ["wrong-size"] * 3
    assert monitor.update_all(np.zeros((0, K)), np.zeros((0, F)), [], [], []) == []


def test_features_that_overflow_the_columns_fall_back() -> None:
    logits, features = outputs(N, 3, False)
    huge = features.astype(np.float64)
    huge[-1] = 1e308
    with np.errstate(over="ignore", invalid="ignore"):
        answers = Monitor(state("max_logit", "wasserstein", False)).update_all(
            logits, huge, TIMES, [None] * N, [True] * N
        )
    decision = answers[-1].decision
    assert decision.action == "FALL_BACK"
    assert (decision.distance, decision.frames) == (None, 0)
    assert answers[-2].decision.frames > 0


def test_images_of_another_type_among_others_are_told_apart() -> None:
    images = list(pictures()[: TOGETHER + 3])
    images[1], images[4], images[5] = images[1] / 255.0, images[4].astype(np.int32), images[5][:3]
    checks = InputChecks(fit_inputs(pictures(), np.arange(N)))
    codes = checks.check_all(images, [True] * len(images))
    assert codes[:6] == [None, "range", None, None, "type", "size"]
    assert codes[6:] == [None] * (TOGETHER - 3)
