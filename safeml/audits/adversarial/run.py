"""Measure accuracy under small adversarial changes of the pixels. Legend: N images, K classes."""

from __future__ import annotations

import numpy as np

from safeml.attacks.rows import ATLAS, GOAL, NIST, ROWS, TRANSFER, VIEWS
from safeml.audits.adversarial.breadth import breadth, breadth_findings, breadth_table
from safeml.audits.adversarial.budget import budget_table, spending_table, spending_words
from safeml.audits.adversarial.campaign import Campaign
from safeml.audits.adversarial.certificates import Certificates, certificates, no_proofs
from safeml.audits.adversarial.check import MaskingCheck
from safeml.audits.adversarial.checks import masking_checks
from safeml.audits.adversarial.errors import error_curves, error_metrics, worst_errors
from safeml.audits.adversarial.evidence import gather
from safeml.audits.adversarial.figures import (
    attack_table,
    check_table,
    ledger_table,
    security_curves,
    threat_table,
)
from safeml.audits.adversarial.items import Items
from safeml.audits.adversarial.metrics import metrics_of
from safeml.audits.adversarial.pictures import class_plot, worst_cases
from safeml.audits.adversarial.second_look import attack_again
from safeml.audits.adversarial.transfer import (
    Transfer,
    transfer,
    transfer_findings,
    transfer_meaning,
    transfer_table,
)
from safeml.audits.adversarial.upper_bound import only_upper_bound
from safeml.audits.base import AuditInputs
from safeml.audits.judged import NO_TOLERANCE, judged_inputs, lacks_tolerance
from safeml.audits.measured import fault_clauses, undefined_metrics
from safeml.classifiers.base import is_differentiable
from safeml.data.dataset import ImageDataset
from safeml.data.targets import Targets
from safeml.results import Card, Fact, Finding, Metric, StageResult
from safeml.stages.adversarial import ADVERSARIAL, AdversarialSettings
from safeml.threats import Threat, threat_words
from safeml.wording import counted, interval, percent


def run(inputs: AuditInputs, settings: AdversarialSettings) -> StageResult:
    """Attack a sample of the test images and measure robust accuracy.

    An image counts as robust if it is classified correctly when clean and under every attack of the settings. A classifier
    without a gradient is attacked by queries only; its robust accuracy is then not measured.
    """
    if lacks_tolerance(inputs):
        return _without_tolerance(inputs, settings)
    inputs = judged_inputs(inputs)
    main = settings.main
    sample = inputs.test.sample(settings.images, inputs.seed)
    blind = not is_differentiable(inputs.classifier)
    if blind:
        settings = settings.model_copy(update={"batch": 64 if settings.batch == "auto" else settings.batch})
    items = Items.of(inputs, sample, settings)
    campaign = Campaign(items, settings, main, inputs.progress, blind)
    checks: list[MaskingCheck] = []
    views: list[str] = []
    if blind:
        queries = tuple(name for name in settings.attacks if not ROWS[name].gradient)
        campaign.run(queries, "answers_alone")
    else:
        campaign.run(settings.attacks)
    transferred = transfer(campaign, inputs.surrogate) if inputs.surrogate is not None else None
    if not blind and items.clean.right.any():
        checks = masking_checks(gather(campaign, np.random.default_rng([inputs.seed, 0xAD])))
        views = attack_again(campaign, checks)
    targets = sample.targets
    toolbox = breadth(inputs, items, campaign) if not blind and targets is None else []
    proofs = Certificates()
    if targets is not None and settings.certify:
        proofs = no_proofs(settings)
    elif settings.certify and not blind:
        proofs = certificates(inputs, items, settings, campaign)
    worst = worst_errors(campaign, targets) if targets is not None and not blind else None

    metrics = metrics_of(campaign, checks, transferred) + proofs.metrics
    if targets is not None:
        metrics += error_metrics(campaign, worst, targets, only_upper_bound(checks, blind), inputs.seed)
    by_name = {metric.name: metric for metric in metrics}
    headline = by_name[f"robust_accuracy.{main.label}"]
    why = only_upper_bound(checks, blind)
    curves = security_curves(campaign, by_name, proofs, why)
    main_curve = next(curve for curve in curves if curve.id == f"security-{main.norm}")
    findings = _too_few(sample, settings)
    findings += [
        _invalid(name, threat, problem)
        for name, threat, faults in campaign.faulty
        for problem in fault_clauses(faults)
    ]
    findings += [_masking(check) for check in checks if check.failed] + _switched(views) + _unproven(checks)
    findings += transfer_findings(transferred) if transferred is not None else []
    findings += breadth_findings(toolbox) + items.slices.halved()
    if blind:
        findings.append(_blind(inputs.classifier.name, transferred))
    survivors = campaign.survivors(main)
    spared = any(saving.count for saving in campaign.savings_at(main))
    return StageResult(
        stage="adversarial",
        title="Adversarial robustness",
        tested="Whether images stay correctly classified when an adversary changes the pixels within a bound."
        if targets is None
        else "Whether predictions stay within the tolerance when an adversary changes the pixels within a bound. A prediction is correct "
        "while no error exceeds its tolerance; accuracy is the share of correct predictions.",
        on_what=f"{sample.name}: {counted(len(sample), 'image')}, attacked independently.",
        facts=_facts(sample, settings, by_name, blind, transferred),
        metrics=metrics,
        findings=findings,
        figures=[
            *curves,
            *([] if worst is None else error_curves(worst, inputs.seed)),
            attack_table(campaign),
            *(
                []
                if blind or targets is not None
                else [class_plot(sample, items.clean.right, survivors, main, why, spared)]
            ),
            check_table(checks),
            *([transfer_table(transferred)] if transferred is not None else []),
            *([breadth_table(toolbox)] if toolbox else []),
            threat_table(campaign),
            budget_table(campaign),
            *([spending_table(campaign)] if campaign.savings else []),
        ],
        ledger=ledger_table(sample, campaign),
        meaning=_meaning(main, headline, settings, proofs, transferred),
        worst_cases=worst_cases(sample, items.clean, campaign.most_confident, main),
        limits=[
            "Attacks give an upper bound of robust accuracy: a stronger attack may exist.",
            *spending_words(campaign),
            *proofs.limits,
            "Pixels change independently and are not rounded to 8 bits; how an adversary gains access to them is not modelled.",
        ],
        not_tested=[
            Fact(
                label="Stickers, shadows, other views", value="see physical threats, if that stage is enabled"
            ),
            _transfer_untested(transferred),
            *_regression_untested(targets, settings),
            Fact(label="Other attacks on the model", value="poisoning, backdoors, extraction"),
        ],
        reproduce=[
            f"model {inputs.classifier.fingerprint}",
            *([f"surrogate {transferred.fingerprint}"] if transferred is not None else []),
            f"images {sample.fingerprint}",
            f"seed {inputs.seed}; "
            + "; ".join(_effort_words(name, settings) for name in _names(settings, transferred)),
        ],
        card=Card(
            headline=percent(headline.value),
            text=f"accuracy under the worst attack at {threat_words(main)}, 95 % interval {interval(headline.low, headline.high)}",
            figure_id=main_curve.id,
        ),
        provenance=inputs.provenance(settings, sample.fingerprint),
    )


def _without_tolerance(inputs: AuditInputs, settings: AdversarialSettings) -> StageResult:
    """Return a result whose metrics are undefined: no error is too large."""
    return StageResult(
        stage=ADVERSARIAL.name,
        title=ADVERSARIAL.title,
        tested="Nothing: without a tolerance no prediction is incorrect, so no attack can succeed.",
        on_what=f"{inputs.test.name}: {counted(len(inputs.test), 'image')}.",
        metrics=undefined_metrics(ADVERSARIAL.records(settings), NO_TOLERANCE, len(inputs.test)),
        findings=[
            Finding(
                code="no-tolerance",
                severity="warning",
                message=f"No attack was run: {NO_TOLERANCE}.",
                remedy="Set tolerance in [[data.targets]], or enabled = false in [stages.adversarial].",
            )
        ],
        not_tested=[Fact(label="Adversarial robustness", value="not tested", detail=NO_TOLERANCE)],
    )


def _regression_untested(targets: Targets | None, settings: AdversarialSettings) -> list[Fact]:
    """Name what is for classifiers alone."""
    if targets is None:
        return []
    facts = [
        Fact(
            label="Check of a saturated softmax", value="does not apply", detail="a regression has no softmax"
        )
    ]
    if settings.breadth:
        facts.append(
            Fact(
                label="Attacks of ART",
                value="not tested",
                detail="they are for classifiers; the setting breadth is not used",
            )
        )
    return facts


def _names(settings: AdversarialSettings, transferred: Transfer | None) -> tuple[str, ...]:
    """Return the names of the attacks that were run."""
    return (*settings.attacks, TRANSFER) if transferred is not None else settings.attacks


def _transfer_untested(transferred: Transfer | None) -> Fact:
    if transferred is None:
        return Fact(label="Transfer attacks", value="with a surrogate model that the adversary trained")
    return Fact(
        label="Other transfer attacks",
        value=f"from surrogates other than {transferred.surrogate}, from several at once, and by methods other than momentum",
    )


def _effort_words(name: str, settings: AdversarialSettings) -> str:
    steps, attempts = ROWS[name].effort(settings)
    return f"{ROWS[name].title} {steps} × {attempts}"


def _too_few(sample: ImageDataset, settings: AdversarialSettings) -> list[Finding]:
    if settings.images <= len(sample):
        return []
    return [
        Finding(
            code="fewer_images",
            severity="info",
            message=f"{counted(settings.images, 'image')} were requested; the data hold {len(sample)}, and all were attacked.",
            evidence={"asked": settings.images, "attacked": len(sample)},
        )
    ]


def _invalid(attack: str, threat: Threat, problem: str) -> Finding:
    return Finding(
        code="attack_invalid",
        severity="serious",
        message=f"{attack} at {threat_words(threat)}: {problem}.",
        remedy="Fix the attack; until then these images count as attacked successfully.",
        evidence={"attack": attack, "threat": threat.label},
    )


def _masking(check: MaskingCheck) -> Finding:
    return Finding(
        code=check.code,
        severity="serious",
        message=f"A gradient-masking check failed, so robust accuracy is only an upper bound. Expected: {check.expectation}. "
        f"Measured: {check.measured}.",
        remedy=check.remedy,
        evidence={"found": check.value, "limit": check.limit},
    )


def _unproven(checks: list[MaskingCheck]) -> list[Finding]:
    unproven = [check for check in checks if check.state == "not proven"]
    if not unproven:
        return []
    reasons = "; ".join(f'"{check.expectation}": {check.unproven}' for check in unproven)
    return [
        Finding(
            code="masking_not_proven",
            severity="warning",
            message=f"{counted(len(unproven), 'gradient-masking check')} could not have detected gradient masking: {reasons}. "
            "That they did not fail does not show that the robustness is real.",
            remedy="Attack more images, and with more queries: raise images and queries in [stages.adversarial].",
            evidence={"checks": ", ".join(check.code for check in unproven)},
        )
    ]


def _switched(views: list[str]) -> list[Finding]:
    return [
        Finding(
            code="attack_switched",
            severity="info",
            message=f"The survivors were attacked again with {VIEWS[view][1]}; the results include this attack.",
            evidence={"view": view or "harder"},
        )
        for view in views
    ]


def _blind(name: str, transferred: Transfer | None) -> Finding:
    by = "queries only" if transferred is None else f"queries and by transfer from {transferred.surrogate}"
    return Finding(
        code="no_gradient",
        severity="serious",
        message=f"{name} gives no gradient, so it was attacked by {by}, and its robust accuracy is not measured.",
        remedy="Audit the Keras model or SavedModel from which it was exported.",
    )


def _facts(
    sample: ImageDataset,
    settings: AdversarialSettings,
    metrics: dict[str, Metric],
    blind: bool,
    transferred: Transfer | None,
) -> list[Fact]:
    names = _names(settings, transferred)
    kinds = sorted({ROWS[name].knowledge for name in names} - ({"white box"} if blind else set()))
    return [
        Fact(
            label="Threat model",
            value="evasion by small pixel changes",
            detail="; ".join([GOAL, *(threat_words(threat) for threat in settings.threats)]),
        ),
        Fact(
            label="Knowledge",
            value=" and ".join(filter(None, (", ".join(kinds[:-1]), *kinds[-1:]))) or "none",
            detail="; ".join(
                f"{kind}: MITRE ATLAS {ATLAS[kind]}, NIST AI 100-2e2025 {NIST[kind]}" for kind in kinds
            ),
        ),
        Fact(
            label="Attacks",
            value=", ".join(ROWS[name].title for name in names),
            detail="; ".join(_effort_words(name, settings) for name in names) + " (steps × attempts)",
        ),
        Fact(label="Images", value=f"{len(sample):,}", detail=sample.name),
        Fact(label="Clean accuracy", value=percent(metrics["clean_accuracy_attacked_sample"].value)),
    ]


def _meaning(
    main: Threat,
    worst: Metric,
    settings: AdversarialSettings,
    proofs: Certificates,
    transferred: Transfer | None,
) -> list[str]:
    transfer_sentences = transfer_meaning(transferred, main) if transferred is not None else []
    if worst.value is None:
        return [f"Robust accuracy was not measured: {worst.reason}.", *transfer_sentences]
    attacks = [
        name
        for name in _names(settings, transferred)
        if main.norm in ROWS[name].norms and (settings.is_full(main) or ROWS[name].everywhere)
    ]
    return [
        f"Under the worst of {counted(len(attacks), 'attack')} ({threat_words(main)}) the model has {percent(worst.value)} accuracy, "
        f"95 % interval {interval(worst.low, worst.high)}.",
        "The worst case is taken per image: an image counts as robust if it survives every attack.",
        *transfer_sentences,
        *proofs.meaning,
        "True robust accuracy is at most the measured value, apart from sampling error. The interval covers the choice of images, not stronger attacks.",
    ]
