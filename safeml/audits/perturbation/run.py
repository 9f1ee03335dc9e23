"""Measure the accuracy under corruptions and small changes of the image. Legend: N images, A corruptions, S severities."""

from __future__ import annotations

import numpy as np

from safeml.audits.base import AuditInputs
from safeml.audits.judged import NO_TOLERANCE, judged_inputs, lacks_tolerance
from safeml.audits.measured import undefined_metrics
from safeml.audits.perturbation.errors import error_table
from safeml.audits.perturbation.figures import (
    HEAT,
    corruption_table,
    ece_grid,
    first_below,
    group_curve,
    heat_grid,
    strips,
    worst_failures,
)
from safeml.audits.perturbation.measure import FOR_CLASSES, NO_ANSWER, Measured, measure
from safeml.audits.perturbation.metrics import all_metrics
from safeml.audits.perturbation.next_steps import REMEDIES, costliest_group, lost_coverage, overconfidence
from safeml.audits.perturbation.probe import probe
from safeml.audits.perturbation.shift_figures import overconfident_errors
from safeml.corruptions.rows import CORRUPTIONS, LEAST_SIDE, SEVERITIES
from safeml.results import Card, Fact, Finding, Metric, StageResult
from safeml.stages.perturbation import PERTURBATION, SET_LEVEL, PerturbationSettings
from safeml.wording import counted, interval, limit_percent, percent, quantity


def run(inputs: AuditInputs, settings: PerturbationSettings) -> StageResult:
    """Corrupt a sample of the test images at every severity, predict, and compare with the clean predictions."""
    if lacks_tolerance(inputs):
        return _not_measured(
            inputs, settings, NO_TOLERANCE, "no-tolerance", "Set tolerance in [[data.targets]]"
        )
    if min(inputs.test.images.shape[1:3]) < LEAST_SIDE:
        return _too_small(inputs, settings)
    inputs = judged_inputs(inputs)
    measured = measure(inputs, settings)
    metrics = all_metrics(measured, settings, inputs.seed)
    by_name = {metric.name: metric for metric in metrics if metric.slice == "all"}
    by_slice = {metric.slice: metric for metric in metrics if metric.name == "corruption_accuracy"}
    errors = {metric.slice: metric for metric in metrics if metric.name == "corruption_ece"}
    mean, worst = by_name["corruption_accuracy_mean"], by_name["corruption_accuracy_worst"]
    weakest = min(measured.names, key=lambda name: by_slice[name].value or 0.0)
    sample = measured.sample
    if measured.errors is not None:
        return _of_regression(inputs, settings, measured, metrics, weakest)
    errors_shown = overconfident_errors(measured, inputs.seed)
    return StageResult(
        stage="perturbation",
        title="Perturbation",
        tested="Whether the predicted class stays correct, and its confidence stays calibrated, in noise, blur, bad weather and light, behind dirt, and from another position.",
        on_what=f"{sample.name}: {counted(len(sample), 'image')}, each in {len(measured.names) * len(SEVERITIES)} corrupted forms.",
        facts=_facts(measured, settings, by_name, weakest),
        metrics=metrics,
        findings=[
            *_findings(measured, settings, by_slice, weakest),
            *overconfidence(measured),
            *lost_coverage(measured, metrics),
            *costliest_group(measured),
            *probe(inputs, sample, weakest, settings.probe_images),
            *measured.slices.halved(),
        ],
        figures=[
            heat_grid(measured, by_slice),
            ece_grid(measured, errors),
            group_curve(measured),
            corruption_table(measured, settings.limit, by_slice),
            *([errors_shown] if errors_shown.items else []),
            *strips(measured, inputs.seed),
        ],
        meaning=_meaning(measured, by_name, weakest),
        worst_cases=worst_failures(measured, inputs.seed),
        limits=[
            "Corruptions are simulated in pixels; none was recorded on the road.",
            "One corruption at a time; only the grid combines changes.",
            "Conformal sets are guaranteed only for images like the clean ones; their coverage under a corruption is measured, not guaranteed.",
            "A sign that is hidden by dirt or at a great distance may be unreadable for people too.",
        ],
        not_tested=[
            *(
                []
                if measured.flips.value is not None
                else [Fact(label="Flip probability", value="not tested", detail=measured.flips.reason)]
            ),
            *_left_out(measured, settings),
        ],
        reproduce=[
            f"model {inputs.classifier.fingerprint}",
            f"images {sample.fingerprint}",
            f"seed {inputs.seed}, {counted(len(measured.names), 'corruption')}, {counted(len(measured.points), 'grid point')}",
        ],
        card=Card(
            headline=percent(mean.value),
            text=f"mean accuracy under corruptions, 95 % interval {interval(mean.low, mean.high)}; "
            f"worst: {CORRUPTIONS[weakest].title.lower()}, {percent(worst.value)}",
            figure_id=HEAT,
        ),
        provenance=inputs.provenance(settings, sample.fingerprint),
    )


def _too_small(inputs: AuditInputs, settings: PerturbationSettings) -> StageResult:
    """Return a result whose metrics are undefined: the corruptions are not defined for so few pixels."""
    height, width = inputs.test.images.shape[1:3]
    reason = (
        f"the images have {height} x {width} pixels, and the corruptions need sides of at least {LEAST_SIDE}"
    )
    return _not_measured(inputs, settings, reason, "too-small", "Read the data at a larger size")


def _not_measured(
    inputs: AuditInputs, settings: PerturbationSettings, reason: str, code: str, remedy: str
) -> StageResult:
    """Return a result whose metrics are undefined. reason: a clause. remedy: what to do instead of turning the stage off."""
    return StageResult(
        stage=PERTURBATION.name,
        title=PERTURBATION.title,
        tested=f"Nothing: {reason}.",
        on_what=f"{inputs.test.name}: {counted(len(inputs.test), 'image')}.",
        metrics=undefined_metrics(
            (row for row in PERTURBATION.records(settings) if inputs.targets is not None or not row.requires),
            reason,
            len(inputs.test),
        ),
        findings=[
            Finding(
                code=code,
                severity="warning",
                message=f"No corruption was measured: {reason}.",
                remedy=f"{remedy}, or set enabled = false in [stages.perturbation].",
            )
        ],
        not_tested=[Fact(label="Corruptions", value="not tested", detail=reason)],
    )


def _of_regression(
    inputs: AuditInputs,
    settings: PerturbationSettings,
    measured: Measured,
    metrics: list[Metric],
    weakest: str,
) -> StageResult:
    """Return the result for a regression model: what is correct is within the tolerance."""
    sample = measured.sample
    assert sample.targets is not None
    by_name = {metric.name: metric for metric in metrics if metric.slice == "all"}
    by_slice = {metric.slice: metric for metric in metrics if metric.name == "corruption_accuracy"}
    mean, worst = by_name["corruption_accuracy_mean"], by_name["corruption_accuracy_worst"]
    columns = range(len(sample.targets.settings))
    moving = [CORRUPTIONS[name].title for name in settings.corruptions if CORRUPTIONS[name].moves]
    return StageResult(
        stage=PERTURBATION.name,
        title=PERTURBATION.title,
        tested="Whether predictions stay within the tolerance in noise, blur, bad weather and light, and behind dirt. A prediction is "
        "correct while no error exceeds its tolerance; accuracy is the share of correct predictions.",
        on_what=f"{sample.name}: {counted(len(sample), 'image')}, each in {len(measured.names) * len(SEVERITIES)} corrupted forms.",
        facts=[
            Fact(label="Corruptions", value=f"{len(measured.names)} x {len(SEVERITIES)} severities"),
            Fact(label="Images", value=f"{len(sample):,}", detail=sample.name),
            Fact(label="Clean accuracy", value=percent(by_name["clean_accuracy_perturbation_sample"].value)),
            Fact(label="Worst corruption", value=CORRUPTIONS[weakest].title, detail=percent(worst.value)),
            Fact(
                label="Mean absolute error",
                value=quantity(by_name["corruption_mae_mean"].value, "target"),
                detail=by_name["corruption_mae_mean"].reason or by_name["corruption_mae_mean"].title,
            ),
        ],
        metrics=metrics,
        findings=[
            *_findings(measured, settings, by_slice, weakest),
            *costliest_group(measured),
            *measured.slices.halved(),
        ],
        figures=[
            heat_grid(measured, by_slice),
            group_curve(measured),
            *(error_table(measured, column) for column in columns),
            *strips(measured, inputs.seed),
        ],
        meaning=_meaning(measured, by_name, weakest),
        limits=[
            "Corruptions are simulated in pixels; none was recorded on the road.",
            "One corruption at a time; only the grid combines changes, of light and focus.",
            "The target of a corrupted image is taken to be that of the clean one.",
        ],
        not_tested=[
            *(
                [
                    Fact(
                        label=", ".join(moving),
                        value="not tested",
                        detail="it moves pixels, which may change the target; so do rotation and shift of the grid",
                    )
                ]
                if moving
                else []
            ),
            Fact(label="Confidence under corruptions", value="not tested", detail=FOR_CLASSES),
            *_left_out(measured, settings),
        ],
        reproduce=[
            f"model {inputs.classifier.fingerprint}",
            f"images {sample.fingerprint}",
            f"seed {inputs.seed}, {counted(len(measured.names), 'corruption')}, {counted(len(measured.points), 'grid point')}",
        ],
        card=Card(
            headline=percent(mean.value),
            text=f"mean share within the tolerance under corruptions, 95 % interval {interval(mean.low, mean.high)}; "
            f"worst: {CORRUPTIONS[weakest].title.lower()}, {percent(worst.value)}",
            figure_id=HEAT,
        ),
        provenance=inputs.provenance(settings, sample.fingerprint),
    )


def _left_out(measured: Measured, settings: PerturbationSettings) -> list[Fact]:
    grey = [
        CORRUPTIONS[name].title
        for name in settings.corruptions
        if name not in measured.names and (measured.errors is None or not CORRUPTIONS[name].moves)
    ]
    others = [row.title for row in CORRUPTIONS.values() if row.name not in settings.corruptions]
    facts = []
    if grey:
        facts.append(
            Fact(
                label=", ".join(grey),
                value="not tested",
                detail="the images are grey, and it changes only colours",
            )
        )
    if others:
        facts.append(
            Fact(
                label=", ".join(others),
                value="not tested",
                detail="not among the corruptions of the settings",
            )
        )
    return facts


def _facts(
    measured: Measured, settings: PerturbationSettings, metrics: dict[str, Metric], weakest: str
) -> list[Fact]:
    mce = metrics["mce"]
    return [
        Fact(label="Corruptions", value=f"{len(measured.names)} x {len(SEVERITIES)} severities"),
        Fact(label="Images", value=f"{len(measured.sample):,}", detail=measured.sample.name),
        Fact(label="Clean accuracy", value=percent(metrics["clean_accuracy_perturbation_sample"].value)),
        Fact(
            label="Worst corruption",
            value=CORRUPTIONS[weakest].title,
            detail=percent(metrics["corruption_accuracy_worst"].value),
        ),
        Fact(
            label="mCE",
            value="undefined" if mce.value is None else f"{mce.value:.2f}",
            detail=mce.reason
            or (
                "baseline: the clean error"
                if settings.baseline_error is None
                else f"baseline: {settings.baseline_error:g}"
            ),
        ),
        Fact(
            label="Mean ECE under corruptions",
            value=percent(metrics["corruption_ece_mean"].value),
            detail=metrics["corruption_ece_mean"].reason or "15 equal-mass bins",
        ),
        Fact(
            label=f"Sets at {SET_LEVEL} % under corruptions",
            value=percent(metrics["corruption_set_coverage_mean"].value),
            detail=metrics["corruption_set_coverage_mean"].reason
            or "mean coverage of LAC sets whose threshold comes from clean validation images",
        ),
        Fact(
            label="Flip probability",
            value=percent(measured.flips.value),
            detail=measured.flips.reason or f"{counted(measured.flips.n, 'pair')} of consecutive frames",
        ),
        Fact(
            label="Worst of the grid",
            value=percent(metrics["grid_accuracy_worst"].value),
            detail=counted(len(measured.points), "point"),
        ),
    ]


def _findings(
    measured: Measured, settings: PerturbationSettings, metrics: dict[str, Metric], weakest: str
) -> list[Finding]:
    findings = []
    if settings.images > len(measured.sample):
        count = len(measured.sample)
        findings.append(
            Finding(
                code="fewer_images",
                severity="info",
                message=f"{counted(settings.images, 'image')} were requested; the test set has {count}, and all were measured.",
                evidence={"asked": settings.images, "measured": count},
            )
        )
    void = int((measured.answers == NO_ANSWER).sum()) + int((measured.clean == NO_ANSWER).sum())
    void += int((measured.grid_answers == NO_ANSWER).sum())
    if void:
        findings.append(
            Finding(
                code="non-finite-logits",
                severity="serious",
                message=f"The logits are not finite for {counted(void, 'prediction')}; each counts as incorrect.",
                remedy="Find the layer that overflows, and repair it.",
                evidence={"predictions": void},
            )
        )
    first = first_below(measured.hits[measured.names.index(weakest)].mean(axis=0), settings.limit)
    if first in map(str, SEVERITIES):
        row, limit = CORRUPTIONS[weakest], limit_percent(settings.limit)
        findings.append(
            Finding(
                code="weakest-corruption",
                severity="warning",
                message=f"{row.title} is the worst corruption: the accuracy is below {limit} from severity {first} on, and "
                f"{percent(metrics[f'{weakest}-{SEVERITIES[-1]}'].value)} at severity {SEVERITIES[-1]}.",
                remedy=REMEDIES[row.group],
                evidence={"corruption": weakest, "severity": int(first)},
            )
        )
    return findings


def _meaning(measured: Measured, metrics: dict[str, Metric], weakest: str) -> list[str]:
    clean, mean = metrics["clean_accuracy_perturbation_sample"], metrics["corruption_accuracy_mean"]
    worst, on_grid = metrics["corruption_accuracy_worst"], metrics["grid_accuracy_worst"]
    point = measured.points[
        int(np.argmin((measured.grid_answers == measured.sample.labels[:, None]).mean(axis=0)))
    ]
    return [
        f"The accuracy falls from {percent(clean.value)} on clean images to {percent(mean.value)} on average under corruptions, "
        f"95 % interval {interval(mean.low, mean.high)}.",
        f"The worst corruption is {CORRUPTIONS[weakest].title.lower()}, with {percent(worst.value)} on average over its severities.",
        f"{percent(on_grid.value)} of the images are classified correctly at all {len(measured.points)} points of the grid of small "
        f"changes; the weakest point is {point}.",
    ]
