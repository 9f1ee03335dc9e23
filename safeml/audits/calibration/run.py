"""Calibration of the delivered model on the test images, and what scaling, thresholds and sets fitted on validation images give.

Legend: N images, K classes.
"""

from __future__ import annotations

import numpy as np

from safeml.audits.base import AuditInputs
from safeml.audits.calibration.figures import (
    measures_table,
    reliability_figure,
    risk_figure,
    scaling_table,
    thresholds_table,
)
from safeml.audits.calibration.fitting import Fitting, fitting_images
from safeml.audits.calibration.metrics import Calibration, Sample, calibration_metrics
from safeml.audits.calibration.scaled import Scaled, scaled_metrics
from safeml.audits.calibration.sets import Signs, selective_metrics, set_metrics, set_table
from safeml.audits.measured import undefined_metrics
from safeml.audits.predictions import clustering_statement, predicted_logits
from safeml.audits.slices import Slices
from safeml.data.dataset import ImageDataset
from safeml.metrics.calibration.forecasts import Forecasts, forecasts
from safeml.metrics.calibration.scores import brier_parts
from safeml.results import Card, Fact, Finding, Metric, StageResult
from safeml.stages.calibration import CALIBRATION, ERRORS, CalibrationSettings
from safeml.wording import counted, interval, number, percent

SLICE = 1024
REJECTED = 0.05


def run(inputs: AuditInputs, settings: CalibrationSettings) -> StageResult:
    """Measure the calibration on the test images; fit scaling, thresholds and sets on the validation images.

    Raises StageError when the output does not have the shape [N, K].
    """
    test = inputs.test
    slices = Slices(inputs.work, SLICE, {"images": inputs.predicting})
    logits = predicted_logits(inputs, slices, test, "predictions", "predict test images")
    fitting = fitting_images(inputs)
    own = (
        None
        if fitting.data is None
        else predicted_logits(
            inputs, slices, fitting.data, "validation-predictions", "predict validation images"
        )
    )
    result = measured(inputs, settings, logits, fitting, own)
    return result.model_copy(update={"findings": [*result.findings, *slices.halved()]})


def measured(
    inputs: AuditInputs,
    settings: CalibrationSettings,
    logits: np.ndarray,
    fitting: Fitting,
    own: np.ndarray | None,
) -> StageResult:
    """Return the result of the stage.

    logits: float32 [N, K], of the test images.
    own: float32 [M, K], of the images for fitting; None if there are none.
    """
    test = inputs.test
    void = int((~np.isfinite(logits)).any(axis=1).sum())
    if void:
        return _void(inputs, settings, void)
    sample = Sample(forecasts(logits, test.labels), test.clustering, inputs.seed, settings.resamples)
    inputs.progress("measure calibration", 0, 3)
    direct = calibration_metrics(sample)
    inputs.progress("measure calibration", 1, 3)
    scaled, signs = _fitted(sample, logits, fitting, own)
    inputs.progress("measure calibration", 2, 3)
    selective = selective_metrics(sample.made, test.clustering, signs)
    conformal = set_metrics(logits, sample.made, test.class_names, test.clustering, signs, inputs.seed)
    inputs.progress("measure calibration", 3, 3)
    metrics = [*direct.metrics, *scaled.metrics, *selective.metrics, *conformal.metrics]
    accuracy = {"none": float(sample.made.hits.mean()), **scaled.accuracy}
    by_name = {metric.name: metric for metric in direct.metrics}
    smooth = by_name["smooth_ece"]
    chance = percent(direct.perfect["smooth_ece"])
    return _result(
        inputs,
        settings,
        facts=_facts(sample.made, by_name, direct, scaled),
        metrics=metrics,
        findings=[
            *_findings(sample.made, direct, scaled),
            *fitting.findings,
            *scaled.findings,
            *conformal.findings,
        ],
        figures=[
            reliability_figure(sample.made, direct.draws, scaled.after),
            measures_table(direct),
            scaling_table(direct.metrics, scaled.metrics, accuracy),
            risk_figure(sample.made),
            thresholds_table(selective.rows),
            *([set_table(conformal.rows)] if conformal.rows else []),
        ],
        meaning=_meaning(sample.made, smooth, direct),
        limits=_limits(test, fitting),
        card=Card(
            headline=percent(smooth.value),
            text=f"smooth ECE; a perfectly calibrated model has {chance}",
            figure_id="reliability",
        ),
    )


def _result(inputs: AuditInputs, settings: CalibrationSettings, **fields: object) -> StageResult:
    test = inputs.test
    common = {
        "stage": CALIBRATION.name,
        "title": CALIBRATION.title,
        "tested": "Whether images of confidence c are classified correctly with frequency c.",
        "on_what": f"{test.name}: {counted(len(test), 'image')} of {counted(test.classes, 'class', 'classes')}.",
        "reproduce": [
            f"model {inputs.classifier.fingerprint}",
            f"test images {test.fingerprint}",
            f"seed {inputs.seed}, {counted(settings.resamples, 'resample')}",
        ],
    }
    return StageResult.model_validate({**common, **fields})


def _fitted(
    sample: Sample, logits: np.ndarray, fitting: Fitting, own: np.ndarray | None
) -> tuple[Scaled, Signs]:
    """Scale with one part of the validation images; keep the other part for thresholds and sets."""
    reason = fitting.reason
    if own is not None and not np.isfinite(own).all():
        own, reason = None, "the logits of some validation images are not finite"
    data = fitting.data
    if own is None or data is None:
        return scaled_metrics(sample, logits, None, np.zeros((0, logits.shape[1])), reason), Signs(
            logits[:0], None, np.zeros(0, int), reason
        )
    part, rest = fitting.scaling, fitting.rest
    made = forecasts(own[part], data.labels[part]) if part.any() else None
    scaled = scaled_metrics(sample, logits, made, own[part], "no validation image is left for fitting")
    if fitting.signs is None or not rest.any():
        reason = "the sign tracks of the validation images are not known, or there are fewer than two"
        return scaled, Signs(logits[:0], None, np.zeros(0, int), reason)
    return scaled, Signs(own[rest], forecasts(own[rest], data.labels[rest]), fitting.signs[rest])


def _facts(made: Forecasts, by_name: dict[str, Metric], direct: Calibration, scaled: Scaled) -> list[Fact]:
    smooth, nll = by_name["smooth_ece"], by_name["nll"]
    gap = float(made.confidence.mean() - made.hits.mean())
    return [
        Fact(
            label="Smooth ECE", value=percent(smooth.value), detail=f"{interval(smooth.low, smooth.high)}; "
            f"a perfectly calibrated model has {percent(direct.perfect['smooth_ece'])}"
        ),
        Fact(
            label="Mean confidence",
            value=percent(float(made.confidence.mean())),
            detail=f"{percent(abs(gap))} {'above' if gap > 0 else 'below'} the accuracy",
        ),
        Fact(label="Negative log-likelihood", value=number(nll.value), detail="nats"),
        Fact(
            label="Temperature",
            value=number(scaled.temperature),
            detail=_direction(scaled.temperature),
        ),
        Fact(
            label="Calibration test",
            value=f"p = {number(direct.p_value)}",
            detail="share of perfectly calibrated models with as large a smooth ECE",
        ),
    ]  # fmt: skip


def _direction(temperature: float | None) -> str:
    if temperature is None:
        return "no validation images fit one"
    return f"{'above' if temperature > 1 else 'below'} 1: {'overconfident' if temperature > 1 else 'underconfident'} logits"


def _findings(made: Forecasts, direct: Calibration, scaled: Scaled) -> list[Finding]:
    findings = []
    if direct.p_value is not None and direct.p_value < REJECTED:
        over = bool(made.confidence.mean() > made.hits.mean())
        fix = f"Train with {'more' if over else 'less'} label smoothing, or scale the logits; [data.valid] is needed for that."
        if scaled.temperature is not None:
            fix = _measured_fix(direct, scaled)
        findings.append(
            Finding(
                code="miscalibrated",
                severity="warning",
                message=f"The model is {'overconfident' if over else 'underconfident'}: of perfectly calibrated models with its confidences, "
                f"{percent(direct.p_value)} have as large a smooth ECE by chance.",
                remedy=fix,
                evidence={"p_value": direct.p_value},
            )
        )
    exact = int((made.confidence == 1).sum())
    if exact:
        findings.append(
            Finding(
                code="saturated-confidence",
                severity="info",
                message=f"The confidence of {counted(exact, 'image')} rounds to exactly 1; these images are counted, and ordered "
                "by their logits.",
                evidence={"images": exact, "of": len(made)},
            )
        )
    return findings


def _measured_fix(direct: Calibration, scaled: Scaled) -> str:
    """Return what the fitted temperature does to the smooth ECE of the test images, as the remedy."""
    before = next(metric.value for metric in direct.metrics if metric.name == "smooth_ece")
    after = next(metric.value for metric in scaled.metrics if metric.name == "smooth_ece.temperature")
    command = f"`safeml calibrate` divides the logits by {number(scaled.temperature)} inside the model"
    if before is None or after is None or after >= before:
        return f"Collect validation images like the test images: {command}, and the smooth ECE of the test images does not fall."
    return f"{command}; the smooth ECE of the test images falls from {percent(before)} to {percent(after)}. Audit that model."


def _meaning(made: Forecasts, smooth: Metric, direct: Calibration) -> list[str]:
    parts = brier_parts(made)
    return [
        f"On average, the confidence differs from the accuracy by {percent(smooth.value)}; a perfectly calibrated model "
        f"shows {percent(direct.perfect['smooth_ece'])} on as many images by chance.",
        f"The Brier score is reliability {number(parts.reliability)} minus resolution {number(parts.resolution)} plus "
        f"uncertainty {number(parts.uncertainty)} plus {number(parts.within)} within bins.",
        "A calibration test that does not reject is no proof of calibration.",
    ]


def _limits(test: ImageDataset, fitting: Fitting) -> list[str]:
    limits = [
        "Calibration holds for images like the test images; under another camera, weather or country it may not.",
        clustering_statement(test),
    ]
    if fitting.data is not None:
        limits.append(
            "The validation images usually chose the checkpoint too. If it was the best of E checkpoints, an error that is "
            "guaranteed to be at most 5 % may in the worst case be E times as large."
        )
    return limits


def _void(inputs: AuditInputs, settings: CalibrationSettings, void: int) -> StageResult:
    """Return a result whose metrics are undefined, because a row of logits without a confidence cannot be left out."""
    reason = f"the logits of {counted(void, 'image')} are not finite"
    finding = Finding(
        code="non-finite-logits",
        severity="serious",
        message=f"The logits of {counted(void, 'image')} are not finite, so no calibration is measured.",
        remedy="Fix the layer that overflows or divides by zero.",
        evidence={"images": void, "of": len(inputs.test)},
    )
    titles = {"nll": "Negative log-likelihood", "brier": "Brier score", **dict(ERRORS)}
    metrics = undefined_metrics(CALIBRATION.records(settings), reason, len(inputs.test), titles)
    return _result(inputs, settings, metrics=metrics, findings=[finding], limits=[])
