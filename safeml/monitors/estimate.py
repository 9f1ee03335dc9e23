"""The accuracy of unlabelled frames, estimated from the scores. Legend: M calibration frames, T their sign tracks, N frames of a window.

Average thresholded confidence: the threshold leaves as many calibration frames below it as are misclassified; the
estimate is the share of the window's frames at or above it. It holds where errors under a shift have low scores as
errors on calibration frames do, which nothing guarantees: the audit measures its error on each set.

Reference: S. Garg et al., "Leveraging unlabeled data to predict out-of-distribution performance", 2022.
"""

from typing import NamedTuple

import numpy as np

from .errors import MonitorRefused
from .scores import checked

DRAWS = 1000


class Estimate(NamedTuple):
    """An estimated accuracy with its 95 % interval, 0..1; the interval covers chance, not a failure of the assumption."""

    value: float
    low: float
    high: float


class AccuracyEstimator:
    """The calibrated part of the estimate.

    scores: float64 [M], ascending, of frames that no monitor was fitted on.
    hits: bool [M], classified correctly, in the order of `scores`.
    tracks: T, the number of sign tracks behind them.
    """

    def __init__(self, scores: np.ndarray, hits: np.ndarray, tracks: int) -> None:
        values = checked(np.asarray(scores)[:, None], 1, "scores")[:, 0]
        if len(values) != len(hits) or not 2 <= tracks <= len(values):
            raise MonitorRefused(
                f"there are {len(values)} scores, {len(hits)} hits and {tracks} tracks; expected one hit a score and from two tracks on."
            )
        order = np.argsort(values, kind="mergesort")
        self.scores, self.hits, self.tracks = values[order], np.asarray(hits, bool)[order], int(tracks)
        self.threshold = float(self._thresholds(np.array([(~self.hits).mean()]))[0])

    def estimate(self, window: np.ndarray, signs: float, seed: int = 0) -> Estimate:
        """Return the estimated accuracy of a window.

        window: float [N], scores of its frames. signs: independent signs that they show, 1..N.

        Both shares are drawn from their posterior with as many observations as there are signs (Jeffreys prior), so that
        neither zero errors nor zero low scores give an interval without width.
        """
        values = checked(np.asarray(window)[:, None], 1, "scores")[:, 0]
        if not len(values) or not 1 <= signs <= len(values):
            raise MonitorRefused(
                f"the window has {len(values)} frames of {signs} signs; expected a frame and no more signs than frames."
            )
        rng = np.random.default_rng(seed)
        error = float((~self.hits).mean())
        value = float((values >= self.threshold).mean())
        errors = rng.beta(error * self.tracks + 0.5, (1 - error) * self.tracks + 0.5, DRAWS)
        above = (values[None] >= self._thresholds(errors)[:, None]).mean(axis=1) * signs
        draws = rng.beta(above + 0.5, np.maximum(signs - above, 0) + 0.5)
        low, high = np.percentile(draws, [2.5, 97.5])
        return Estimate(value, float(min(low, value)), float(max(high, value)))

    def _thresholds(self, errors: np.ndarray) -> np.ndarray:
        """Return the scores that leave the shares `errors` (float [R], 0..1) of the calibration frames below them."""
        places = np.floor(errors * len(self.scores) + 1e-9).astype(int)
        padded = np.append(self.scores, np.inf)
        values = padded[np.minimum(places, len(self.scores))]
        return np.asarray(np.where(places == 0, -np.inf, values))
