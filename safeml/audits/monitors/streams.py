"""What buffers and fusion make of the frames of a sign: false alarms, delay, fused predictions, accuracy without labels."""

from __future__ import annotations

from typing import Any

import numpy as np

from safeml.audits.monitors.carried import state_of
from safeml.audits.monitors.measure import Measured
from safeml.audits.monitors.numbers import IN, INDEPENDENT, NO_SIGNS, Numbers
from safeml.audits.monitors.outputs import Judged
from safeml.corruptions.rows import CORRUPTIONS
from safeml.monitors.decisions import TRUST
from safeml.monitors.fusion import fused_log_probabilities
from safeml.monitors.inputs import InputChecks
from safeml.monitors.runtime import Monitor
from safeml.monitors.streams import FRAME_SECONDS, pass_tracks
from safeml.results import Metric
from safeml.stages.monitors import (
    ALARMS,
    CLEAN,
    MonitorsSettings,
)
from safeml.statistics import (
    Clustering,
    bootstrap_metric,
    mean_metric,
    paired_difference_metric,
    proportion_metric,
)
from safeml.statistics.clusters import clusters_of

IN_WORDS = {"score": "score", "distance": "distance", "inputs": "checks of the image"}


def alarm_metrics(numbers: Numbers, measured: Measured, settings: MonitorsSettings) -> None:
    """Count false alarms by sign encounter, and the delay until a corruption raises one, on signs that no threshold was fitted on."""
    fitted, data, own = measured.fitted, measured.material.measuring, measured.measuring
    titles = {key: f"False alarms per 1,000 sign encounters, {IN_WORDS[key]}" for key in ALARMS}
    limits = {"score": fitted.threshold.value, "distance": fitted.distance_limit.value}
    for key, title in titles.items():
        reason = ""
        if data is None or own is None:
            reason = measured.material.reason or NO_SIGNS
        elif key in limits and limits[key] is None:
            reason = fitted.reason or "no threshold of the distance could be calibrated"
        if reason or data is None or own is None or data.tracks is None:
            numbers.metrics.append(
                Metric.undefined(
                    "false_alarms_per_1000", title, reason, direction="down", unit="ratio", slice=key
                )
            )
            continue
        if key == "score":
            trusted, hits = fitted.trusted(own), own.hits(data.labels)
            assert trusted is not None
            tracks = data.tracks[hits]
            alarms = np.array([bool((~trusted[hits])[tracks == track].any()) for track in np.unique(tracks)])
        elif key == "inputs":
            assert fitted.limits is not None
            alarms = failed_checks(fitted.limits, data.images, data.tracks)
        else:
            numbers.passes[CLEAN] = pass_tracks(
                fitted.distance_monitor(limits[key]), own.logits, own.features, data.tracks
            )
            alarms = numbers.passes[CLEAN].first > 0
        numbers.metrics.append(
            mean_metric(
                "false_alarms_per_1000",
                title,
                1000.0 * alarms,
                upper=1000.0,
                clustering=INDEPENDENT,
                direction="down",
                unit="ratio",
                slice=key,
            )
        )
    _delays(numbers, measured, settings, fitted.distance_limit.value)


def stream_metrics(numbers: Numbers, measured: Measured, seed: int) -> None:
    """Measure what the whole monitor trusts, all parts together, while the signs that no threshold was fitted on pass in random order.

    A frame that its score would trust is not trusted before the buffer of its class is full. In the order of their numbers, signs of one class
    would follow each other and find it full.
    """
    titles = (
        ("frames_trusted", "Frames of sign encounters that the whole monitor trusts"),
        ("encounters_trusted", "Sign encounters with a frame that the whole monitor trusts"),
    )
    data, outputs, state = measured.material.measuring, measured.measuring, state_of(measured, seed)
    if data is None or outputs is None or data.tracks is None or state is None:
        reason = measured.fitted.reason or measured.material.reason or NO_SIGNS
        numbers.metrics += [Metric.undefined(*title, reason) for title in titles]
        return
    monitor, trusted = Monitor(state), np.zeros(len(outputs), bool)
    _, code = np.unique(data.tracks, return_inverse=True)
    time, previous = 0.0, -1
    place = np.random.default_rng([seed, 0x43]).permutation(int(code.max()) + 1)
    for row in np.argsort(place[code], kind="stable"):
        time += FRAME_SECONDS
        features = None if outputs.features is None else outputs.features[row]
        answer = monitor.update(
            outputs.logits[row], features, time, data.images[row], new_sign=bool(code[row] != previous)
        )
        trusted[row], previous = answer.decision.action == TRUST, code[row]
    encounters = np.bincount(code, trusted) > 0
    numbers.metrics += [
        proportion_metric(*titles[0], trusted, clustering=Clustering(data.tracks)),
        proportion_metric(*titles[1], encounters, clustering=INDEPENDENT),
    ]


def failed_checks(limits: dict[str, Any], images: np.ndarray, tracks: np.ndarray) -> np.ndarray:
    """Return whether any frame of each track fails a check of the input, bool [T], in the order of the track numbers.

    images: uint8 [N, H, W, C], 0..255; frames of one track in the order of recording. tracks: int [N].
    """
    checks = InputChecks(limits)
    code = np.unique(tracks, return_inverse=True)[1].ravel()
    failed = np.zeros(int(code.max()) + 1, bool)
    for track in range(len(failed)):
        for place, row in enumerate(np.flatnonzero(code == track)):
            failed[track] |= checks.check(images[row], new_sign=place == 0) is not None
    return failed


def _delays(numbers: Numbers, measured: Measured, settings: MonitorsSettings, limit: float | None) -> None:
    moving = measured.moving_data
    for name in settings.corruptions:
        title = CORRUPTIONS[name].title.lower()
        detected, delayed = (
            f"Sign encounters with an alarm of the distance, {title}",
            f"Frames until an alarm of the distance, {title}",
        )
        reason = ""
        if moving is None:
            reason = measured.material.reason or NO_SIGNS
        elif limit is None:
            reason = measured.fitted.reason or "no threshold of the distance could be calibrated"
        elif name not in measured.moving:
            reason = "the images cannot have this corruption"
        if reason or moving is None or moving.tracks is None:
            numbers.metrics.append(Metric.undefined("shift_detected", detected, reason, slice=name))
            numbers.metrics.append(
                Metric.undefined(
                    "detection_delay", delayed, reason, direction="down", unit="ratio", slice=name
                )
            )
            continue
        seen = measured.moving[name]
        passed = pass_tracks(
            measured.fitted.distance_monitor(limit), seen.logits, seen.features, moving.tracks
        )
        numbers.passes[name] = passed
        numbers.metrics.append(
            proportion_metric(
                "shift_detected", detected, passed.first > 0, clustering=INDEPENDENT, slice=name
            )
        )
        # A track without an alarm counts with all its frames, so the mean is the least that it can be.
        delay = np.where(passed.first > 0, passed.first, passed.frames)
        numbers.metrics.append(
            mean_metric(
                "detection_delay",
                delayed,
                delay,
                upper=float(passed.frames.max()),
                clustering=INDEPENDENT,
                direction="down",
                unit="ratio",
                slice=name,
            )
        )


def fusion_metrics(numbers: Numbers, measured: Measured) -> None:
    """Compare the fused prediction of all frames of a sign so far with that of the single frame."""
    title = "Accuracy of fused frames above that of single frames"
    data, own = measured.material.measuring, measured.measuring
    if data is None or own is None or data.tracks is None:
        reason = measured.material.reason or NO_SIGNS
        numbers.metrics.append(Metric.undefined("fusion_gain", title, reason))
        return
    if not np.isfinite(own.logits).all():
        numbers.metrics.append(
            Metric.undefined("fusion_gain", title, "the logits of some validation images are not finite")
        )
        return
    fused = np.zeros(len(own), np.int64)
    for track in np.unique(data.tracks):
        rows = np.flatnonzero(data.tracks == track)
        fused[rows] = fused_log_probabilities(own.logits[rows]).argmax(axis=1)
    metric = paired_difference_metric(
        "fusion_gain", title, fused == data.labels, own.hits(data.labels), clustering=Clustering(data.tracks)
    )
    numbers.metrics.append(metric.model_copy(update={"direction": "up"}))


def estimate_metrics(numbers: Numbers, measured: Measured, settings: MonitorsSettings, seed: int) -> None:
    """Compare the accuracy that is estimated without labels with the measured one."""
    estimator = measured.fitted.estimator
    parts = {
        "all": measured.judged[CLEAN],
        **{name: measured.corrupted.get(name) for name in settings.corruptions},
    }
    for slice, part in parts.items():
        words = IN[CLEAN] if slice == "all" else CORRUPTIONS[slice].title.lower()
        title = f"Error of the accuracy estimated without labels, {words}"
        if part is None or estimator is None:
            reason = (
                "the images cannot have this corruption"
                if part is None
                else measured.material.reason or NO_SIGNS
            )
            numbers.metrics.append(
                Metric.undefined("accuracy_estimate_error", title, reason, direction="down", slice=slice)
            )
            continue
        values = measured.fitted.scores(measured.fitted.deployed, part.outputs)
        numbers.metrics.append(
            _estimate_error(title, values >= estimator.threshold, part, slice, settings, seed)
        )
        finite = np.isfinite(values)
        signs = clusters_of("window", len(values), part.clustering).signs
        if signs is not None and finite.any():
            made = estimator.estimate(values[finite], max(1.0, min(signs, float(finite.sum()))), seed)
            numbers.estimates[slice] = (made.value, made.low, made.high, float(part.hits.mean()))


def _estimate_error(
    title: str, above: np.ndarray, part: Judged, slice: str, settings: MonitorsSettings, seed: int
) -> Metric:
    """Return the difference between the share of images `above` (bool [N]) the estimator's threshold and their accuracy."""
    hits = part.hits
    return bootstrap_metric(
        "accuracy_estimate_error",
        title,
        lambda rows: float(abs(above[rows].mean() - hits[rows].mean())),
        len(hits),
        clustering=part.clustering,
        direction="down",
        unit="proportion",
        seed=seed,
        resamples=settings.resamples,
        slice=slice,
        bounds=(0.0, 1.0),
    )
