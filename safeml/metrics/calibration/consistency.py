"""What chance alone gives: the measures of a perfectly calibrated model with the same confidences. Legend: N images, R draws, B bins.

A perfectly calibrated model classifies an image of confidence c correctly with probability c. Its frames of one sign need not
be independent, and nothing is known about how they depend. Two cases bound it: independent frames, and frames of one sign
that share one draw. The value of a perfect model comes from the first, which makes no excess smaller; the test and the bands
come from the second, which rejects no model for too few signs.

References: J. Bröcker, L. A. Smith, "Increasing the reliability of reliability diagrams", 2007; J. Vaicenavicius et al.,
"Evaluating model calibration in classification", 2019.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from safeml.statistics.clusters import Clustering


def perfect_draws(confidence: np.ndarray, resamples: int, seed: int) -> Iterator[np.ndarray]:
    """Yield R times the hits (bool [N]) of a perfectly calibrated model with independent frames. confidence: float [N], 0..1."""
    rng = np.random.default_rng([seed, 0xCA])
    for _ in range(resamples):
        yield rng.random(len(confidence)) < confidence


def shared_draws(
    confidence: np.ndarray, labels: np.ndarray, clustering: Clustering, resamples: int, seed: int
) -> Iterator[np.ndarray]:
    """Yield R times the hits (bool [N]) of a perfectly calibrated model whose frames of one sign share one uniform number.

    confidence: float [N], 0..1.
    labels: int [N]; where the frames of a sign are declared and not known, random images of one class form each sign.
    """
    rng = np.random.default_rng([seed, 0x7E])
    frames = clustering.frames_per_sign or 1.0
    for _ in range(resamples):
        if clustering.tracks is not None:
            _, sign = np.unique(clustering.tracks, return_inverse=True)
        else:
            order = np.lexsort((rng.random(len(labels)), labels))
            sign = np.empty(len(labels), np.int64)
            sign[order] = (np.arange(len(labels)) / frames).astype(np.int64)
        yield rng.random(int(sign.max()) + 1)[sign] < confidence


def p_value(statistic: Callable[[np.ndarray], float], hits: np.ndarray, draws: list[np.ndarray]) -> float:
    """Return the share of draws, the measured one included, whose statistic is at least the measured one: 1/(R+1)..1.

    statistic: hits (bool [N]) -> error.
    hits: bool [N], measured.
    draws: R of bool [N], of a perfectly calibrated model.
    """
    measured = statistic(hits)
    as_large = sum(statistic(drawn) >= measured - 1e-12 for drawn in draws)
    return (1 + as_large) / (1 + len(draws))


def bands(cells: np.ndarray, bins: int, draws: list[np.ndarray], level: float = 0.95) -> np.ndarray:
    """Return float64 [B, 2], the accuracies between which a bin of a perfectly calibrated model lies; NaN in an empty bin.

    cells: int [N], the bin of each image.
    draws: R of bool [N].
    """
    count = np.bincount(cells, minlength=bins)
    shares = np.array([np.bincount(cells, drawn, bins) for drawn in draws]) / np.maximum(count, 1)
    ends = np.quantile(shares, [(1 - level) / 2, (1 + level) / 2], axis=0).T
    ends[count == 0] = np.nan
    return np.asarray(ends)
