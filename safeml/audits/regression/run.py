"""Errors of a regression model on clean images. Legend: N images, T targets."""

from __future__ import annotations

import numpy as np

from safeml.audits.base import AuditInputs
from safeml.audits.predictions import clustering_statement
from safeml.audits.regression.figures import (
    error_curve,
    histogram,
    ledger_table,
    part_plot,
    worst_images,
)
from safeml.audits.regression.measure import Measured, measure
from safeml.audits.regression.metrics import all_metrics, all_parts, range_parts
from safeml.audits.weakest import untested_groups, user_groups
from safeml.results import Card, Fact, Finding, Metric, StageResult
from safeml.stages.base import TARGETS
from safeml.stages.regression import LEAST_SIGNS, REGRESSION, RegressionSettings
from safeml.wording import counted, interval, number, percent, quantity


def run(inputs: AuditInputs, settings: RegressionSettings) -> StageResult:
    """Measure the errors on the test images, and the share of them within the declared tolerance.

    Raises StageError for data without targets, or when the output does not have the shape [N, T].
    """
    measured = measure(inputs)
    test, targets = measured.test, measured.targets
    metrics = all_metrics(measured, settings, inputs.seed)
    share = next(metric for metric in metrics if metric.name == "within_tolerance")
    plot = part_plot(measured, metrics)
    columns = range(len(targets.settings))
    return StageResult(
        stage=REGRESSION.name,
        title=REGRESSION.title,
        tested="How far the predicted values are from the targets, on unmodified images.",
        on_what=f"{test.name}: {counted(len(test), 'image')}; targets: "
        + "; ".join(_declared(measured, column) for column in columns)
        + ".",
        facts=_facts(measured, share, metrics),
        metrics=metrics,
        findings=[*_findings(measured, settings), *measured.slices.halved()],
        figures=[
            *(histogram(measured, column) for column in columns),
            *(error_curve(measured, column) for column in columns),
            *([plot] if plot is not None else []),
        ],
        meaning=_meaning(measured, share, metrics),
        worst_cases=worst_images(measured),
        ledger=ledger_table(measured),
        limits=[
            "One test set: its results may not transfer to other countries, cameras, weather or seasons.",
            "The targets are taken as true: an error of their measurement counts as an error of the model.",
            clustering_statement(test),
        ],
        not_tested=[
            Fact(label="Targets outside the test images", value="not tested", detail=_covered(measured)),
            Fact(
                label="Uncertainty", value="not tested", detail="the model gives values without an interval"
            ),
        ],
        reproduce=[
            f"model {inputs.classifier.fingerprint}",
            f"test images {test.fingerprint}",
            f"seed {inputs.seed}, {counted(settings.bootstrap, 'bootstrap resample')}",
        ],
        card=_card(measured, share, metrics),
    )


def _declared(measured: Measured, column: int) -> str:
    target = measured.targets.settings[column]
    low, high = target.range
    tolerance = "no tolerance" if target.tolerance is None else f"tolerance {number(target.tolerance)}"
    return f"{target.name} in {target.unit}, {number(low)} to {number(high)}, {tolerance}"


def _covered(measured: Measured) -> str:
    return "; ".join(
        f"{target.name} was {number(round(float(values.min()), 3))} to {number(round(float(values.max()), 3))} {target.unit}"
        for target, values in zip(measured.targets.settings, measured.targets.values.T, strict=True)
    )


def _of(metrics: list[Metric], name: str, target: str) -> Metric:
    """Return an error of one target."""
    return next(metric for metric in metrics if (metric.name, metric.slice) == (name, f"{TARGETS}{target}"))


def _card(measured: Measured, share: Metric, metrics: list[Metric]) -> Card:
    first = measured.targets.settings[0]
    figure = f"errors-{first.name}"
    if share.value is not None:
        text = f"predictions within the tolerance, 95 % interval {interval(share.low, share.high)}"
        return Card(headline=percent(share.value), text=text, figure_id=figure)
    mae = _of(metrics, "mae", first.name)
    return Card(
        headline=number(mae.value),
        text=f"mean absolute error of {first.name}, {first.unit}",
        figure_id=figure,
    )


def _facts(measured: Measured, share: Metric, metrics: list[Metric]) -> list[Fact]:
    test, signs = measured.test, share.signs
    if share.value is None:
        signs = _of(metrics, "mae", measured.targets.settings[0].name).signs
    facts = [
        Fact(
            label="Images",
            value=number(len(test)),
            detail="sign tracks unknown" if signs is None else f"{number(round(signs))} sign tracks",
        ),
        Fact(
            label="Within the tolerance",
            value=percent(share.value),
            detail=share.reason or interval(share.low, share.high),
        ),
    ]
    first = measured.targets.settings[0]
    for name, label in (
        ("mae", "Mean absolute error"),
        ("error_p95", "95 % of errors below"),
        ("bias", "Bias"),
    ):
        metric = _of(metrics, name, first.name)
        ends = metric.reason or interval(metric.low, metric.high, unit=metric.unit)
        facts.append(
            Fact(
                label=label,
                value=quantity(metric.value, metric.unit),
                detail=f"{first.name}, {first.unit}; {ends}",
            )
        )
    return facts


def _meaning(measured: Measured, share: Metric, metrics: list[Metric]) -> list[str]:
    sentences = []
    if share.value is not None:
        sentences.append(
            f"{percent(share.value)} of the predictions are within the tolerance, 95 % interval {interval(share.low, share.high)}."
        )
    for target in measured.targets.settings:
        mae, rmse = _of(metrics, "mae", target.name), _of(metrics, "rmse", target.name)
        if mae.value is not None:
            sentences.append(
                f"The prediction of {target.name} is off by {number(mae.value)} {target.unit} on average; the RMSE is {number(rmse.value)}."
            )
    sentences.append(
        "The interval of a quantile counts sign tracks, and needs some beyond it; the largest error of a sample bounds no other image."
    )
    return sentences


def _findings(measured: Measured, settings: RegressionSettings) -> list[Finding]:
    test = measured.test
    findings = [Finding(code="data-read", severity="warning", message=note) for note in test.notes]
    void = int((~measured.finite).sum())
    if void:
        findings.append(
            Finding(
                code="non-finite-values",
                severity="serious",
                message=f"The values of {counted(void, 'image')} are not finite; each counts as outside the tolerance, and errors are undefined.",
                remedy="Fix the layer that overflows or divides by zero before you use any other result.",
                evidence={"images": void, "of": len(test)},
            )
        )
    findings += [_constant(measured, column) for column in _constants(measured)]
    if measured.hits is None:
        findings.append(
            Finding(
                code="no-tolerance",
                severity="warning",
                message="No tolerance is declared, so no prediction is correct or incorrect: shares, attacks and corruptions are not measured.",
                remedy="Set tolerance in [[data.targets]] to the largest error that the system stands.",
            )
        )
    if test.tracks is None and test.frames_per_sign is None:
        findings.append(
            Finding(
                code="clustering-undeclared",
                severity="warning",
                message=clustering_statement(test),
                remedy="Set frames_per_sign in [data.test] (1 if all images are independent), or supply track ids with the data.",
            )
        )
    return [*findings, *_coverage(measured, settings)]


def _constants(measured: Measured) -> list[int]:
    """Return the targets whose prediction is the same for every image."""
    values = measured.targets.values + measured.errors
    finite = np.isfinite(values).all(axis=0)
    spread = np.ptp(np.where(np.isfinite(values), values, 0.0), axis=0)
    scale = np.maximum(1.0, np.abs(np.where(np.isfinite(values), values, 0.0)).max(axis=0))
    # float32 predictions become float64 differences, whose sum with the target rounds.
    return np.flatnonzero(finite & (spread <= 1e-9 * scale) & (len(values) > 1)).tolist()


def _constant(measured: Measured, column: int) -> Finding:
    target = measured.targets.settings[column]
    value = float(measured.targets.values[0, column] + measured.errors[0, column])
    return Finding(
        code="constant-answer",
        severity="serious",
        message=f"The model predicts {target.name} = {number(round(value, 6))} {target.unit} for every image.",
        remedy="Check the model file, its input range and its channel order.",
        evidence={"target": target.name},
    )


def _coverage(measured: Measured, settings: RegressionSettings) -> list[Finding]:
    """Report parts of the range without images, and those that the weakest part leaves out."""
    parts = all_parts(measured, settings.parts)
    empty = [name.partition(":")[2] for name, member in parts.items() if not member.any()]
    findings = []
    if empty:
        findings.append(
            Finding(
                code="range-uncovered",
                severity="warning",
                message=f"No test image has its target in {counted(len(empty), 'part')} of the range: {'; '.join(empty)}.",
                remedy="Add test images there, or declare a smaller range, outside which the model is not used.",
                evidence={"parts": len(empty)},
            )
        )
    hits = measured.hits
    if hits is None:
        return findings
    for kind, of in (("part", range_parts(measured, settings.parts)), ("group", user_groups(measured.test))):
        untested = untested_groups(measured.test, hits, of, LEAST_SIGNS) if of else {}
        if untested:
            names = [
                f"{name.partition(':')[2]} ({counted(round(signs), 'sign track')})"
                for name, signs in untested.items()
            ]
            findings.append(
                Finding(
                    code=f"{kind}-untested",
                    severity="warning",
                    message=f"Untested: {'; '.join(names)}. The weakest {kind} leaves out those of fewer than {LEAST_SIGNS} sign tracks, because "
                    "even a perfect model could not prove 90 % on them.",
                    remedy=f"Add test images of them until each has {LEAST_SIGNS} sign tracks.",
                    evidence={"untested": len(untested), "least_signs": LEAST_SIGNS},
                )
            )
    return findings
