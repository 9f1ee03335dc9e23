"""Fit run-time monitors, calibrate them by sign, and measure what they reject and what they cost. Legend: N images, K classes."""

from __future__ import annotations

from safeml.audits.base import AuditInputs
from safeml.audits.monitors.adversary import adversary_findings
from safeml.audits.monitors.carried import handed_over
from safeml.audits.monitors.figures import ERRORS, figures, hardest, trusted_errors
from safeml.audits.monitors.measure import Measured, measure
from safeml.audits.monitors.metrics import numbers_of
from safeml.audits.monitors.numbers import FROM, IN, Numbers
from safeml.audits.predictions import clustering_statement
from safeml.results import Card, Fact, Finding, StageResult
from safeml.stages.monitors import BASELINE, CLEAN, COMPARED, KNOWING, MONITORS, SCORES, MonitorsSettings
from safeml.wording import counted, interval, limit_percent, number, percent


def run(inputs: AuditInputs, settings: MonitorsSettings) -> StageResult:
    """Measure every score, and the deployed monitor at its calibrated threshold."""
    measured = measure(inputs, settings)
    inputs.progress("measure monitors", 0, 1)
    numbers = numbers_of(measured, settings, inputs.seed)
    sample = measured.sample
    stopped, hazard = numbers.one("errors_stopped", CLEAN), numbers.one("residual_hazard")
    artefacts, too_large = handed_over(inputs, measured)
    result = StageResult(
        stage=MONITORS.name,
        title=MONITORS.title,
        tested="Whether a monitor that sees only the outputs of the model rejects its incorrect predictions and images from outside.",
        on_what=_on_what(measured),
        facts=_facts(measured, numbers, settings),
        metrics=numbers.metrics,
        findings=[
            *measured.material.findings,
            *too_large,
            *_findings(measured, numbers, settings),
            *(finding for slices in measured.slices for finding in slices.halved()),
        ],
        figures=figures(measured, numbers, settings, inputs.seed),
        meaning=_meaning(measured, numbers, settings),
        worst_cases=trusted_errors(measured, numbers),
        limits=_limits(measured, settings),
        not_tested=_not_tested(measured, settings),
        reproduce=[
            f"model {inputs.classifier.fingerprint}",
            f"images {sample.fingerprint}",
            *([f"images from outside {inputs.ood.fingerprint}"] if inputs.ood is not None else []),
            f"seed {inputs.seed}",
        ],
        artefacts=artefacts,
        card=Card(
            headline=percent(stopped.value),
            text=f"of the incorrect predictions are rejected by {COMPARED[measured.fitted.deployed]}; residual hazard "
            f"{number(hazard.value)}",
            figure_id=ERRORS if hardest(numbers) else "",
        ),
        provenance=inputs.provenance(settings, sample.fingerprint),
    )
    inputs.progress("measure monitors", 1, 1)
    return result


def _on_what(measured: Measured) -> str:
    parts = [f"{measured.sample.name}: {counted(len(measured.sample), 'image')}"]
    if measured.corrupted:
        some = next(iter(measured.corrupted.values()))
        parts.append(
            f"{number(len(some.labels))} of them under {counted(len(measured.corrupted), 'corruption')}"
        )
    return "; ".join(parts) + "."


def _facts(measured: Measured, numbers: Numbers, settings: MonitorsSettings) -> list[Fact]:
    fitted = measured.fitted
    alarms, available = numbers.one("false_alarms_per_1000", "score"), numbers.one("availability")
    stopped, hazard = numbers.one("errors_stopped", CLEAN), numbers.one("residual_hazard")
    return [
        Fact(label="Deployed score", value=_upper(COMPARED[fitted.deployed]), detail=fitted.choice),
        Fact(label="Incorrect predictions rejected", value=percent(stopped.value), detail=stopped.reason or interval(stopped.low, stopped.high)),
        Fact(label="Residual hazard", value=number(hazard.value), detail=hazard.reason or interval(hazard.low, hazard.high, unit="cost")),
        Fact(label="Correct predictions trusted", value=percent(available.value), detail=available.reason or interval(available.low, available.high)),
        Fact(
            label="False alarms per 1,000 signs",
            value=number(alarms.value),
            detail=alarms.reason
            or f"{interval(alarms.low, alarms.high, unit='ratio')} on {counted(alarms.n, 'sign')}; declared {number(1000 * settings.false_alarm_rate)}",
        ),
    ]  # fmt: skip


def _upper(text: str) -> str:
    return text[:1].upper() + text[1:]


def _findings(measured: Measured, numbers: Numbers, settings: MonitorsSettings) -> list[Finding]:
    findings = []
    # The images of KNOWING are in part those of ATTACKED, and count once.
    parts = [part for name, part in measured.judged.items() if name != KNOWING]
    lost = sum(int((~part.outputs.finite).sum()) for part in parts)
    if lost:
        findings.append(
            Finding(
                code="non-finite-outputs",
                severity="serious",
                message=f"The outputs for {counted(lost, 'image')} are not finite; the monitor rejects each.",
                remedy="Find the layer that overflows, and repair it.",
                evidence={"images": lost},
            )
        )
    if measured.fitted.deployed == BASELINE and settings.score not in ("auto", BASELINE):
        findings.append(
            Finding(
                code="score-not-fitted",
                severity="serious",
                message=f"The score {settings.score} is not available: {measured.features or 'no image was admissible for fitting'}.",
                remedy='Set score = "auto" in [stages.monitors], or give training images in [data.train].',
            )
        )
    findings += adversary_findings(measured, numbers, settings)
    findings += _better(numbers)
    for key in ("score", "distance"):
        alarms = numbers.one("false_alarms_per_1000", key)
        declared = 1000 * settings.false_alarm_rate
        if alarms.value is not None and alarms.high is not None and alarms.high > declared:
            above = alarms.low is not None and alarms.low > declared
            findings.append(
                Finding(
                    code=f"false-alarms-{key}",
                    severity="warning" if above else "info",
                    message=f"The declared rate of {number(declared)} false alarms per 1,000 sign encounters is "
                    f"{'exceeded' if above else 'not proven'} for the {key}: {number(alarms.value)} on {counted(alarms.n, 'sign')}, 95 % interval "
                    f"{interval(alarms.low, alarms.high, unit='ratio')}.",
                    remedy="Collect validation signs that are drawn as the signs of the field are."
                    if above
                    else "Give more validation signs; the bound falls with their number.",
                    evidence={"value": alarms.value, "signs": alarms.n, "high": alarms.high},
                )
            )
    return findings


def _better(numbers: Numbers) -> list[Finding]:
    """Say whether any score beats maximum probability on incorrect predictions, with a paired interval above zero."""
    where = hardest(numbers)
    if not where:
        return []
    gains = [numbers.one(f"error_auroc_gain.{name}", where) for name in SCORES if name != BASELINE]
    known = [gain for gain in gains if gain.value is not None]
    better = [gain for gain in known if gain.low is not None and gain.low > 0]
    if better:
        best = max(better, key=lambda gain: gain.value or 0.0)
        name = COMPARED[best.name.removeprefix("error_auroc_gain.")]
        text = (
            f"{len(better)} of {len(known)} scores separate incorrect predictions better than maximum probability on {IN[where]}; the best is {name}, "
            f"{percent(best.value)} more AUROC, 95 % interval {interval(best.low, best.high)}."
        )
        return [Finding(code="score-better", severity="info", message=text, evidence={"gain": best.value})]
    text = f"No score is proven to separate incorrect predictions better than maximum probability on {IN[where]}."
    return [Finding(code="no-score-better", severity="info", message=text, evidence={"scores": len(known)})]


def _meaning(measured: Measured, numbers: Numbers, settings: MonitorsSettings) -> list[str]:
    stopped, available = numbers.one("errors_stopped", CLEAN), numbers.one("availability")
    fusion = numbers.one("fusion_gain")
    lines = []
    if stopped.value is not None:
        lines.append(
            f"At a threshold for {number(1000 * settings.false_alarm_rate)} false alarms per 1,000 signs the monitor rejects {percent(stopped.value)} of the "
            f"incorrect predictions and trusts {percent(available.value)} of the correct ones."
        )
    for where in measured.outside:
        metric = numbers.one("ood_stopped", where)
        if metric.value is not None:
            lines.append(f"It rejects {percent(metric.value)} of {FROM[where]}.")
    frames, encounters = numbers.one("frames_trusted"), numbers.one("encounters_trusted")
    if frames.value is not None:
        lines.append(
            f"With the checks of the image and the buffers it trusts {percent(frames.value)} of the frames of validation signs, and at least one frame of "
            f"{percent(encounters.value)} of the signs: a frame is not trusted before the buffer of its class holds {settings.least} frames."
        )
    if fusion.value is not None:
        lines.append(
            f"Fusing the frames of a sign changes the accuracy by {percent(fusion.value)}, 95 % interval {interval(fusion.low, fusion.high)}."
        )
    return lines or ["No monitor has a calibrated threshold, so nothing is rejected or trusted."]


def _limits(measured: Measured, settings: MonitorsSettings) -> list[str]:
    limits = [
        "A monitor that rejects noise may still trust a traffic sign that it misclassifies; the two are measured apart.",
        "False alarms, delay and fusion are measured on validation signs; they hold for signs that are drawn in the same way.",
        "The adversary who knows the monitor attacks the score of single frames in the L-inf norm; the distance of a buffer, the checks of the image and "
        "other changes are not attacked, and a stronger attack may get more images trusted.",
        "The time of a score is not recorded, because a result must be the same on every machine; benchmarks/monitor_speed.py measures it.",
        clustering_statement(measured.sample),
    ]
    if measured.material.measuring is not None:
        limits.append(
            f"The threshold bounds the rate of false alarms at {limit_percent(settings.false_alarm_rate)} of signs on average over draws of the calibration "
            "signs, not for each draw."
        )
    return limits


def _not_tested(measured: Measured, settings: MonitorsSettings) -> list[Fact]:
    facts = [
        Fact(label=IN[where].capitalize(), value="not tested", detail=reason)
        for where, reason in measured.not_measured.items()
    ]
    if measured.features:
        facts.append(Fact(label="Scores of features", value="not tested", detail=measured.features))
    if settings.ood is None:
        facts.append(
            Fact(
                label="Other objects and other traffic signs",
                value="not tested",
                detail="no images from outside are named; set ood in [stages.monitors]",
            )
        )
    return facts
