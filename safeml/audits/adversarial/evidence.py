"""Run what the gradient-masking checks need to know, and record every adversarial example that this yields.

The checks themselves (`checks.py`) only read the evidence. Legend: N images, M probed images, H W C pixels, K classes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from safeml.attacks.rows import ROWS, TRANSFER
from safeml.audits.adversarial.campaign import Campaign
from safeml.audits.adversarial.items import Items
from safeml.audits.adversarial.measure import Measured
from safeml.audits.adversarial.spending import MOVING
from safeml.audits.linearity import probe, probe_step
from safeml.audits.measured import CleanSample
from safeml.classifiers.base import (
    GradientStoppers,
    blocked_gradients,
    gradient_stoppers,
    has_known_operations,
)
from safeml.metrics.perturbation import project
from safeml.threats import Threat

# With fewer steps, none is in the last tenth, and convergence is unknown.
LEAST_STEPS = 11
# Factor on the steps, for images whose loss has not converged.
LONGER = 4
# Of epsilon. Attacks take steps of this order between the clean image and the border of the ball.
SMALL_STEP = 0.1
UNBOUNDED = Threat(norm="linf", epsilon=1.0)
# Survivors that another attack must try before its failure is evidence.
LEAST_SURVIVORS = 100


@dataclass(frozen=True)
class LongerRun:
    """PGD with more steps, on the survivors whose loss has not converged.

    steps: of the longer run.
    survivors: of all attacks before it.
    unconverged: number of these that it attacked.
    broken: number of these that it broke.
    """

    steps: int
    survivors: int
    unconverged: int
    broken: int


@dataclass(frozen=True)
class Rival:
    """An attack of another kind, compared with the gradient attacks.

    survivors: of the gradient attacks.
    attacked: number of these that the rival attacked.
    broken: number of these that it broke.
    total: images of which `broken` is a share.
    queries: that it may spend on an image; None if it needs none.
    """

    survivors: int
    attacked: int
    broken: int
    total: int
    queries: int | None = None


@dataclass(frozen=True, eq=False)
class Stopped:
    """Operations between pixels and logits that let no gradient pass.

    operations: (operation, node) of each.
    blocked: those that the straight-through view cannot pass either.
    hidden: float32 [M], distance between the gradient of the model and that of the straight-through view, relative to the
        longer of the two; empty where there is no such operation.
    known: the graph of the model was searched; otherwise nothing is known of its operations.
    """

    operations: GradientStoppers
    blocked: GradientStoppers
    hidden: np.ndarray
    known: bool


@dataclass(frozen=True, eq=False)
class Evidence:
    """What the checks read; all of it at the main threat unless said otherwise.

    clean: the sample and its predictions.
    repeated: float32 [N, K], logits of the clean images, predicted a second time.
    fgsm: on the whole sample.
    pgd: on the whole sample.
    stopped: operations without a gradient, and how much they hide.
    linearity: float32 [M], gain of a small step divided by the gain that the gradient predicts; of images whose gradient is
        not zero.
    longer: PGD with more steps.
    unbounded: bool [M], survivors of PGD with epsilon = 1.
    trend: accuracy under PGD by norm, from the clean images on, epsilon rising.
    threats: number of threats in `trend`.
    noise: bool [N], classified correctly when clean and under random noise of norm epsilon.
    queries: Square.
    transfer: MI-FGSM on the surrogate, if there is one.
    """

    clean: CleanSample
    repeated: np.ndarray
    fgsm: Measured
    pgd: Measured
    stopped: Stopped
    linearity: np.ndarray
    longer: LongerRun
    unbounded: np.ndarray
    trend: dict[str, list[float]]
    threats: int
    noise: np.ndarray
    queries: Rival
    transfer: Rival | None


def gather(campaign: Campaign, rng: np.random.Generator) -> Evidence:
    """Run the attacks of the checks. At least one image must be classified correctly, and all attacks must have run.

    The order matters: each attack gets the survivors of those before it.
    """
    items, main = campaign.items, campaign.main
    fgsm, pgd = (on_all_images(campaign, name, main) for name in ("fgsm", "pgd"))
    probed = probe(np.flatnonzero(items.clean.right), items.inputs.seed)
    stopped = _stopped(items, probed)
    # An image without a gradient fails its own check, and no second one.
    sloped = probed[~fgsm.zero_gradients[probed]]
    shape, small = items.clean.images.shape[1:], SMALL_STEP * main.epsilon
    step = probe_step(items.inputs.classifier, main.norm, shape, small, main.epsilon)
    linearity = items.linearity(sloped, main.norm, step) if len(sloped) else np.zeros(0, np.float32)
    repeated = items.again()
    longer = _longer(campaign, pgd)
    # One attempt only: with enough attempts, a random walk through the whole cube breaks everything too.
    steps, _ = ROWS["pgd"].effort(campaign.settings)
    unbounded = items.attacked("pgd", UNBOUNDED, probed, (2 * steps, 1)).robust
    threats = _threats_of_trend(campaign)
    trend = _trend(campaign, threats)
    noise = _under_noise(campaign, rng)
    return Evidence(
        clean=items.clean,
        repeated=repeated,
        fgsm=fgsm,
        pgd=pgd,
        stopped=stopped,
        linearity=linearity,
        longer=longer,
        unbounded=unbounded,
        trend=trend,
        threats=len(threats),
        noise=noise,
        queries=_queries(campaign),
        transfer=_transfer(campaign) if (TRANSFER, main) in campaign.hits else None,
    )


def on_all_images(campaign: Campaign, name: str, threat: Threat) -> Measured:
    """Return the result of a fast attack on the whole sample, and run it if needed; its successes are recorded."""
    if (name, threat) not in campaign.measured:
        rows = np.arange(len(campaign.items.clean.labels))
        if threat in campaign.settings.threats:
            campaign.attack(name, threat, rows)
        else:
            effort = ROWS[name].effort(campaign.settings)
            campaign.measured[name, threat] = campaign.items.attacked(name, threat, rows, effort)
    return campaign.measured[name, threat]


def _stopped(items: Items, rows: np.ndarray) -> Stopped:
    """Compare the gradient of the model with the straight-through one, if its graph has operations without a gradient."""
    classifier = items.inputs.classifier
    operations = gradient_stoppers(classifier)
    hidden = items.hidden_gradient(rows) if operations else np.zeros(0, np.float32)
    return Stopped(operations, blocked_gradients(classifier), hidden, has_known_operations(classifier))


def _longer(campaign: Campaign, pgd: Measured) -> LongerRun:
    main, (steps, attempts) = campaign.main, ROWS["pgd"].effort(campaign.settings)
    survivors = np.flatnonzero(campaign.survivors(main))
    moving = survivors if steps < LEAST_STEPS else survivors[pgd.unconverged[survivors] > MOVING]
    more, broken = max(LONGER * steps, LEAST_STEPS), 0
    if len(moving):
        longer = campaign.items.attacked("pgd", main, moving, (more, attempts), pictures=True)
        campaign.record("pgd", main, moving, longer)
        broken = int((~longer.robust).sum())
    return LongerRun(more, len(survivors), len(moving), broken)


def _threats_of_trend(campaign: Campaign) -> set[Threat]:
    """Return the threats of the settings, and a second epsilon of the main norm where there is only one: a trend needs two."""
    main, threats = campaign.main, set(campaign.settings.threats)
    if sum(threat.norm == main.norm for threat in threats) == 1:
        wider = 2 * main.epsilon if main.norm == "l2" else min(2 * main.epsilon, 1.0)
        threats.add(Threat(norm=main.norm, epsilon=wider))
    return threats


def _trend(campaign: Campaign, threats: set[Threat]) -> dict[str, list[float]]:
    """Return the accuracy under PGD only: the worst case over all attacks never rises with epsilon."""
    clean = float(campaign.items.clean.right.mean())
    trend: dict[str, list[float]] = {}
    for norm in sorted({threat.norm for threat in threats}):
        rising = sorted((t for t in threats if t.norm == norm), key=lambda threat: threat.epsilon)
        under_pgd = [float(on_all_images(campaign, "pgd", threat).robust.mean()) for threat in rising]
        trend[norm] = [clean, *under_pgd]
    return trend


def _under_noise(campaign: Campaign, rng: np.random.Generator) -> np.ndarray:
    """Add noise of norm epsilon: a random corner of the L-inf ball, or a random point of the L2 sphere. Return bool [N]."""
    items, clean, threat = campaign.items, campaign.items.clean, campaign.main
    noise = rng.standard_normal(clean.images.shape)
    if threat.norm == "linf":
        noise = threat.epsilon * np.sign(noise)
    else:
        noise = noise * (threat.epsilon / np.sqrt(np.square(noise).sum(axis=(1, 2, 3), keepdims=True)))
    noisy = project(clean.images, clean.images + noise, threat)
    survivors: np.ndarray = clean.right & items.right("noise", noisy)
    campaign.record_images("random noise", np.arange(len(survivors)), noisy, clean.right & ~survivors)
    return survivors


def _queries(campaign: Campaign) -> Rival:
    """Return the result of Square if it has run; otherwise run it on some survivors of the gradient attacks."""
    name, main = "square", campaign.main
    queries, _ = ROWS[name].effort(campaign.settings)
    records = [record for record in campaign.records if (record.attack, record.threat) == (name, main)]
    if records:
        # Images that the settings spare are survivors that Square has not attacked.
        attacked, broken = sum(record.images for record in records), sum(record.broken for record in records)
        spared = campaign.savings[main].count if main in campaign.savings else 0
        return Rival(attacked + spared, attacked, broken, len(campaign.items.clean.labels), queries)
    survivors = np.flatnonzero(campaign.survivors(main))
    rows = probe(survivors, campaign.items.inputs.seed, LEAST_SURVIVORS)
    measured = campaign.attack(name, main, rows)
    broken = 0 if measured is None else int((~measured.robust).sum())
    return Rival(len(survivors), len(rows), broken, max(len(rows), 1), queries)


def _transfer(campaign: Campaign) -> Rival:
    """Compare with all white-box attacks within the main threat, those of the evidence included."""
    main, right = campaign.main, campaign.items.clean.right
    survivors = right
    for (name, at), hits in campaign.hits.items():
        if ROWS[name].knowledge == "white box" and at.norm == main.norm and at.epsilon <= main.epsilon:
            survivors = survivors & ~hits
    broken = campaign.hits[TRANSFER, main] & right & survivors
    count = int(survivors.sum())
    return Rival(count, count, int(broken.sum()), len(right))
