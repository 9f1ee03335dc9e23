"""A monitor fitted on one set of signs, its thresholds calibrated on another. Legend: N images, K classes, T sign tracks."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from safeml.audits.calibration.sets import one_frame_each
from safeml.audits.monitors.outputs import Outputs
from safeml.errors import StageError
from safeml.metrics.detection import auroc_score
from safeml.monitors.buffer import DistanceMonitor, columns_of, fit_columns, fit_reference
from safeml.monitors.conformal import Threshold, class_scores, threshold_of
from safeml.monitors.errors import MonitorRefused
from safeml.monitors.estimate import AccuracyEstimator
from safeml.monitors.inputs import fit_inputs
from safeml.monitors.registry import available, fit_scores, score
from safeml.monitors.streams import stream_maxima
from safeml.monitors.thresholds import AlarmThreshold, distance_threshold, least_tracks, score_threshold
from safeml.stages.monitors import BASELINE, SET_LEVEL, MonitorsSettings

LEAST_FITTING = 50
RATES = (0.01, 0.05, 0.1, 0.2, 0.3)


@dataclass(frozen=True, eq=False)
class Calibration:
    """Validation signs that thresholds are calibrated on.

    outputs: of clean images. shifted: of a part of them under each corruption.
    labels, shifted_labels: int64. tracks: int64 [N], of the clean images.
    images: uint8 [N, H, W, C], 0..255, the clean images.
    """

    images: np.ndarray
    outputs: Outputs
    labels: np.ndarray
    tracks: np.ndarray
    shifted: Outputs
    shifted_labels: np.ndarray


@dataclass(frozen=True, eq=False)
class Fitted:
    """A monitor.

    arrays: by name, see `safeml.monitors`.
    names: of the scores that these arrays allow.
    deployed: name of the score of the deployed monitor.
    choice: a clause that says how it was chosen.
    threshold, distance_limit: of the score and of the distance.
    reason: a clause that says why there is no threshold; "" if there is one.
    estimator: of the accuracy without labels; None without calibration.
    tried: thresholds of the deployed score by rate, for comparison.
    unit: of the deployed score, above 0: its spread on correct predictions of the calibration signs.
    limits: of the input checks; None without calibration.
    sets: threshold of the conformal sets; None where too few signs allow one.
    """

    arrays: dict[str, np.ndarray]
    names: tuple[str, ...]
    deployed: str
    choice: str
    threshold: AlarmThreshold
    distance_limit: AlarmThreshold
    reason: str
    estimator: AccuracyEstimator | None
    settings: MonitorsSettings
    tried: dict[float, AlarmThreshold] = field(default_factory=dict)
    unit: float = 1.0
    limits: dict[str, Any] | None = None
    sets: Threshold | None = None

    @property
    def has_reference(self) -> bool:
        """Return whether there are references for buffers."""
        return "reference" in self.arrays

    def scores(self, name: str, outputs: Outputs) -> np.ndarray:
        """Return the score `name`, float64 [N]; minus infinity for an output that is not finite, which is never trusted."""
        values = np.full(len(outputs), -np.inf)
        rows = np.flatnonzero(outputs.finite)
        if len(rows):
            part = outputs.take(rows)
            values[rows] = score(name, self.arrays, part.logits, part.features)
        return values

    def trusted(self, outputs: Outputs) -> np.ndarray | None:
        """Return which predictions the deployed monitor trusts, bool [N]; None without a threshold."""
        limit = self.threshold.value
        return None if limit is None else np.asarray(self.scores(self.deployed, outputs) >= limit)

    def distance_monitor(self, threshold: float | None) -> DistanceMonitor:
        """Return a monitor of buffers with this threshold, and no frame in it."""
        return distance_monitor(self.arrays, self.settings, threshold)


def distance_monitor(
    arrays: dict[str, np.ndarray], settings: MonitorsSettings, threshold: float | None
) -> DistanceMonitor:
    """Return a monitor of buffers as the settings describe it."""
    return DistanceMonitor(
        arrays, settings.distance, threshold, settings.window, min(settings.least, settings.window), hold=1
    )


def fit(
    settings: MonitorsSettings,
    seed: int,
    classes: int,
    fitting: tuple[Outputs, np.ndarray] | None,
    calibration: Calibration | None,
    reason: str,
) -> Fitted:
    """Fit all scores and references, choose the deployed score, and calibrate its threshold and that of the distance.

    fitting: outputs and labels, int64 [N]; None if no image may be used.
    calibration: None if there is none, for the `reason`, a clause.
    Raises StageError where the outputs do not fit each other.
    """
    try:
        arrays = {} if fitting is None else _arrays(*fitting, classes, seed)
        names = available(arrays)
        deployed, choice = _deployed(settings, names, arrays, calibration)
        nothing = AlarmThreshold(None, 0, least_tracks(settings.false_alarm_rate))
        limit, distance_limit, estimator = nothing, nothing, None
        tried: dict[float, AlarmThreshold] = {}
        unit, limits, sets = 1.0, None, None
        if calibration is not None:
            part = Fitted(arrays, names, deployed, choice, nothing, nothing, "", None, settings)
            limit, estimator, reason = _calibrated(part, calibration)
            hits = calibration.outputs.hits(calibration.labels)
            values = part.scores(deployed, calibration.outputs)[hits]
            unit = _spread(values)
            tried = {rate: score_threshold(values, calibration.tracks[hits], rate) for rate in RATES}
            distance_limit = _distance_limit(part, calibration, seed)
            limits = fit_inputs(calibration.images, calibration.tracks)
            sets = _sets(calibration, seed)
    except MonitorRefused as error:
        raise StageError(f"monitors: {error}") from None
    return Fitted(
        arrays,
        names,
        deployed,
        choice,
        limit,
        distance_limit,
        reason,
        estimator,
        settings,
        tried,
        unit,
        limits,
        sets,
    )


def _arrays(outputs: Outputs, labels: np.ndarray, classes: int, seed: int) -> dict[str, np.ndarray]:
    rows = np.flatnonzero(outputs.finite)
    if len(rows) < LEAST_FITTING:
        return {}
    part = outputs.take(rows)
    arrays: dict[str, np.ndarray] = fit_scores(part.logits, part.features, labels[rows], classes, seed)
    arrays |= fit_columns(part.features)
    arrays |= fit_reference(columns_of(arrays, part.logits, part.features), part.predicted, classes)
    return arrays


def _deployed(
    settings: MonitorsSettings,
    names: tuple[str, ...],
    arrays: dict[str, np.ndarray],
    calibration: Calibration | None,
) -> tuple[str, str]:
    """Return the deployed score and how it was chosen: never on test images."""
    if settings.score != "auto":
        if settings.score in names:
            return settings.score, "named in the settings"
        return BASELINE, f"{settings.score} cannot be fitted on this model, so the baseline takes its place"
    if calibration is None:
        return BASELINE, "the baseline, because no validation sign compares the scores"
    reject = ~np.concatenate(
        [
            calibration.outputs.hits(calibration.labels),
            calibration.shifted.hits(calibration.shifted_labels),
        ]
    )
    blank = Fitted(
        arrays,
        names,
        BASELINE,
        "",
        AlarmThreshold(None, 0, 0),
        AlarmThreshold(None, 0, 0),
        "",
        None,
        settings,
    )
    rates = {
        name: auroc_score(
            np.concatenate([blank.scores(name, part) for part in (calibration.outputs, calibration.shifted)]),
            reject,
        )
        for name in names
    }
    if not all(np.isfinite(rate) for rate in rates.values()):
        return BASELINE, "the baseline, because no validation image is misclassified, clean or corrupted"
    return max(rates, key=lambda name: rates[name]), "the best on validation images, clean and corrupted"


def _calibrated(
    fitted: Fitted, calibration: Calibration
) -> tuple[AlarmThreshold, AccuracyEstimator | None, str]:
    rate = fitted.settings.false_alarm_rate
    hits = calibration.outputs.hits(calibration.labels)
    values = fitted.scores(fitted.deployed, calibration.outputs)
    limit = score_threshold(values[hits], calibration.tracks[hits], rate)
    usable = calibration.outputs.finite
    signs = len(np.unique(calibration.tracks[usable]))
    estimator = AccuracyEstimator(values[usable], hits[usable], signs) if signs >= 2 else None
    reason = ""
    if limit.value is None:
        reason = (
            f"{limit.tracks} calibration signs are correctly classified at least once, and a rate of "
            f"{rate:.4g} false alarms by sign needs {limit.needed}"
        )
    return limit, estimator, reason


def _spread(values: np.ndarray) -> float:
    finite = values[np.isfinite(values)]
    spread = float(finite.std()) if len(finite) else 0.0
    return spread if spread > 0 else 1.0


def _sets(calibration: Calibration, seed: int) -> Threshold | None:
    """Return the threshold of LAC sets, fitted on one frame of each sign; None where too few signs allow one."""
    rows = np.flatnonzero(calibration.outputs.finite)
    if not len(rows):
        return None
    frames, ties, _ = one_frame_each(calibration.tracks[rows], seed)
    drawn = rows[frames]
    values = class_scores("lac", calibration.outputs.logits[drawn], np.zeros(len(drawn)))
    own = values[np.arange(len(drawn)), calibration.labels[drawn]]
    threshold = threshold_of(own, ties, 1 - SET_LEVEL / 100)
    return threshold if threshold.rank <= threshold.images else None


def _distance_limit(fitted: Fitted, calibration: Calibration, seed: int) -> AlarmThreshold:
    settings = fitted.settings
    if not fitted.has_reference:
        return AlarmThreshold(None, 0, least_tracks(settings.false_alarm_rate))
    maxima = stream_maxima(
        lambda: fitted.distance_monitor(np.inf),
        calibration.outputs.logits,
        calibration.outputs.features,
        calibration.tracks,
        settings.streams,
        seed,
    )
    return distance_threshold(maxima, settings.false_alarm_rate)
