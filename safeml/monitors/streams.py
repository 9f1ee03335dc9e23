"""Streams of whole sign tracks through a distance monitor: what calibrates its threshold, and what measures it. Legend: N frames, T sign tracks, S streams."""

from typing import Callable, NamedTuple, Optional

import numpy as np

from .buffer import DistanceMonitor

# A camera of ten frames a second; with the default time-out a buffer forgets the traffic sign before the last.
FRAME_SECONDS = 0.1


class Passed(NamedTuple):
    """What a monitor saw while each track passed.

    largest: float64 [T], the largest distance; minus infinity where no buffer was full.
    first: int64 [T], number of the first frame (from 1) whose distance is above the threshold; 0 where none is.
    frames: int64 [T], length of the track.
    """

    largest: np.ndarray
    first: np.ndarray
    frames: np.ndarray


def pass_tracks(
    monitor: DistanceMonitor,
    logits: np.ndarray,
    features: Optional[np.ndarray],
    tracks: np.ndarray,
    order: Optional[np.ndarray] = None,
) -> Passed:
    """Let whole tracks pass a monitor, one after the other.

    logits: float [N, K]. features: float [N, F], or None. Frames of one track are in the order of recording.
    tracks: int [N]. order: int [T], in which the tracks (ascending by number) pass; by default that of their numbers.
    """
    code = np.unique(np.asarray(tracks), return_inverse=True)[1].ravel()
    count = int(code.max()) + 1 if len(code) else 0
    largest, first = np.full(count, -np.inf), np.zeros(count, np.int64)
    frames = np.bincount(code, minlength=count)
    time = 0.0
    for track in range(count) if order is None else order:
        for place, row in enumerate(np.flatnonzero(code == track)):
            time += FRAME_SECONDS
            decision = monitor.update(logits[row], None if features is None else features[row], time)
            if decision.distance is not None:
                largest[track] = max(largest[track], decision.distance)
            if decision.reason == "distance" and not first[track]:
                first[track] = place + 1
    return Passed(largest, first, frames)


def stream_maxima(
    make: Callable[[], DistanceMonitor],
    logits: np.ndarray,
    features: Optional[np.ndarray],
    tracks: np.ndarray,
    streams: int,
    seed: int,
) -> np.ndarray:
    """Return the largest distance of each track in each of S streams in random order, float64 [T, S], for `distance_threshold`.

    make: returns a new monitor, with an infinite threshold. The other arguments: see `pass_tracks`.
    """
    rng = np.random.default_rng(seed)
    count = len(np.unique(np.asarray(tracks)))
    columns = [
        pass_tracks(make(), logits, features, tracks, rng.permutation(count)).largest for _ in range(streams)
    ]
    return np.stack(columns, axis=1)
