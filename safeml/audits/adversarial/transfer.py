"""Images that were made on another model of the same task: what of them breaks this one, and what that other model is worth.

An adversary without the model may train a model of his own, the surrogate, and attack that. A transfer that fails says
nothing where the surrogate is weak, or where it was not broken itself.

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

LEAST_ACCURACY = 0.5  # of the model's own clean accuracy: below, the surrogate does another task
MOST_LEFT = (
    0.5  # of the images, right on the surrogate after the attack on it: above, the attack failed at home
)


@dataclass(frozen=True)
class Volley:
    """What was made at one threat. given: images that the model has right when clean. surrogate_left: share of them that the
    surrogate has right after the attack. broken: on the model. news: of these, what all attacks before had left."""

    threat: Threat
    given: int
    surrogate_left: float
    broken: int
    news: int


@dataclass(frozen=True)
class Transfer:
    """surrogate: its name. accuracy, model_accuracy: of the surrogate and of the model under test on the clean sample.
    agreement: share of the sample to which both give the same answer. volleys: one for each threat of the full ensemble."""

    surrogate: str
    parameters: int
    fingerprint: str
    accuracy: float
    model_accuracy: float
    agreement: float
    volleys: tuple[Volley, ...]

    @property
    def unfit(self) -> bool:
        return self.accuracy < LEAST_ACCURACY * self.model_accuracy

    @property
    def unbroken(self) -> tuple[Volley, ...]:
        return tuple(volley for volley in self.volleys if volley.surrogate_left > MOST_LEFT)


def transfer(campaign: Campaign, surrogate: Classifier) -> Transfer:
    """Attack the surrogate at every threat of the full ensemble, and try the images on the model.

    Every image that is right when clean is tried, not only what other attacks left: the success is a number of its own, and
    what breaks beside the gradient's own finds is a sign of masking. All of it enters the ledger.
    """
    items, clean = campaign.items, campaign.items.clean
    answers = items.surrogate_logits(surrogate)
    rows = np.flatnonzero(clean.right)
    threats = sorted(
        filter(campaign.settings.is_full, campaign.settings.threats), key=lambda t: (t.norm, t.epsilon)
    )
    volleys = []
    for number, threat in enumerate(threats):
        campaign.progress(f"{ROWS[TRANSFER].title} at {threat.label}", number, len(threats))
        before = campaign.left(threat)
        found = campaign.one(TRANSFER, threat, rows)
        if found is not None:
            left, broken = float((~found.claimed).mean()), int((~found.robust).sum())
            news = int((before & ~campaign.left(threat)).sum())
            volleys.append(Volley(threat, len(rows), left, broken, news))
    return Transfer(
        surrogate.name,
        surrogate.parameters,
        surrogate.fingerprint,
        float(right_answers(answers, clean.labels).mean()),
        float(clean.right.mean()),
        float((answers.argmax(axis=1) == clean.logits.argmax(axis=1)).mean()),
        tuple(volleys),
    )


def transfer_findings(found: Transfer) -> list[Finding]:
    """Why a transfer that failed would be no evidence of robustness."""
    findings = []
    if found.unfit:
        findings.append(
            Finding(
                code="surrogate_unfit",
                severity="warning",
                message=f"The surrogate {found.surrogate} is right for {percent(found.accuracy)} of the clean images and the model for "
                f"{percent(found.model_accuracy)}; expected at least {limit_percent(LEAST_ACCURACY)} of that. A transfer attack that fails with "
                "so weak a surrogate is no evidence of robustness.",
                remedy="Check its input contract with `safeml inspect`, or name a model that was trained for these classes.",
                evidence={"surrogate": found.accuracy, "model": found.model_accuracy},
            )
        )
    if found.unbroken:
        where = " and ".join(
            f"{percent(volley.surrogate_left)} at {threat_words(volley.threat)}" for volley in found.unbroken
        )
        findings.append(
            Finding(
                code="surrogate_unbroken",
                severity="warning",
                message=f"The attack leaves the surrogate {found.surrogate} itself right for {where}; expected at most "
                f"{limit_percent(MOST_LEFT)}. A transfer attack that fails at home is no evidence of robustness.",
                remedy="Set more steps, or name a surrogate that was not trained against attacks and does not hide its gradient.",
                evidence={volley.threat.label: volley.surrogate_left for volley in found.unbroken},
            )
        )
    return findings


def transfer_table(found: Transfer) -> Table:
    """One row a threat, and the surrogate in words."""
    rows: list[list[Scalar]] = [
        [
            threat_words(volley.threat),
            volley.given,
            volley.surrogate_left,
            volley.broken,
            volley.broken / volley.given,
            volley.news,
        ]
        for volley in found.volleys
    ]
    return Table(
        id="transfer",
        title=f"Transfer from {found.surrogate}",
        columns=[
            Column(key="threat", label="Threat"),
            Column(key="given", label="Images", kind="number"),
            Column(key="surrogate", label="Left on the surrogate", kind="percent"),
            Column(key="broken", label="Broken", kind="number"),
            Column(key="success", label="Success", kind="percent"),
            Column(key="news", label="New", kind="number"),
        ],
        rows=rows,
        caption=f"Images that the model has right when clean are attacked on {found.surrogate} ({counted(found.parameters, 'parameter')}; "
        f"right for {percent(found.accuracy)} of the clean sample, the model for {percent(found.model_accuracy)}; both give the same answer "
        f"to {percent(found.agreement)}) and then tried on the model. New: what all attacks before had left; all that is broken counts in the worst case.",
    )


def transfer_meaning(found: Transfer, main: Threat) -> list[str]:
    """What transferred at the main threat, in a sentence."""
    return [
        f"Without knowing the model, by images made on {found.surrogate}, an adversary breaks {percent(volley.broken / volley.given)} of what it has "
        f"right when clean ({threat_words(main)}); another surrogate may break more."
        for volley in found.volleys
        if volley.threat == main
    ]
