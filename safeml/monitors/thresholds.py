"""Thresholds for a declared rate of false alarms per encounter with a sign. Legend: N frames, T sign tracks, S simulated streams.

Frames of one sign are alike, so a threshold from single frames gives many times the declared rate. The unit is the sign
track: a track has a false alarm if any of its frames has one.
"""

from typing import NamedTuple, Optional

import numpy as np

from .errors import MonitorRefused


class AlarmThreshold(NamedTuple):
    """A threshold of a score or a distance.

    value: an alarm is a score below it, or a distance above it; None where too few tracks allow none.
    tracks: T.
    needed: fewest tracks that allow a threshold at this rate.
    """

    value: Optional[float]
    tracks: int
    needed: int


def least_tracks(rate: float) -> int:
    """Return the fewest tracks that allow a threshold for this rate (0..1): 19 for 5 %."""
    return int(np.ceil(1 / rate - 1e-9)) - 1


def by_track(values: np.ndarray, tracks: np.ndarray, largest: bool) -> np.ndarray:
    """Return the largest (or smallest) value of each track, float64 [T]; values: float [N], tracks: int [N]."""
    _, code = np.unique(np.asarray(tracks), return_inverse=True)
    code = code.ravel()
    result = np.full(int(code.max()) + 1 if len(code) else 0, -np.inf if largest else np.inf)
    (np.maximum if largest else np.minimum).at(result, code, np.asarray(values, np.float64))
    return result


def score_threshold(values: np.ndarray, tracks: np.ndarray, rate: float) -> AlarmThreshold:
    """Return the score below which a frame raises an alarm.

    values: float [N], scores of frames that no monitor was fitted on. tracks: int [N].
    rate: of later sign tracks with an alarm, 0..1; it holds on average over draws of the T tracks, whatever the scores.

    Reference: V. Vovk, A. Gammerman, G. Shafer, "Algorithmic learning in a random world", 2005.
    """
    _check(rate, values, tracks)
    worst = np.sort(by_track(values, tracks, largest=False))
    rank = int(np.floor((len(worst) + 1) * rate + 1e-9))
    value = float(worst[rank - 1]) if 1 <= rank <= len(worst) else None
    return AlarmThreshold(value, len(worst), least_tracks(rate))


def distance_threshold(maxima: np.ndarray, rate: float) -> AlarmThreshold:
    """Return the distance above which a buffer raises an alarm.

    maxima: float [T, S], the largest distance of the buffer while each track passes, in S streams of whole tracks drawn at
        random; minus infinity where no buffer was full.
    rate: of later sign tracks with an alarm, 0..1. The new track counts as one alarm more, as in `score_threshold`; with one
        stream the two rules are the same.
    """
    values = np.asarray(maxima, np.float64)
    if values.ndim != 2 or np.isnan(values).any():
        raise MonitorRefused(f"the largest distances are {list(values.shape)}; expected numbers [T, S].")
    _check(rate, values, values)
    count, streams = values.shape
    ordered = np.sort(values, axis=None)
    # At most this many of the T x S simulated passes may be above the threshold.
    allowed = int(np.floor(((count + 1) * rate - 1) * streams + 1e-9))
    if not count or allowed < 0:
        return AlarmThreshold(None, count, least_tracks(rate))
    value = float(ordered[max(0, len(ordered) - 1 - allowed)])
    return AlarmThreshold(value if np.isfinite(value) else None, count, least_tracks(rate))


def _check(rate: float, values: np.ndarray, tracks: np.ndarray) -> None:
    if not 0 < rate < 1:
        raise MonitorRefused(f"the false-alarm rate is {rate}; expected a number between 0 and 1.")
    if np.shape(values) != np.shape(tracks):
        raise MonitorRefused(
            f"there are {np.size(values)} values and {np.size(tracks)} track numbers; expected as many."
        )
    if np.isnan(np.asarray(values, np.float64)).any():
        raise MonitorRefused("a value for the threshold is NaN; expected numbers.")
