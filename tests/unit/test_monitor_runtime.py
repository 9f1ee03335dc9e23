"""Monitors at run time: thresholds by sign, buffers, decisions, input checks, fusion, estimates. Legend: N frames, K classes, T tracks."""

from __future__ import annotations

import json
import tracemalloc

import numpy as np
import pytest

from safeml.monitors.buffer import DistanceMonitor, columns_of, fit_columns, fit_reference
from safeml.monitors.decisions import (
    COLLECT_MORE,
    FALL_BACK,
    REASONS,
    TRUST,
    Decision,
    Hysteresis,
    evidence_line,
)
from safeml.monitors.errors import MonitorRefused
from safeml.monitors.estimate import AccuracyEstimator
from safeml.monitors.fusion import MOST_TRACKS, TrackFusion, fused_log_probabilities
from safeml.monitors.inputs import InputChecks, fit_inputs
from safeml.monitors.registry import fit_scores
from safeml.monitors.runtime import Monitor
from safeml.monitors.state import State
from safeml.monitors.streams import pass_tracks, stream_maxima
from safeml.monitors.thresholds import distance_threshold
from safeml.monitors.windows import ClassReferences

pytestmark = pytest.mark.slow

K, F = 3, 4
RNG = np.random.default_rng(0)


def frames(count: int, seed: int, shift: float = 0.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Logits, features and labels of frames whose features move by `shift`."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % K
    features = 2 * np.eye(F)[labels] + rng.normal(0, 0.3, (count, F)) + shift
    return 4 * features[:, :K] + rng.normal(0, 0.1, (count, K)), features, labels


LOGITS, FEATURES, LABELS = frames(600, 1)
ARRAYS = {**fit_scores(LOGITS, FEATURES, LABELS, K, 0), **fit_columns(FEATURES)}
ARRAYS.update(fit_reference(columns_of(ARRAYS, LOGITS, FEATURES), LOGITS.argmax(axis=1), K))


def monitor(threshold: float | None = 0.7, **changes: object) -> DistanceMonitor:
    given = {"window": 15, "least": 10, "hold": 1, **changes}
    return DistanceMonitor(ARRAYS, "kolmogorov_smirnov", threshold, **given)


def fed(one: DistanceMonitor, shift: float, count: int = 40, start: float = 0.0) -> list[Decision]:
    """The decisions for frames of class 0 alone."""
    logits, features, labels = frames(3 * count, 2, shift)
    own = labels == 0
    return [
        one.update(row, column, start + 0.1 * place)
        for place, (row, column) in enumerate(zip(logits[own], features[own], strict=True))
    ]


# Buffers


def test_a_short_buffer_collects_and_a_full_one_trusts_or_falls_back() -> None:
    decisions = fed(monitor(), 0.0)
    assert [d.reason for d in decisions[:9]] == ["buffer-short"] * 9
    assert {d.action for d in decisions[9:]} == {TRUST}
    assert decisions[-1].frames == 15
    moved = fed(monitor(), 1.5)
    assert moved[8].action == COLLECT_MORE
    assert {(d.action, d.reason) for d in moved[14:]} == {(FALL_BACK, "distance")}


def test_a_distance_just_below_the_threshold_collects_more() -> None:
    largest = max(d.distance for d in fed(monitor(1.0), 0.0) if d.distance is not None)
    near = [d for d in fed(monitor(largest), 0.0) if d.reason == "distance-near"]
    assert near
    assert {d.action for d in near} == {COLLECT_MORE}


def test_without_threshold_or_reference_nothing_is_trusted() -> None:
    assert {(d.action, d.reason) for d in fed(monitor(None), 0.0)} == {(FALL_BACK, "no-threshold")}
    few = {**ARRAYS, "reference_known": np.zeros(K, bool)}
    one = DistanceMonitor(few, "kuiper", 0.9)
    assert one.update(LOGITS[0], FEATURES[0], 0.0).reason == "no-reference"


def test_a_class_that_is_never_predicted_has_no_reference() -> None:
    reference = fit_reference(columns_of(ARRAYS, LOGITS, FEATURES), LOGITS.argmax(axis=1), K + 1)
    assert reference["reference_known"].tolist() == [True] * K + [False]


def test_a_constant_column_counts_when_it_changes() -> None:
    rows = np.tile([1.0, 5.0], (40, 1))
    reference = fit_reference(rows, np.zeros(40, int), 1)
    assert reference["reference_spread"][0].tolist() == [1.0, 1.0]
    references, zeros = ClassReferences(reference), np.zeros(10, int)
    for change, expected in ((0.0, 0.0), (2.0, 2.0)):
        held = references.placed(zeros, rows[:10] + np.array([0.0, change]))
        (distance,) = references.distances(
            "wasserstein", zeros[:1], np.moveaxis(held, 0, 2)[None], np.array([10])
        )
        assert distance == expected


@pytest.mark.parametrize(
    ("logits", "features", "time", "reason"),
    [
        (np.full(K, np.nan), np.zeros(F), 0.0, "not-finite"),
        (np.zeros(K), np.full(F, np.inf), 0.0, "not-finite"),
        (np.zeros(K + 1), np.zeros(F), 0.0, "wrong-size"),
        (np.zeros(K), np.zeros(F - 1), 0.0, "wrong-size"),
        (np.zeros(K), None, 0.0, "wrong-size"),
        (np.zeros(K), np.zeros(F), np.nan, "clock"),
        (np.zeros(K), np.zeros(F), np.inf, "clock"),
    ],
)
def test_a_bad_frame_falls_back_with_its_reason(logits, features, time, reason) -> None:
    decision = monitor().update(logits, features, time)
    assert (decision.action, decision.reason) == (FALL_BACK, reason)
    assert reason in REASONS


def test_time_that_goes_back_falls_back() -> None:
    one = monitor()
    one.update(LOGITS[0], FEATURES[0], 5.0)
    assert one.update(LOGITS[0], FEATURES[0], 4.0).reason == "clock"


def test_old_frames_leave_the_buffer_and_a_buffer_that_stays_short_times_out() -> None:
    one = monitor(time_out=2.0)
    assert fed(one, 0.0)[-1].action == TRUST
    late = one.update(LOGITS[0], FEATURES[0], 60.0)
    assert (late.frames, late.reason) == (1, "buffer-short")
    reasons = [one.update(LOGITS[0], FEATURES[0], 60.0 + second).reason for second in (1, 2, 3, 4)]
    assert reasons[-1] == "timed-out"


def test_memory_does_not_grow() -> None:
    """Over 5,000 frames, whose buffers are all full after the first 1,000; benchmarks/monitor_speed.py goes on to 100,000."""
    one = monitor(every=50)
    held = []
    tracemalloc.start()
    try:
        for place in range(5000):
            one.update(LOGITS[place % 600], FEATURES[place % 600], 0.001 * place)
            if place in (999, 4999):
                held.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    assert sum(len(buffer) for buffer in one.buffers.times) == K * 15
    assert held[1] - held[0] < 20_000


def test_an_alarm_holds_until_enough_frames_pass() -> None:
    held = Hysteresis(3)
    good, bad = Decision(TRUST, ""), Decision(FALL_BACK, "distance")
    assert held.update(good).action == TRUST
    assert held.update(bad).reason == "distance"
    assert [held.update(good).reason for _ in range(4)] == ["hysteresis", "hysteresis", "", ""]
    held.update(bad)
    assert held.update(Decision(COLLECT_MORE, "distance-near")).reason == "hysteresis"
    assert held.update(good).reason == "hysteresis"


@pytest.mark.parametrize(
    "changes", [{"window": 5, "least": 6}, {"every": 0}, {"time_out": 0.0}, {"least": 0}]
)
def test_settings_that_contradict_are_refused(changes) -> None:
    with pytest.raises(MonitorRefused, match="expected 1 <= least"):
        monitor(**changes)


def test_streams_calibrate_what_passing_tracks_measures() -> None:
    tracks = np.repeat(np.arange(40), 15)
    order = np.argsort(LABELS, kind="stable")
    logits, features = LOGITS[order], FEATURES[order]
    maxima = stream_maxima(lambda: monitor(np.inf), logits, features, tracks, 2, 0)
    assert maxima.shape == (40, 2)
    limit = distance_threshold(maxima, 0.1)
    passed = pass_tracks(monitor(limit.value), logits, features, tracks)
    assert (passed.first > 0).mean() <= 0.15
    assert ((passed.first > 0) == (passed.largest > limit.value)).all()
    moved = pass_tracks(monitor(limit.value), logits, features + 2, tracks)
    assert (moved.first > 0).all()
    assert moved.first.max() <= 15


# Evidence


def test_evidence_is_one_line_of_json_whatever_the_values() -> None:
    line = evidence_line(Decision(FALL_BACK, "score-low", 2, float("nan"), float("inf"), 3), 7, 0.5, "abc")
    assert line.endswith("\n")
    assert line.count("\n") == 1
    record = json.loads(line)
    assert (record["score"], record["distance"], record["frame"], record["reason"]) == (
        None,
        None,
        7,
        "score-low",
    )
    assert list(record) == sorted(record)


# Input checks


def images(count: int = 30) -> np.ndarray:
    rng = np.random.default_rng(3)
    base = rng.integers(40, 200, (count, 8, 8, 3))
    base[..., 0] += 40
    return np.clip(base, 0, 250).astype(np.uint8)


def checks(**changes: object) -> InputChecks:
    return InputChecks(fit_inputs(images(), np.arange(30)), **changes)


def test_good_images_pass_every_check() -> None:
    one = checks()
    assert [one.check(image) for image in images()] == [None] * 30


@pytest.mark.parametrize(
    ("image", "code"),
    [
        (np.full((8, 8, 3), 90, np.uint8), "blank"),
        (np.full((8, 8, 3), 255, np.uint8), "saturated"),
        (np.zeros((8, 8, 3), np.uint8), "range"),
        (images()[0][:7], "size"),
        (images()[0][..., :1], "size"),
        (images()[0].astype(np.float32) / 255, "range"),
        (images()[0].astype(np.float32), "type"),
        (images()[0].astype(np.int64), "type"),
        ((images()[0] > 120).astype(np.uint8), "range"),
    ],
)
def test_a_bad_image_has_its_code(image: np.ndarray, code: str) -> None:
    assert checks().check(image) == code


def test_equal_images_in_succession_are_a_frozen_camera() -> None:
    one, image = checks(repeats=3), images()[0]
    assert [one.check(image), one.check(image), one.check(image)] == [None, None, "frozen"]
    assert one.check(images()[1]) is None


def test_swapped_channels_are_found_from_signs_and_not_from_frames_of_one() -> None:
    one = checks()
    assert one.tells_order()
    found = [one.check(image[..., ::-1]) for image in images()]
    assert found[-1] == "channel-order"
    again = checks()
    assert {again.check(image[..., ::-1], new_sign=False) for image in images()} == {None}


def test_grey_images_have_no_channel_order() -> None:
    grey = images()[..., :1]
    one = InputChecks(fit_inputs(grey, np.arange(30)))
    assert not one.tells_order()
    assert one.check(grey[3]) is None


# Fusion


def test_fusion_is_the_mean_of_the_probabilities() -> None:
    logits = RNG.normal(0, 2, (7, K))
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    mean = np.cumsum(p, axis=0) / np.arange(1, 8)[:, None]
    assert np.exp(fused_log_probabilities(logits)) == pytest.approx(mean)
    fusion = TrackFusion(K)
    for place, row in enumerate(logits):
        fused = fusion.update(4, row)
        assert (fused.predicted, fused.frames) == (mean[place].argmax(), place + 1)
        assert fused.probability == pytest.approx(mean[place].max())


def test_fusion_forgets_the_oldest_track_and_refuses_bad_frames() -> None:
    fusion = TrackFusion(K)
    for track in range(MOST_TRACKS + 10):
        fusion.update(track, np.zeros(K))
    assert len(fusion.sums) == MOST_TRACKS
    assert fusion.update(0, np.zeros(K)).frames == 1
    for bad in (np.full(K, np.nan), np.zeros(K + 1)):
        with pytest.raises(MonitorRefused):
            fusion.update(70, bad)
    assert fusion.update(70, np.zeros(K)).frames == 2


# Accuracy without labels


def test_the_estimate_is_the_accuracy_where_errors_have_low_scores() -> None:
    scores = np.linspace(0, 1, 1000)
    estimator = AccuracyEstimator(scores, scores >= 0.2, 200)
    window = np.concatenate([np.linspace(0, 0.19, 300), np.linspace(0.21, 1, 100)])
    made = estimator.estimate(window, 100)
    assert made.value == pytest.approx(0.25, abs=0.01)
    assert made.low < 0.25 < made.high
    assert estimator.estimate(window, 10).high - estimator.estimate(window, 10).low > made.high - made.low


def test_an_estimate_without_an_error_still_has_width() -> None:
    estimator = AccuracyEstimator(np.linspace(0, 1, 50), np.ones(50, bool), 10)
    made = estimator.estimate(np.linspace(0, 1, 20), 5)
    assert made.value == 1
    assert made.low < 0.95


def test_bad_windows_are_refused() -> None:
    estimator = AccuracyEstimator(np.linspace(0, 1, 50), np.ones(50, bool), 10)
    for window, count in ((np.zeros(0), 1), (np.zeros(3), 4), (np.array([np.nan]), 1)):
        with pytest.raises(MonitorRefused):
            estimator.estimate(window, count)
    with pytest.raises(MonitorRefused):
        AccuracyEstimator(np.zeros(3), np.ones(2, bool), 2)


# The whole monitor


def whole(**changes: object) -> Monitor:
    settings = {
        "score": "mahalanobis",
        "score_threshold": -60.0,
        "score_near": -40.0,
        "set": [0.5, 1.0, 50, 48],
        "inputs": fit_inputs(images(), np.arange(30)),
        "distance": {"name": "kolmogorov_smirnov", "threshold": 0.8, "window": 15, "least": 1, "hold": 1},
        **changes,
    }
    return Monitor(State("m", K, F, settings, ARRAYS))


def test_the_most_cautious_part_decides() -> None:
    one = whole()
    answer = one.update(LOGITS[0], FEATURES[0], 0.0, images()[0])
    assert answer.check is None
    assert answer.decision.score is not None
    assert answer.classes == (0,)
    blank = one.update(LOGITS[0], FEATURES[0], 0.1, np.full((8, 8, 3), 90, np.uint8))
    assert (blank.decision.action, blank.check) == (FALL_BACK, "blank")
    far = one.update(LOGITS[0], FEATURES[0] + 50, 0.2, images()[1])
    assert far.decision.action == FALL_BACK


def test_a_monitor_without_a_threshold_never_trusts() -> None:
    one = whole(score_threshold=None, distance=None)
    assert {
        one.update(row, column, 0.0).decision.reason
        for row, column in zip(LOGITS[:20], FEATURES[:20], strict=True)
    } == {"no-threshold"}


@pytest.mark.parametrize(
    ("logits", "features", "reason"),
    [
        (np.full(K, np.nan), np.zeros(F), "not-finite"),
        (np.zeros(2), np.zeros(F), "wrong-size"),
        (np.zeros(K), None, "wrong-size"),
        (np.zeros(K), np.zeros(F + 1), "wrong-size"),
    ],
)
def test_the_whole_monitor_answers_a_bad_frame_without_an_exception(logits, features, reason) -> None:
    answer = whole().update(logits, features, 0.0)
    assert (answer.decision.action, answer.decision.reason, answer.classes) == (FALL_BACK, reason, None)


@pytest.mark.parametrize("channels", [1, 3])
def test_checks_from_counts_are_those_from_pixels(channels: int) -> None:
    """The number of pixels of each value gives the share of saturated pixels and the contrast exactly."""
    rng = np.random.default_rng(0)
    for spread in (0, 1, 3, 40, 400):
        image = np.clip(rng.normal(100, spread, (16, 16, channels)), 0, 255).astype(np.uint8)
        limits = {"height": 16, "width": 16, "channels": channels, "red_minus_blue": 0.0, "spread": 0.0}
        contrast = float(image.std())
        share = float(((image == 0) | (image == 255)).mean())
        for change, code in ((-1e-9, None), (1e-9, "blank")):
            checks = InputChecks({**limits, "contrast": contrast + change, "saturated": 1.0})
            assert checks.check(image) == code
        if share:
            assert (
                InputChecks({**limits, "contrast": -1.0, "saturated": share - 1e-9}).check(image)
                == "saturated"
            )
        assert InputChecks({**limits, "contrast": -1.0, "saturated": share}).check(image) is None
