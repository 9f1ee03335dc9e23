"""Temporal fusion: one prediction for all frames of a sign track so far. Legend: N frames, K classes."""

from collections import OrderedDict
from typing import NamedTuple

import numpy as np

from .errors import MonitorRefused
from .scores import log_softmax

MOST_TRACKS = 64


class Fused(NamedTuple):
    """The prediction for a track after its latest frame.

    predicted: class. probability: mean probability of that class, 0..1. frames: number of fused frames.
    """

    predicted: int
    probability: float
    frames: int


def fused_log_probabilities(logits: np.ndarray) -> np.ndarray:
    """Return the logarithm of the mean probabilities of the first 1, 2, ..., N frames of one track, float64 [N, K].

    logits: float [N, K], finite, in the order of recording.

    The mean does not grow more certain with each frame, because frames of one sign are not independent observations.
    """
    sums = np.logaddexp.accumulate(log_softmax(logits), axis=0)
    return np.asarray(sums - np.log(np.arange(1, len(sums) + 1))[:, None])


class TrackFusion:
    """Fuses the frames of many tracks at once; the track without a frame for longest is dropped beyond MOST_TRACKS.

    classes: K.
    """

    def __init__(self, classes: int, most: int = MOST_TRACKS) -> None:
        self.classes, self.most = int(classes), int(most)
        self.sums = OrderedDict()  # type: OrderedDict

    def update(self, track: int, logits: np.ndarray) -> Fused:
        """Add a frame and return the prediction for its track.

        track: number of the sign track, from a tracker. logits: float [K], finite; others raise MonitorRefused and leave the
            track as it is.
        """
        row = np.asarray(logits, np.float64)
        if row.shape != (self.classes,):
            raise MonitorRefused(f"the logits are {list(row.shape)}; expected [{self.classes}].")
        logs = log_softmax(row[None])[0]
        total, frames = self.sums.pop(track, (np.full(self.classes, -np.inf), 0))
        total, frames = np.logaddexp(total, logs), frames + 1
        self.sums[track] = (total, frames)
        while len(self.sums) > self.most:
            self.sums.popitem(last=False)
        best = int(total.argmax())
        return Fused(best, float(np.exp(total[best] - np.log(frames))), frames)
