"""The figures of the calibration stage. Legend: N images, B bins."""

from __future__ import annotations

import numpy as np

from safeml.audits.calibration.metrics import Calibration
from safeml.metrics.calibration.binned import equal_width, fill
from safeml.metrics.calibration.consistency import bands
from safeml.metrics.calibration.forecasts import Forecasts
from safeml.metrics.calibration.scores import BINS
from safeml.metrics.calibration.selective import risk_coverage
from safeml.results import Column, Curve, Metric, Reliability, ReliabilityBin, Scalar, Series, Table

POINTS = 200


def reliability_figure(made: Forecasts, draws: list[np.ndarray], after: Forecasts | None) -> Reliability:
    """Draw accuracy against confidence in equal-width bins, with the band of a perfectly calibrated model.

    draws: hits of perfectly calibrated models, R of bool [N].
    after: the same images at the fitted temperature.
    """
    cells = equal_width(made.confidence)
    filled, band = fill(cells, made.confidence, made.hits), bands(cells, BINS, draws)
    entries = []
    for b in range(BINS):
        n = int(filled.count[b])
        if not n:
            entries.append(ReliabilityBin(start=b / BINS, end=(b + 1) / BINS))
            continue
        entries.append(
            ReliabilityBin(
                start=b / BINS,
                end=(b + 1) / BINS,
                confidence=min(1.0, float(filled.confidence[b] / n)),
                accuracy=float(filled.hits[b] / n),
                low=float(band[b, 0]),
                high=float(band[b, 1]),
                n=n,
            )
        )
    return Reliability(
        id="reliability",
        title="Reliability diagram",
        bins=entries,
        compare=_points(after) if after is not None else [],
        compare_label="after temperature scaling" if after is not None else "",
        caption="The accuracy of the images in each bin of confidence. A perfectly calibrated model, whose frames of one "
        "sign are classified alike, lies inside the band in 95 % of test sets.",
    )


def measures_table(measured: Calibration) -> Table:
    """List each measure with its interval and the value of a perfectly calibrated model."""
    rows: list[list[Scalar]] = [
        [metric.title, metric.value, metric.low, metric.high, measured.perfect[metric.name]]
        for metric in measured.metrics
        if metric.name in measured.perfect
    ]
    return Table(
        id="calibration-measures",
        title="Measures, and their values by chance",
        columns=[
            Column(key="measure", label="Measure"),
            Column(key="value", label="Value", kind="number"),
            Column(key="low", label="95 % from", kind="number"),
            Column(key="high", label="95 % to", kind="number"),
            Column(key="perfect", label="Perfectly calibrated model", kind="number"),
        ],
        rows=rows,
        caption="The last column is the mean of a perfectly calibrated model with the same confidences and as many "
        "independent images. It is above 0, because bins and smoothing also measure chance.",
    )


def scaling_table(before: list[Metric], after: list[Metric], accuracy: dict[str, float]) -> Table:
    """List NLL, Brier score, ECE and smooth ECE before and after each scaling. accuracy: by method, "none" for the delivered model."""
    names = ("nll", "brier", "ece_equal_mass", "smooth_ece")
    values = {metric.name: metric.value for metric in [*before, *after]}
    rows: list[list[Scalar]] = [
        [
            method,
            *(values.get(name if method == "none" else f"{name}.{method}") for name in names),
            accuracy.get(method),
        ]
        for method in ("none", "temperature", "vector", "isotonic")
    ]
    return Table(
        id="scaling",
        title="Before and after scaling",
        columns=[
            Column(key="scaling", label="Scaling"),
            Column(key="nll", label="NLL", kind="number"),
            Column(key="brier", label="Brier score", kind="number"),
            Column(key="ece", label="ECE, equal mass", kind="number"),
            Column(key="smooth", label="Smooth ECE", kind="number"),
            Column(key="accuracy", label="Accuracy", kind="percent"),
        ],
        rows=rows,
        caption="Fitted on validation images, measured on the test images. Isotonic scaling gives a confidence for the "
        "predicted class only, so it has no NLL and no Brier score.",
    )


def thresholds_table(rows: list[list[Scalar]]) -> Table:
    """Return the table of guaranteed thresholds."""
    return Table(
        id="thresholds",
        title="Thresholds with a guaranteed risk",
        columns=[
            Column(key="risk", label="Risk at most"),
            Column(key="confidence", label="Least confidence", kind="number"),
            Column(key="coverage", label="Test images answered", kind="percent"),
            Column(key="error", label="Error among them", kind="percent"),
            Column(key="note", label="Note"),
        ],
        rows=rows,
        caption="Of later signs of the same kind that are answered at all, at most this share has an incorrect answer, with 95 % "
        "confidence. The threshold comes from validation signs.",
    )


def risk_figure(made: Forecasts) -> Curve:
    """Draw the risk of the most confident images against their share."""
    coverage, risk = risk_coverage(made.log_odds, made.hits)
    rows = np.unique(np.linspace(0, len(made) - 1, min(POINTS, len(made))).astype(int))
    return Curve(
        id="risk-coverage",
        title="Risk and coverage",
        x_label="share of images answered, most confident first",
        y_label="error among them",
        series=[
            Series(
                name="delivered model",
                x=[float(value) for value in coverage[rows]],
                y=[float(value) for value in risk[rows]],
                role="main",
            )
        ],
        percent=True,
        x_ticks=[(0.0, "0"), (0.5, "50 %"), (1.0, "100 %")],
        caption="Where incorrect predictions have the lowest confidence, the curve stays low until nearly all images are answered.",
    )


def _points(after: Forecasts) -> list[tuple[float, float]]:
    filled = fill(equal_width(after.confidence), after.confidence, after.hits)
    return [
        (min(1.0, float(confidence / n)), float(hits / n))
        for n, confidence, hits in zip(filled.count, filled.confidence, filled.hits, strict=True)
        if n
    ]
