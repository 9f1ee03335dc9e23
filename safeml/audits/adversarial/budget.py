"""What the attacks cost, and what was spared. Legend: N images."""

from __future__ import annotations

from safeml.attacks.rows import ROWS, VIEWS
from safeml.audits.adversarial.campaign import Campaign
from safeml.audits.adversarial.spending import TAIL, Saving
from safeml.results import Column, Scalar, Table
from safeml.threats import Threat, threat_words
from safeml.wording import counted, percent


def attack_title(attack: str, view: str) -> str:
    """Return an attack and its view as the tables write them."""
    return ", ".join(filter(None, (ROWS[attack].title, VIEWS[view][0])))


def budget_table(campaign: Campaign) -> Table:
    """Return the cost of each attack in gradients or queries, which depends on no implementation."""
    rows: list[list[Scalar]] = []
    for name, view in dict.fromkeys((record.attack, record.view) for record in campaign.records):
        own = [record for record in campaign.records if (record.attack, record.view) == (name, view)]
        evaluations = sum(record.evaluations for record in own)
        steps, attempts = ROWS[name].effort(campaign.settings)
        rows.append(
            [
                attack_title(name, view),
                f"{steps} × {attempts}",
                len(own),
                sum(record.images for record in own),
                sum(record.broken for record in own),
                evaluations if ROWS[name].gradient else None,
                None if ROWS[name].gradient else evaluations,
            ]
        )
    return Table(
        id="budget",
        title="Budget and cost",
        columns=[
            Column(key="attack", label="Attack"),
            Column(key="effort", label="Steps × attempts"),
            Column(key="threats", label="Threats", kind="number"),
            Column(key="images", label="Images attacked", kind="number"),
            Column(key="broken", label="Broken", kind="number"),
            Column(key="gradients", label="Gradients", kind="number"),
            Column(key="queries", label="Queries", kind="number"),
        ],
        rows=rows,
        caption="An attack on an image stops when the image is misclassified, so the most robust images cost the most. The final prediction "
        "of an image that survives an attempt counts as a gradient. A transfer attack uses gradients of the surrogate.",
        fold=True,
    )


def spending_table(campaign: Campaign) -> Table:
    """Return one row per threat: how many survivors got the full bill and why, what was saved, and what that can hide."""
    rows: list[list[Scalar]] = []
    for threat, saving in campaign.savings.items():
        gradients, queries = _saved(campaign, saving)
        rows.append(
            [
                threat_words(threat),
                saving.survivors,
                saving.near,
                saving.drawn,
                saving.count,
                gradients,
                queries,
                _hidden(campaign, threat),
                saving.why_full,
            ]
        )
    return Table(
        id="spending",
        title="Spared attacks",
        columns=[
            Column(key="threat", label="Threat"),
            Column(key="survivors", label="Survivors", kind="number"),
            Column(key="near", label="Verdict can change", kind="number"),
            Column(key="drawn", label="Drawn at random", kind="number"),
            Column(key="spared", label="Spared", kind="number"),
            Column(key="gradients", label="Gradients saved", kind="number"),
            Column(key="queries", label="Queries saved", kind="number"),
            Column(key="hidden", label="Hidden, at most", kind="number"),
            Column(key="why", label="Full bill for all because"),
        ],
        rows=rows,
        caption="Survivors are those of the attempts that every image gets. The full bill (all targets of APGD-T, all queries of Square) "
        "goes to those whose verdict can change and to a random sample of the others. If it breaks an image of that sample, no image is "
        f"spared. Otherwise the number of hidden adversarial examples is bounded with {percent(1 - TAIL)} confidence, and the low end of "
        "robust accuracy counts that many spared images as broken. Savings are against the full bill, for images that it would not break.",
        fold=True,
    )


def spending_words(campaign: Campaign) -> list[str]:
    """Say for each threat with a saving how many images were spared, and what that can hide."""
    total = len(campaign.items.clean.labels)
    return [
        f"At {threat_words(threat)}, {counted(saving.count, 'image')} of {total:,} did not get the further targets of APGD-T and the "
        f"queries of Square. These broke none of {saving.drawn:,} drawn at random, so they would break at most "
        f"{counted(_hidden(campaign, threat), 'spared image')} with {percent(1 - TAIL)} confidence; the low end of the interval counts "
        'these as broken. Set spend = "full" in [stages.adversarial] to attack them too.'
        for threat, saving in campaign.savings.items()
        if saving.count
    ]


def _hidden(campaign: Campaign, threat: Threat) -> int:
    savings = campaign.savings_at(threat)
    return campaign.savings[threat].most_hidden(TAIL / len(savings))


def _saved(campaign: Campaign, saving: Saving) -> tuple[int, int]:
    """Return the gradients and queries of the attempts that the spared images did not get."""
    saved = {True: 0, False: 0}
    for name in campaign.settings.attacks:
        row = ROWS[name]
        if row.short is not None:
            steps, attempts = row.effort(campaign.settings)
            most = min(attempts, campaign.items.sample.classes - 1) if row.targeted else attempts
            saved[row.gradient] += saving.count * max(most - row.short(campaign.settings), 0) * (steps + 1)
    return saved[True], saved[False]
