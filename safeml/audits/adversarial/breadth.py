"""Attacks of the Adversarial Robustness Toolbox beside the own ensemble. Legend: N images, H W C pixels.

What they break inside the ball of a threat counts in the worst case; their own verdict on themselves never does.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from safeml.audits.adversarial.campaign import Campaign, reach
from safeml.audits.adversarial.items import Items
from safeml.audits.adversarial.measure import CleanSample
from safeml.audits.base import AuditInputs
from safeml.audits.slices import numbers
from safeml.metrics.classification import right_answers
from safeml.metrics.perturbation import perturbation_size
from safeml.results import Column, Finding, Scalar, Table
from safeml.sealed import Arrays, Form
from safeml.wording import counted

STATUS = ("finished", "budget exhausted", "failed")
REASON = 300  # characters kept
BREADTH = 0xA7


@dataclass(frozen=True)
class Tried:
    """One attack of the toolbox. given, attempted, broken: images. within: of the broken, inside the ball of the main threat.

    news: of those, what the own ensemble had left. nearest: median norm of what it broke, in the main threat's norm.
    """

    name: str
    knowledge: str
    given: int
    attempted: int
    broken: int
    within: int
    news: int
    nearest: float | None
    status: str
    reason: str


def breadth(inputs: AuditInputs, items: Items, campaign: Campaign) -> list[Tried]:
    """Every attack of `settings.breadth`, on a random sample of the images that are right when clean."""
    settings = campaign.settings
    if not settings.breadth or not items.clean.right.any():
        return []
    right = np.flatnonzero(items.clean.right)
    rng = np.random.default_rng([inputs.seed, BREADTH])
    rows = np.sort(rng.permutation(right)[: settings.breadth_images])
    done = []
    for number, name in enumerate(settings.breadth):
        inputs.progress(f"ART {name}", number, len(settings.breadth))
        done.append(_one(inputs, items, campaign, name, rows))
    return done


def _one(inputs: AuditInputs, items: Items, campaign: Campaign, name: str, rows: np.ndarray) -> Tried:
    from safeml.attacks.art.registry import art_attack

    row, threat, settings = art_attack(name), campaign.main, campaign.settings
    clean = CleanSample(
        *(a[rows] for a in (items.clean.images, items.clean.labels, items.clean.logits, items.clean.right))
    )
    form: Form = {
        "adversarial": ("float32", clean.images.shape),
        "attempted": ("bool", (len(rows),)),
        "status": ("int64", (1,)),
        "reason": ("uint8", (REASON,)),
    }

    def measured() -> Arrays:
        from safeml.attacks.art.breadth import run_art

        outcome = run_art(
            name,
            inputs.classifier,  # type: ignore[arg-type]  # that it has a gradient is checked before
            clean.images.copy(),
            clean.labels.copy(),
            threat,
            inputs.seed,
            settings.breadth_seconds,
            items.attacking.size,
        )
        reason = np.zeros(REASON, np.uint8)
        raw = outcome.reason.encode()[:REASON]
        reason[: len(raw)] = np.frombuffer(raw, np.uint8)
        return {
            "adversarial": outcome.adversarial.astype(np.float32),
            "attempted": outcome.attempted,
            "status": np.array([STATUS.index(outcome.status)], np.int64),
            "reason": reason,
        }

    parts = {
        "threat": threat.model_dump(mode="json"),
        "batch": items.attacking.first,
        "seconds": settings.breadth_seconds,
        "ids": numbers(items.sample)[rows].tolist(),
    }
    found = inputs.work(f"art-{name}", parts, form, measured)
    adversarial = np.where(np.isfinite(found["adversarial"]), found["adversarial"], clean.images)
    adversarial = np.clip(adversarial, 0.0, 1.0)
    size = perturbation_size(clean.images, adversarial, threat.norm)
    wrong = found["attempted"] & ~right_answers(inputs.classifier.predict_logits(adversarial), clean.labels)
    # The same ball as the ledger's: what counts there is what is told of here.
    within = wrong & (size <= reach(threat, clean.images[0].size))
    news = within & campaign.left(threat)[rows]
    campaign.count(f"ART {name}", rows, adversarial, wrong)
    text = bytes(found["reason"]).rstrip(b"\0").decode(errors="replace")
    return Tried(
        name,
        row.knowledge,
        len(rows),
        int(found["attempted"].sum()),
        int(wrong.sum()),
        int(within.sum()),
        int(news.sum()),
        float(np.median(size[wrong])) if wrong.any() else None,
        STATUS[int(found["status"][0])],
        text,
    )


def breadth_table(tried: list[Tried]) -> Table:
    rows: list[list[Scalar]] = [
        [
            one.name,
            one.knowledge,
            one.given,
            one.attempted,
            one.broken,
            one.within,
            one.news,
            one.nearest,
            one.status,
        ]
        for one in tried
    ]
    return Table(
        id="breadth",
        title="Breadth: the Adversarial Robustness Toolbox",
        columns=[
            Column(key="attack", label="Attack"),
            Column(key="knowledge", label="Knowledge"),
            Column(key="given", label="Images", kind="number"),
            Column(key="attempted", label="Attempted", kind="number"),
            Column(key="broken", label="Broken", kind="number"),
            Column(key="within", label="within ε", kind="number"),
            Column(key="news", label="new", kind="number"),
            Column(key="nearest", label="Median norm", kind="number"),
            Column(key="status", label="Status"),
        ],
        rows=rows,
        caption="Broken: misclassified when asked again, at any distance. Within ε: inside the ball of the main threat; new: of these, "
        "what the ensemble had left. New ones count in the worst case.",
    )


def breadth_findings(tried: list[Tried]) -> list[Finding]:
    """What did not run to its end, and what the own ensemble had missed."""
    findings = [
        Finding(
            code="breadth_unfinished",
            severity="warning",
            message=f"ART {one.name}: {one.status} ({one.reason}); {one.attempted} of {counted(one.given, 'image')} were attempted.",
            remedy="Give it more breadth_seconds or fewer breadth_images; nothing is concluded from the rest.",
            evidence={"attack": one.name, "attempted": one.attempted},
        )
        for one in tried
        if one.status != "finished"
    ]
    findings += [
        Finding(
            code="breadth_news",
            severity="warning",
            message=f"ART {one.name} broke {counted(one.news, 'image')} that the ensemble had left; they count as broken.",
            remedy="Give the ensemble more steps, restarts or targets.",
            evidence={"attack": one.name, "images": one.news},
        )
        for one in tried
        if one.news
    ]
    return findings
