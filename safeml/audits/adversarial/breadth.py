"""Run attacks of the Adversarial Robustness Toolbox (ART) in addition to the ensemble. Legend: N images, H W C pixels.

Their adversarial examples inside the ball of a threat count in the worst case. Their own success flags are ignored.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from safeml.audits.adversarial.campaign import Campaign, reach
from safeml.audits.adversarial.items import Items
from safeml.audits.base import AuditInputs
from safeml.audits.slices import numbers
from safeml.classifiers.base import differentiable
from safeml.metrics.classification import right_answers
from safeml.metrics.perturbation import perturbation_size
from safeml.results import Column, Finding, Scalar, Table
from safeml.sealed import Arrays, Form
from safeml.wording import counted

STATUS = ("finished", "budget exhausted", "failed")
REASON = 300  # characters kept
BREADTH = 0xA7


@dataclass(frozen=True)
class ToolboxResult:
    """The result of one attack of the toolbox.

    name: of the attack.
    knowledge: what the adversary needs.
    images: number of images in the sample of this attack.
    attempted: number of these that it attacked within its budget.
    broken: number of these that are misclassified when the audit predicts again.
    within: number of these inside the ball of the main threat.
    new_successes: number of these that survived the ensemble.
    median_norm: of the changes that broke an image, in the norm of the main threat; None if there are none.
    status: one of `STATUS`.
    reason: why it did not finish.
    """

    name: str
    knowledge: str
    images: int
    attempted: int
    broken: int
    within: int
    new_successes: int
    median_norm: float | None
    status: str
    reason: str


def breadth(inputs: AuditInputs, items: Items, campaign: Campaign) -> list[ToolboxResult]:
    """Run each attack of `settings.breadth` on a random sample of the correctly classified images."""
    settings = campaign.settings
    if not settings.breadth or not items.clean.right.any():
        return []
    right = np.flatnonzero(items.clean.right)
    rng = np.random.default_rng([inputs.seed, BREADTH])
    rows = np.sort(rng.permutation(right)[: settings.breadth_images])
    results = []
    for number, name in enumerate(settings.breadth):
        inputs.progress(f"ART {name}", number, len(settings.breadth))
        results.append(_one(inputs, items, campaign, name, rows))
    return results


def _one(inputs: AuditInputs, items: Items, campaign: Campaign, name: str, rows: np.ndarray) -> ToolboxResult:
    from safeml.attacks.art.registry import art_attack

    row, threat, settings = art_attack(name), campaign.main, campaign.settings
    clean = items.clean.take(rows)
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
            differentiable(inputs.classifier),
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
    arrays = inputs.work(f"art-{name}", parts, form, measured)
    adversarial = np.where(np.isfinite(arrays["adversarial"]), arrays["adversarial"], clean.images)
    adversarial = np.clip(adversarial, 0.0, 1.0)
    size = perturbation_size(clean.images, adversarial, threat.norm)
    wrong = arrays["attempted"] & ~right_answers(inputs.classifier.predict_logits(adversarial), clean.labels)
    # The same ball as in the ledger, so that both count the same images.
    within = wrong & (size <= reach(threat, clean.images[0].size))
    new_successes = within & campaign.survivors(threat)[rows]
    campaign.record_images(f"ART {name}", rows, adversarial, wrong)
    text = bytes(arrays["reason"]).rstrip(b"\0").decode(errors="replace")
    return ToolboxResult(
        name,
        row.knowledge,
        len(rows),
        int(arrays["attempted"].sum()),
        int(wrong.sum()),
        int(within.sum()),
        int(new_successes.sum()),
        float(np.median(size[wrong])) if wrong.any() else None,
        STATUS[int(arrays["status"][0])],
        text,
    )


def breadth_table(results: list[ToolboxResult]) -> Table:
    """Return one row per attack of the toolbox."""
    rows: list[list[Scalar]] = [
        [
            result.name,
            result.knowledge,
            result.images,
            result.attempted,
            result.broken,
            result.within,
            result.new_successes,
            result.median_norm,
            result.status,
        ]
        for result in results
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
            Column(key="within", label="Within ε", kind="number"),
            Column(key="news", label="New successes", kind="number"),
            Column(key="nearest", label="Median norm", kind="number"),
            Column(key="status", label="Status"),
        ],
        rows=rows,
        caption="Broken: misclassified when the audit predicts again, at any distance. Within ε: of these, inside the ball of the main "
        "threat. New successes: of these, images that survived the ensemble; they count in the worst case.",
    )


def breadth_findings(results: list[ToolboxResult]) -> list[Finding]:
    """Report attacks that did not finish, and images that survived the ensemble and not these attacks."""
    findings = [
        Finding(
            code="breadth_unfinished",
            severity="warning",
            message=f"ART {result.name}: {result.status} ({result.reason}); {result.attempted} of {counted(result.images, 'image')} were attempted.",
            remedy="Increase breadth_seconds or reduce breadth_images; images that were not attempted are no evidence of robustness.",
            evidence={"attack": result.name, "attempted": result.attempted},
        )
        for result in results
        if result.status != "finished"
    ]
    findings += [
        Finding(
            code="breadth_news",
            severity="warning",
            message=f"ART {result.name} broke {counted(result.new_successes, 'image')} that survived the ensemble; they count as broken.",
            remedy="Increase the steps, restarts or targets of the ensemble.",
            evidence={"attack": result.name, "images": result.new_successes},
        )
        for result in results
        if result.new_successes
    ]
    return findings
