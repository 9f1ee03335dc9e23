"""The test images after temperature, vector and isotonic scaling. Legend: N images, K classes."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from safeml.audits.calibration.metrics import Sample, brier_metric, error_metric, nll_metric
from safeml.errors import StageError
from safeml.metrics.calibration.forecasts import Forecasts, forecasts
from safeml.metrics.calibration.scaling import Isotonic, fit_isotonic, fit_temperature, fit_vector
from safeml.results import Finding, Metric
from safeml.stages.calibration import ERRORS, SCALINGS

TITLES = dict(ERRORS) | {"nll": "Negative log-likelihood", "brier": "Brier score"}


@dataclass(eq=False)
class Scaled:
    """What scaling gives.

    metrics: of the test images, by method.
    temperature: the fitted one; None if there is none.
    after: the test images at that temperature.
    accuracy: method -> accuracy on the test images, which vector scaling may change.
    """

    metrics: list[Metric]
    findings: list[Finding] = field(default_factory=list)
    temperature: float | None = None
    after: Forecasts | None = None
    accuracy: dict[str, float] = field(default_factory=dict)


def scaled_metrics(
    sample: Sample, logits: np.ndarray, fitting: Forecasts | None, fitted_logits: np.ndarray, reason: str
) -> Scaled:
    """Fit each method on the fitting images and measure the test images.

    logits: float [N, K], of the test images, whose forecasts are in `sample`.
    fitting: of the images for fitting; None if there are none, for the `reason`.
    fitted_logits: float [M, K], their logits.
    """
    result = Scaled([])
    for method in SCALINGS:
        if fitting is None or not len(fitted_logits):
            result.metrics += _undefined(method, reason or "no image is left for fitting", len(sample.made))
            continue
        try:
            _fit(method, result, sample, logits, fitting, fitted_logits)
        except StageError as error:
            why = str(error).removeprefix("calibration: ").rstrip(".")
            result.metrics += _undefined(method, why, len(sample.made))
            result.findings.append(
                Finding(
                    code=f"no-{method}",
                    severity="warning",
                    message=f"{method.capitalize()} scaling is not measured: {why}.",
                    remedy="Give more validation images, among them some that the model classifies incorrectly.",
                )
            )
    return result


def _fit(
    method: str,
    result: Scaled,
    sample: Sample,
    logits: np.ndarray,
    fitting: Forecasts,
    fitted_logits: np.ndarray,
) -> None:
    if method == "isotonic":
        steps: Isotonic = fit_isotonic(fitting)
        confidence = steps.apply(sample.made.log_odds)
        result.metrics += [
            error_metric(name, _title(name, method), sample, confidence, f"{name}.{method}")
            for name in SCALINGS[method]
        ]
        result.accuracy[method] = float(sample.made.hits.mean())
        return
    if method == "temperature":
        temperature = fit_temperature(fitted_logits, fitting.labels)
        made = forecasts(temperature.apply(logits), sample.made.labels)
        result.temperature, result.after = temperature.value, made
    else:
        made = forecasts(fit_vector(fitted_logits, fitting.labels).apply(logits), sample.made.labels)
    result.accuracy[method] = float(made.hits.mean())
    after = Sample(made, sample.clustering, sample.seed, sample.resamples)
    for name in SCALINGS[method]:
        key, title = f"{name}.{method}", _title(name, method)
        if name == "nll":
            result.metrics.append(nll_metric(after, key, title))
        elif name == "brier":
            result.metrics.append(brier_metric(after, key, title))
        else:
            result.metrics.append(error_metric(name, title, after, key=key))


def _undefined(method: str, reason: str, n: int) -> list[Metric]:
    return [
        Metric.undefined(
            f"{name}.{method}",
            _title(name, method),
            reason,
            direction="down",
            unit="ratio" if name in ("nll", "brier") else "proportion",
            n=n,
        )
        for name in SCALINGS[method]
    ]


def _title(name: str, method: str) -> str:
    return f"{TITLES[name]} after {method} scaling"
