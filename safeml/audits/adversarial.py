"""How many right answers are left when an adversary may change the pixels a little. Legend: N images, K classes."""

from __future__ import annotations

import numpy as np

from safeml.attacks.base import Budget
from safeml.audits.adversarial_figures import (
    attack_table,
    check_table,
    class_plot,
    security_curves,
    threat_words,
    worst_cases,
)
from safeml.audits.adversarial_items import Items
from safeml.audits.adversarial_measure import CleanSample, Measured, problems
from safeml.audits.base import AuditInputs
from safeml.audits.masking import Check, self_checks
from safeml.config import AdversarialSettings, Threat
from safeml.data.dataset import ImageDataset
from safeml.errors import StageError
from safeml.results import Card, Fact, Finding, Metric, Provenance, StageResult
from safeml.statistics import proportion_metric
from safeml.wording import counted, interval, percent

MAIN_THREAT = "linf_4"


def run(inputs: AuditInputs, settings: AdversarialSettings) -> StageResult:
    """Attack a sample of the test images and measure again what is left.

    An image counts as robust when it is right without an attack and under every attack of the settings.
    Raises StageError for a classifier without a gradient.
    """
    if not callable(getattr(inputs.classifier, "logits", None)):
        raise StageError(
            f"{inputs.classifier.name} gives no gradient; expected a Keras model or a SavedModel, so attack the one it was exported from."
        )
    sample = inputs.test.sample(settings.images, inputs.seed)
    main = next((threat for threat in settings.threats if threat.label == MAIN_THREAT), settings.threats[0])
    items = Items.of(inputs, sample, settings)
    clean = items.clean

    robust: dict[tuple[str, Threat], np.ndarray] = {}
    at_main: dict[str, Measured] = {}
    everything = np.arange(len(sample))
    total = len(settings.attacks) * len(settings.threats)
    findings = _too_few(sample, settings)
    for threat in settings.threats:
        for name in settings.attacks:
            inputs.progress(f"{name} at {threat_words(threat)}", len(robust), total)
            budget = Budget(settings.steps, settings.restarts, inputs.seed, settings.batch)
            measured = items.attacked(name, threat, everything, budget, pictures=threat == main)
            robust[name, threat] = measured.robust
            findings += [_invalid(name, threat, problem) for problem in problems(measured.faults)]
            if threat == main:
                at_main[name] = measured
    inputs.progress("attacks", total, total)
    worst = {
        threat: np.logical_and.reduce([robust[name, threat] for name in settings.attacks])
        for threat in settings.threats
    }

    def for_checks(name: str, threat: Threat, rows: np.ndarray, hard: bool) -> Measured:
        if threat == main and not hard and name in at_main:
            return at_main[name]
        steps = 2 * settings.steps if hard else settings.steps
        budget = Budget(steps, settings.restarts, inputs.seed, settings.batch)
        return items.attacked(name, threat, rows, budget)

    checks: list[Check] = []
    if clean.right.any():
        rng = np.random.default_rng([inputs.seed, 0xAD])
        checks = self_checks(items.right, items.again, clean, worst, main, for_checks, rng)
    findings += [_masking(check) for check in checks if check.raised] + items.slices.halved()

    metrics = _metrics(sample, clean, robust, worst, main, checks)
    by_name = {metric.name: metric for metric in metrics}
    headline = by_name[f"robust_accuracy.{main.label}"]
    curves = security_curves(settings, by_name)
    main_curve = next(curve for curve in curves if curve.id == f"security-{main.norm}")
    return StageResult(
        stage="adversarial",
        title="Adversarial robustness",
        tested="Whether the answer stays right when an adversary who knows the model changes the pixels within a bound.",
        on_what=f"{sample.name}: {counted(len(sample), 'image')}, attacked one by one.",
        facts=_facts(sample, settings, by_name),
        metrics=metrics,
        findings=findings,
        figures=[
            *curves,
            attack_table(settings, by_name),
            class_plot(sample, clean.right, worst[main], main),
            check_table(checks),
        ],
        meaning=_meaning(main, headline, len(settings.attacks)),
        worst_cases=worst_cases(sample, clean, list(at_main.values()), main),
        limits=[
            "An attack gives an upper bound of robust accuracy: a stronger attack may exist.",
            "Attacks by gradient alone (FGSM and PGD): no black-box attack, no certified lower bound.",
            "Pixels change independently and are not rounded to 8 bits; how an adversary gets at them is left open.",
        ],
        not_tested=[
            Fact(label="Physical attacks", value="stickers, paint, projected light"),
            Fact(label="Black-box and transfer attacks", value="by queries, or by a copy of the model"),
            Fact(label="Other attacks on the model", value="poisoning, backdoors, extraction"),
            Fact(label="Formal verification", value="no proof that any image is robust"),
        ],
        reproduce=[
            f"model {inputs.classifier.fingerprint}",
            f"images {sample.fingerprint}",
            f"seed {inputs.seed}, {counted(settings.steps, 'step')}, {counted(settings.restarts, 'restart')}",
        ],
        card=Card(
            headline=percent(headline.value),
            text=f"accuracy under the worst attack at {threat_words(main)}, 95 % interval {interval(headline.low, headline.high)}",
            figure_id=main_curve.id,
        ),
        provenance=Provenance(
            model=inputs.classifier.fingerprint,
            data=sample.fingerprint,
            settings=settings.model_dump(mode="json"),
            seed=inputs.seed,
        ),
    )


def _metrics(
    sample: ImageDataset,
    clean: CleanSample,
    robust: dict[tuple[str, Threat], np.ndarray],
    worst: dict[Threat, np.ndarray],
    main: Threat,
    checks: list[Check],
) -> list[Metric]:
    tracks, frames = sample.tracks, sample.frames_per_sign

    def accuracy(name: str, title: str, hits: np.ndarray) -> Metric:
        return proportion_metric(name, title, hits, tracks=tracks, frames_per_sign=frames)

    metrics = [
        accuracy("clean_accuracy_attacked_sample", "Clean accuracy of the attacked images", clean.right)
    ]
    for threat, hits in worst.items():
        name = f"robust_accuracy.{threat.label}"
        metrics.append(accuracy(name, f"Robust accuracy at {threat_words(threat)}, worst case", hits))
        metrics += [
            accuracy(f"{name}.{attack}", f"Accuracy under {attack.upper()} at {threat_words(threat)}", alone)
            for (attack, at), alone in robust.items()
            if at == threat
        ]
    rate = f"attack_success_rate.{main.label}"
    title = f"Attack success rate at {threat_words(main)}, worst case"
    if not clean.right.any():
        reason = "no image is classified correctly, so there is nothing to attack"
        metrics.append(
            Metric(name=rate, title=title, value=None, status="undefined", reason=reason, direction="down")
        )
    else:
        metrics.append(
            proportion_metric(
                rate,
                title,
                ~worst[main][clean.right],
                tracks=None if tracks is None else tracks[clean.right],
                frames_per_sign=frames,
                direction="down",
            )
        )
    return [*metrics, _masking_flags(checks)]


def _masking_flags(checks: list[Check]) -> Metric:
    title = "Signs of gradient masking"
    if not checks:
        return Metric(
            name="masking_flags",
            title=title,
            value=None,
            status="undefined",
            reason="no image is classified correctly, so no attack could fail",
            direction="down",
            unit="count",
        )
    raised = float(sum(check.raised for check in checks))
    return Metric(
        name="masking_flags",
        title=title,
        value=raised,
        low=raised,
        high=raised,
        method="count",
        n=len(checks),
        clustering="census",
        direction="down",
        unit="count",
    )


def _too_few(sample: ImageDataset, settings: AdversarialSettings) -> list[Finding]:
    if settings.images <= len(sample):
        return []
    return [
        Finding(
            code="fewer_images",
            severity="info",
            message=f"{counted(settings.images, 'image')} were asked for; there are {len(sample)}, and all were attacked.",
            evidence={"asked": settings.images, "attacked": len(sample)},
        )
    ]


def _invalid(attack: str, threat: Threat, problem: str) -> Finding:
    return Finding(
        code="attack_invalid",
        severity="serious",
        message=f"{attack} at {threat_words(threat)}: {problem}.",
        remedy="Mend the attack; the images stay counted as attacked until then.",
        evidence={"attack": attack, "threat": threat.label},
    )


def _masking(check: Check) -> Finding:
    return Finding(
        code=check.code,
        severity="serious",
        message=f"The robustness may not be real. Expected: {check.sign}. Found: {check.found}.",
        remedy=check.remedy,
        evidence={"found": check.value, "limit": check.limit},
    )


def _facts(sample: ImageDataset, settings: AdversarialSettings, metrics: dict[str, Metric]) -> list[Fact]:
    return [
        Fact(
            label="Threat model",
            value="evasion by small pixel changes",
            detail=f"NIST AI 100-2e2025: evasion; {'; '.join(threat_words(threat) for threat in settings.threats)}",
        ),
        Fact(label="Knowledge", value="white box", detail="MITRE ATLAS AML.T0043.000"),
        Fact(
            label="Attacks",
            value=", ".join(name.upper() for name in settings.attacks),
            detail=f"{counted(settings.steps, 'step')}, {counted(settings.restarts, 'restart')}",
        ),
        Fact(label="Images", value=f"{len(sample):,}", detail=sample.name),
        Fact(label="Clean accuracy", value=percent(metrics["clean_accuracy_attacked_sample"].value)),
    ]


def _meaning(main: Threat, worst: Metric, attacks: int) -> list[str]:
    return [
        f"Under the worst of {counted(attacks, 'attack')} ({threat_words(main)}) the model keeps {percent(worst.value)} accuracy, "
        f"95 % interval {interval(worst.low, worst.high)}.",
        "The worst case is taken image by image: an image counts as robust when no attack broke it.",
        "True robustness is at most what is measured here. The interval covers the choice of images, not stronger attacks.",
    ]
