"""Calibration measures with intervals over sign tracks, beside those of a perfectly calibrated model. Legend: N images, K classes.

`calibration_metrics` needs only logits, labels and clustering, so that it can measure any copy of the images, such as a
corrupted one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from safeml.metrics.calibration.binned import (
    classwise_of_cells,
    debiased_error,
    ece_error,
    equal_mass,
    equal_width,
    fill,
)
from safeml.metrics.calibration.consistency import p_value, perfect_draws, shared_draws
from safeml.metrics.calibration.forecasts import Forecasts
from safeml.metrics.calibration.scores import (
    BINS,
    class_cells,
    expected_brier,
    expected_nll,
    label_losses,
    squared_errors,
)
from safeml.metrics.calibration.selective import augrc_loss, aurc_loss
from safeml.metrics.calibration.smooth import ks_error, smooth_error
from safeml.results import Metric
from safeml.stages.calibration import ERRORS
from safeml.statistics import Clustering, bootstrap_metric, proportion_metric

# Draws for the mean of a perfect model; the mean of so many is exact to a tenth of the spread of one.
PERFECT_DRAWS = 100
METHOD = "percentile bootstrap over signs, at least as wide as the interval of the accuracy"
Statistic = Callable[[np.ndarray], float]


@dataclass(frozen=True, eq=False)
class Sample:
    """The images that are measured.

    made: their forecasts.
    clustering: what is known of their sign tracks.
    seed, resamples: of all draws.
    """

    made: Forecasts
    clustering: Clustering
    seed: int
    resamples: int


@dataclass(eq=False)
class Calibration:
    """What is measured of one model on one sample.

    metrics: in the order of the page.
    perfect: metric name -> mean value of a perfectly calibrated model with the same probabilities.
    p_value: of the calibration test; None where it was not done.
    draws: hits of perfectly calibrated models whose frames of one sign share a draw, R of bool [N].
    """

    metrics: list[Metric]
    perfect: dict[str, float]
    p_value: float | None = None
    draws: list[np.ndarray] = field(default_factory=list)


def calibration_metrics(sample: Sample, tested: bool = True) -> Calibration:
    """Measure the calibration of one model on one sample.

    tested: do the calibration test, which costs as much as the intervals.
    """
    made = sample.made
    metrics = [nll_metric(sample), brier_metric(sample)]
    perfect = {"nll": expected_nll(made), "brier": expected_brier(made)}
    draws = list(perfect_draws(made.confidence, min(PERFECT_DRAWS, sample.resamples), sample.seed))
    for name, title in ERRORS:
        if name == "classwise_ece":
            metrics.append(_classwise(sample, title))
            perfect[name] = _perfect_classwise(sample)
            continue
        metrics.append(error_metric(name, title, sample))
        perfect[name] = float(np.mean([error_of(name)(made.confidence, hits) for hits in draws]))
    metrics.append(_excess(next(m for m in metrics if m.name == "smooth_ece"), perfect["smooth_ece"]))
    for name, title, area in (
        ("aurc", "Area under the risk-coverage curve", aurc_loss),
        ("augrc", "Area under the generalised risk-coverage curve", augrc_loss),
    ):
        metrics.append(_area(name, title, sample, area))
    if not tested:
        return Calibration(metrics, perfect)
    shared = list(
        shared_draws(made.confidence, made.labels, sample.clustering, sample.resamples, sample.seed)
    )
    value = p_value(lambda drawn: smooth_error(made.confidence, drawn), made.hits, shared)
    return Calibration(metrics, perfect, value, shared)


def nll_metric(sample: Sample, name: str = "nll", title: str = "Negative log-likelihood") -> Metric:
    """Return the NLL in nats; undefined where a true class has the probability 0."""
    losses = label_losses(sample.made)
    impossible = int(np.isinf(losses).sum())
    if impossible:
        reason = f"the true class has the probability 0 in {impossible} of {len(losses)} images"
        return Metric.undefined(name, title, reason, direction="down", unit="ratio", n=len(losses))
    return _resampled(name, title, sample, lambda rows: float(losses[rows].mean()), "ratio", np.inf)


def brier_metric(sample: Sample, name: str = "brier", title: str = "Brier score") -> Metric:
    """Return the Brier score of all classes, 0..2."""
    errors = squared_errors(sample.made)
    return _resampled(name, title, sample, lambda rows: float(errors[rows].mean()), "ratio", 2.0)


def error_of(name: str) -> Callable[[np.ndarray, np.ndarray], float]:
    """Return the calibration error of this name, a function of confidence (float [N]) and hits (bool [N])."""
    return {
        "ece_equal_width": lambda confidence, hits: ece_error(
            fill(equal_width(confidence), confidence, hits)
        ),
        "ece_equal_mass": lambda confidence, hits: ece_error(fill(equal_mass(confidence), confidence, hits)),
        "debiased_error": lambda confidence, hits: debiased_error(
            fill(equal_mass(confidence), confidence, hits)
        ),
        "smooth_ece": smooth_error,
        "ks_error": ks_error,
    }[name]


def error_metric(
    name: str,
    title: str,
    sample: Sample,
    confidence: np.ndarray | None = None,
    key: str = "",
) -> Metric:
    """Return a calibration error of the predicted class.

    confidence: float64 [N] in place of that of the forecasts.
    key: the name of the metric, if it is not `name`.
    """
    given = sample.made.confidence if confidence is None else confidence
    hits, error = sample.made.hits, error_of(name)
    metric = _resampled(key or name, title, sample, lambda rows: error(given[rows], hits[rows]))
    return metric if name == "debiased_error" else _widened(metric, sample)


def _classwise(sample: Sample, title: str) -> Metric:
    made = sample.made
    cells = class_cells(made.probabilities, BINS)

    def statistic(rows: np.ndarray) -> float:
        return classwise_of_cells(cells[rows], made.probabilities[rows], made.labels[rows])

    return _widened(_resampled("classwise_ece", title, sample, statistic), sample)


def _area(name: str, title: str, sample: Sample, area: Callable[[np.ndarray, np.ndarray], float]) -> Metric:
    scores, hits = sample.made.log_odds, sample.made.hits
    return _resampled(name, title, sample, lambda rows: area(scores[rows], hits[rows]))


def _perfect_classwise(sample: Sample) -> float:
    made = sample.made
    cells, rng = class_cells(made.probabilities, BINS), np.random.default_rng([sample.seed, 0xC1])
    cumulated = made.probabilities.cumsum(axis=1)
    errors = []
    for _ in range(20):
        drawn = (cumulated < rng.random((len(made), 1)) * cumulated[:, -1:]).sum(axis=1)
        errors.append(classwise_of_cells(cells, made.probabilities, drawn))
    return float(np.mean(errors))


def _resampled(
    name: str, title: str, sample: Sample, statistic: Statistic, unit: str = "proportion", upper: float = 1.0
) -> Metric:
    return bootstrap_metric(
        name,
        title,
        statistic,
        len(sample.made),
        clustering=sample.clustering,
        direction="down",
        unit="ratio" if unit == "ratio" else "proportion",
        seed=sample.seed,
        resamples=sample.resamples,
        bounds=(0.0, upper),
    )


def _widened(metric: Metric, sample: Sample) -> Metric:
    return not_below_accuracy(
        metric, proportion_metric("accuracy", "", sample.made.hits, clustering=sample.clustering)
    )


def not_below_accuracy(metric: Metric, accuracy: Metric) -> Metric:
    """Widen the interval of a calibration error to that of the accuracy of the same images.

    A change of the accuracy changes the error by at most as much. Resamples of images without an error hold none either, so
    the bootstrap alone would call such an error known.
    """
    if metric.value is None or accuracy.value is None or accuracy.low is None or accuracy.high is None:
        return metric
    reach = max(accuracy.value - accuracy.low, accuracy.high - accuracy.value)
    low, high = max(0.0, metric.value - reach), min(1.0, metric.value + reach)
    if metric.low is not None and metric.high is not None:
        low, high = min(low, metric.low), max(high, metric.high)
    return metric.model_copy(update={"low": low, "high": high, "method": METHOD})


def _excess(smooth: Metric, perfect: float) -> Metric:
    """Return how far the smooth ECE is above that of a perfectly calibrated model; 0 where it is below."""

    def above(value: float | None) -> float | None:
        return None if value is None else max(0.0, value - perfect)

    changed = {
        "name": "smooth_ece_excess",
        "title": "Smooth ECE above that of a perfect model",
        "value": above(smooth.value),
        "low": above(smooth.low),
        "high": above(smooth.high),
    }
    return smooth.model_copy(update=changed)
