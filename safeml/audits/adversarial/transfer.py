"""Transfer attacks: adversarial examples crafted on another model of the same task, and the quality of that model.

An adversary without access to the model may train another one, the surrogate, and attack that. A transfer attack that fails is
no evidence of robustness if the surrogate is inaccurate or if the attack fails on the surrogate itself.

References:
    N. Papernot, P. McDaniel, I. Goodfellow, "Transferability in machine learning: from phenomena to black-box attacks
        using adversarial samples", 2016.
    Y. Dong et al., "Boosting adversarial attacks with momentum", 2018.

Legend: N images.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from safeml.attacks.rows import ROWS, TRANSFER
from safeml.audits.adversarial.campaign import Campaign
from safeml.classifiers.base import Classifier
from safeml.metrics.classification import right_answers
from safeml.results import Column, Finding, Scalar, Table
from safeml.threats import Threat, threat_words
from safeml.wording import counted, limit_percent, percent

# Share of the model's clean accuracy; a surrogate below it is not trained for the same task.
LEAST_ACCURACY = 0.5
# Share of the images that the surrogate classifies correctly under attack; above it, the attack failed on the surrogate.
MOST_SURVIVORS = 0.5


@dataclass(frozen=True)
class TransferResult:
    """The transfer attack at one threat.

    threat: the bound of the change.
    images: number of images attacked, all classified correctly by the model when clean.
    surrogate_survivors: share of these on which the attack fails on the surrogate.
    broken: number of these that the model misclassifies under attack.
    new_successes: number of these that survived all earlier attacks.
    """

    threat: Threat
    images: int
    surrogate_survivors: float
    broken: int
    new_successes: int


@dataclass(frozen=True)
class Transfer:
    """The transfer attacks from one surrogate.

    surrogate: its name.
    parameters: number of its parameters.
    fingerprint: of the surrogate.
    accuracy: of the surrogate on the clean sample.
    model_accuracy: of the model under test on the clean sample.
    agreement: share of the clean sample on which both predict the same class.
    results: one for each threat of the full ensemble.
    """

    surrogate: str
    parameters: int
    fingerprint: str
    accuracy: float
    model_accuracy: float
    agreement: float
    results: tuple[TransferResult, ...]

    @property
    def unfit(self) -> bool:
        return self.accuracy < LEAST_ACCURACY * self.model_accuracy

    @property
    def unbroken(self) -> tuple[TransferResult, ...]:
        return tuple(result for result in self.results if result.surrogate_survivors > MOST_SURVIVORS)


def transfer(campaign: Campaign, surrogate: Classifier) -> Transfer:
    """Attack the surrogate at every threat of the full ensemble, and evaluate the adversarial examples on the model.

    All correctly classified images are attacked, not only the survivors of other attacks. The success rate is a separate
    metric, and a masking check compares it with the white-box attacks. The ledger records every success.
    """
    items, clean = campaign.items, campaign.items.clean
    answers = items.surrogate_logits(surrogate)
    rows = np.flatnonzero(clean.right)
    threats = sorted(
        filter(campaign.settings.is_full, campaign.settings.threats), key=lambda t: (t.norm, t.epsilon)
    )
    results = []
    for number, threat in enumerate(threats):
        campaign.progress(f"{ROWS[TRANSFER].title} at {threat.label}", number, len(threats))
        before = campaign.survivors(threat)
        measured = campaign.attack(TRANSFER, threat, rows)
        if measured is not None:
            unbroken, broken = float((~measured.claimed).mean()), int((~measured.robust).sum())
            new_successes = int((before & ~campaign.survivors(threat)).sum())
            results.append(TransferResult(threat, len(rows), unbroken, broken, new_successes))
    return Transfer(
        surrogate.name,
        surrogate.parameters,
        surrogate.fingerprint,
        float(right_answers(answers, clean.labels).mean()),
        float(clean.right.mean()),
        float((answers.argmax(axis=1) == clean.logits.argmax(axis=1)).mean()),
        tuple(results),
    )


def transfer_findings(outcome: Transfer) -> list[Finding]:
    """Report each reason why a failed transfer attack is no evidence of robustness."""
    findings = []
    if outcome.unfit:
        findings.append(
            Finding(
                code="surrogate_unfit",
                severity="warning",
                message=f"The surrogate {outcome.surrogate} classifies {percent(outcome.accuracy)} of the clean images correctly; expected at least "
                f"{limit_percent(LEAST_ACCURACY)} of the model's accuracy of {percent(outcome.model_accuracy)}. A transfer attack that fails "
                "with such a surrogate is no evidence of robustness.",
                remedy="Check its input contract with `safeml inspect`, or set a surrogate that was trained for these classes.",
                evidence={"surrogate": outcome.accuracy, "model": outcome.model_accuracy},
            )
        )
    if outcome.unbroken:
        where = " and ".join(
            f"{percent(result.surrogate_survivors)} of the images at {threat_words(result.threat)}"
            for result in outcome.unbroken
        )
        findings.append(
            Finding(
                code="surrogate_unbroken",
                severity="warning",
                message=f"The attack fails on the surrogate {outcome.surrogate} itself for {where}; expected at most "
                f"{limit_percent(MOST_SURVIVORS)}. Such a transfer attack is no evidence of robustness.",
                remedy="Set more steps, or set a surrogate without adversarial training and without gradient masking.",
                evidence={result.threat.label: result.surrogate_survivors for result in outcome.unbroken},
            )
        )
    return findings


def transfer_table(outcome: Transfer) -> Table:
    """Return one row per threat, and describe the surrogate in the caption."""
    rows: list[list[Scalar]] = [
        [
            threat_words(result.threat),
            result.images,
            result.surrogate_survivors,
            result.broken,
            result.broken / result.images,
            result.new_successes,
        ]
        for result in outcome.results
    ]
    return Table(
        id="transfer",
        title=f"Transfer from {outcome.surrogate}",
        columns=[
            Column(key="threat", label="Threat"),
            Column(key="given", label="Images", kind="number"),
            Column(key="surrogate", label="Survivors on the surrogate", kind="percent"),
            Column(key="broken", label="Broken", kind="number"),
            Column(key="success", label="Success rate", kind="percent"),
            Column(key="news", label="New successes", kind="number"),
        ],
        rows=rows,
        caption=f"Adversarial examples are crafted on {outcome.surrogate} ({counted(outcome.parameters, 'parameter')}) from the images that the model "
        f"classifies correctly, and evaluated on the model. Clean accuracy: surrogate {percent(outcome.accuracy)}, model "
        f"{percent(outcome.model_accuracy)}; both predict the same class for {percent(outcome.agreement)} of the images. New successes: images "
        "that survived all earlier attacks. Every broken image counts in the worst case.",
    )


def transfer_meaning(outcome: Transfer, main: Threat) -> list[str]:
    """Describe the transfer attack at the main threat in one sentence."""
    return [
        f"Transfer attack: adversarial examples crafted on {outcome.surrogate} fool the model on {percent(result.broken / result.images)} of the "
        f"images it classifies correctly ({threat_words(main)}); another surrogate may be more successful."
        for result in outcome.results
        if result.threat == main
    ]
