"""How much accuracy a changed model may have lost, compared sign by sign. Legend: N images, C sign tracks."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from safeml.errors import StageError
from safeml.results import Metric
from safeml.statistics.clusters import UNKNOWN, Clustering, Clusters, clusters_of
from safeml.statistics.mean_bounds import DRAWS, t_upper_bound, upper_bound
from safeml.statistics.paired import flips
from safeml.statistics.proportions import NO_IMAGES, UNKNOWN_CLUSTERING
from safeml.wording import limit_percent, percent


@dataclass(frozen=True, eq=False)
class _Losses:
    """The net loss of C sign tracks.

    values: float [V], different losses, -1..1.
    weights: float [V], the number of sign tracks with each; fractional where tracks are only declared.
    """

    values: np.ndarray
    weights: np.ndarray

    def mean(self) -> float:
        return float(self.values @ self.weights / self.weights.sum())


def paired_noninferiority(
    name: str,
    title: str,
    before: np.ndarray,
    after: np.ndarray,
    *,
    clustering: Clustering = UNKNOWN,
    largest_loss: float = 1.0,
    level: float = 0.95,
    slice: str = "all",
    draws: int = DRAWS,
) -> Metric:
    """Return the accuracy that `after` loses to `before`, as the mean over sign tracks, with one-sided bounds.

    before, after: bool [N], correctly classified, of the same images.
    largest_loss: s in 0..1, the largest share of its frames that a sign track may lose net. 1 assumes nothing. A smaller
            share is an assumption of the user, is named in the metric's method, and makes the metric undefined if any sign
            track loses more. If it is false, and no such track is in the sample, up to 11 % pass at the margin
            (benchmarks/paired_error_rates.py).
    level: one-sided; each end of the interval is exceeded with a chance of at most 1 - level.
    draws: of the simulated bound (`mean_bounds.upper_bound`).

    For sign track i, D_i = (lost_i - won_i) / m_i. Ends: the bound of Learned-Miller and Thomas for the mean of D in
    [-1, s]. The method text gives, for comparison, the closed-form bound by a t statistic with one pseudo-sign, at half
    the chance, where simulations confirm it (benchmarks/paired_error_rates.py).
    Where tracks are only declared, the worst case is taken: lost images fill the fewest sign tracks (s of the frames of
    each), and so do the images won. No test of McNemar, Tango, Obuchowski or Durkalski is used: on a few wholly lost signs
    and scattered losses they accept a model at the margin up to 41 % of the time at a nominal 2.5 %.

    Raises: StageError where the vectors are not bool of one length, `largest_loss` is not in 0..1, or the clustering does
    not fit.

    References: as in `mean_bounds.upper_bound`.
    """
    lost, won = flips(name, before, after)
    if not 0 < largest_loss <= 1:
        raise StageError(
            f"{name}: largest_loss is {largest_loss:g}; expected a share above 0 and at most 1, where 1 assumes nothing."
        )
    n = len(lost)
    if n == 0:
        return Metric.undefined(name, title, NO_IMAGES, direction="down", slice=slice, level=level)
    clusters = clusters_of(name, n, clustering)
    metric = Metric(
        name=name,
        title=title,
        value=float(lost.mean() - won.mean()),
        method=UNKNOWN_CLUSTERING,
        n=n,
        signs=clusters.signs,
        level=level,
        sides=1,
        clustering=clusters.kind,
        direction="down",
        slice=slice,
    )
    if clusters.kind == "unknown":
        return metric
    refusal = _refusal(lost, won, clusters, largest_loss)
    if refusal:
        return Metric.undefined(name, title, refusal, direction="down", slice=slice, level=level, n=n)
    losses = _losses(lost, won, clusters, largest_loss)
    value, error = losses.mean(), 1 - level
    high = upper_bound(losses.values, losses.weights, largest_loss, error, draws)
    low = -upper_bound(-losses.values, losses.weights, 1.0, error, draws)
    closed = t_upper_bound(losses.values, losses.weights, largest_loss, error / 2)
    return metric.model_copy(
        update={
            "value": value,
            "low": min(low, value),
            "high": max(high, value),
            "method": _method(clusters, largest_loss, level, closed),
        }
    )


def signs_for_identical_models(margin: float, largest_loss: float = 1.0, level: float = 0.95) -> int:
    """Return the number of sign tracks with which two models that agree on every image prove a loss of at most `margin`.

    margin: above 0, a share of the accuracy.
    largest_loss: as in `paired_noninferiority`; a margin of at least that needs no sign track.
    level: one-sided, above 0 and below 1.

    Without any difference the bound is s (1 - (1 - level)^(1 / C)); with fewer sign tracks no model can be proven.
    """
    if margin >= largest_loss:
        return 0
    signs = math.log1p(-level) / math.log1p(-margin / largest_loss)
    return math.ceil(signs - 1e-9)


def _refusal(lost: np.ndarray, won: np.ndarray, clusters: Clusters, largest_loss: float) -> str:
    """Return why the assumption about the largest loss does not hold for these images, or ""."""
    smallest = clusters.frames if clusters.sizes is None else float(clusters.sizes.min())
    if largest_loss * smallest < 1:
        return (
            f"a sign track has {smallest:g} frames, so it cannot lose only {limit_percent(largest_loss)} of them; "
            "set largest_loss = 1"
        )
    if clusters.sizes is None:
        signs = lost.sum() / (largest_loss * clusters.frames) + won.sum() / clusters.frames
        if signs > clusters.n / clusters.frames:
            return f"the images lost do not fit if each sign track loses at most {limit_percent(largest_loss)} of its frames"
        return ""
    most = float((clusters.totals(lost.astype(float) - won) / clusters.sizes).max())
    if most > largest_loss:
        return f"a sign track loses {percent(most)} of its frames, but largest_loss declares at most {limit_percent(largest_loss)}"
    return ""


def _losses(lost: np.ndarray, won: np.ndarray, clusters: Clusters, largest_loss: float) -> _Losses:
    """Return the losses of the sign tracks, known or packed into the fewest."""
    if clusters.sizes is None:
        frames = clusters.frames
        fewest_lost = float(lost.sum()) / (largest_loss * frames)
        fewest_won = float(won.sum()) / frames
        values = np.array([largest_loss, -1.0, 0.0])
        return _Losses(
            values, np.array([fewest_lost, fewest_won, clusters.n / frames - fewest_lost - fewest_won])
        )
    net = clusters.totals(lost.astype(float) - won) / clusters.sizes
    values, counts = np.unique(net, return_counts=True)
    return _Losses(values, counts.astype(float))


def _method(clusters: Clusters, largest_loss: float, level: float, closed: float) -> str:
    assumption = (
        "no assumption about a sign track"
        if largest_loss == 1
        else f"declared: no sign track loses more than {limit_percent(largest_loss)} of its frames net"
    )
    packed = "; images lost are packed into the fewest sign tracks" if clusters.sizes is None else ""
    return (
        f"mean over sign tracks; each end one-sided at {limit_percent(level)} (Learned-Miller and Thomas, 2019); "
        f"{assumption}{packed}; a t statistic with one pseudo-sign gives at most {percent(closed, 0.005)} at "
        f"{limit_percent((1 + level) / 2)}"
    )
