"""Is the robustness real? Signs that an attack failed for a bad reason (gradient masking), and what is tried then.

References:
    A. Athalye, N. Carlini, D. Wagner, "Obfuscated gradients give a false sense of security", 2018.
    N. Carlini et al., "On evaluating adversarial robustness", 2019.
    F. Croce, M. Hein, "Reliable evaluation of adversarial robustness with an ensemble of diverse parameter-free
        attacks", 2020 (black box against white box).
    M. Pintor et al., "Indicators of attack failure: debugging and improving optimization of adversarial examples", 2022
        (the six indicators).

Legend: N images, K classes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from safeml.attacks.rows import ROWS, TRANSFER
from safeml.audits import promises
from safeml.audits.adversarial.campaign import Campaign
from safeml.audits.adversarial.items import Items
from safeml.audits.adversarial.measure import CleanSample, Measured
from safeml.metrics.perturbation import project
from safeml.threats import Threat
from safeml.wording import counted, limit_percent, percent

TOLERANCE = 0.01  # accuracy; an attack with random starts repeats itself to about this much
ZERO_SHARE = 0.01
MOVING = 0.05  # of its range, in the last tenth of the steps: such a loss has not converged
LEAST_STEPS = 11  # of fewer, no look falls into the last tenth: nothing is known of whether the loss moves
LONGER = 4  # times the steps, for what has not converged
FEW = 2  # images: what a check finds in so few is counted, and is no sign
BLACK_BOX_SHARE = 0.002  # of the sample: what Square may break that gradients did not
PROMISE_STEP = (
    0.1  # of epsilon: what lies between the clean image and the ball's border is what attacks walk through
)
FAR_LOGIT = 0.01  # rounding of a logit far below the others is no other answer
UNBOUNDED = Threat(norm="linf", epsilon=1.0)


@dataclass(frozen=True)
class Check:
    """One sign of honest gradients: what was found and what was expected. raised: it speaks of gradient masking.

    view: what the attacks are shown next when it is raised (see `safeml.attacks.views`).
    """

    code: str
    sign: str
    found: str
    expected: str
    raised: bool
    value: float
    limit: float
    remedy: str
    view: str = "straight_through"


def self_checks(items: Items, campaign: Campaign, rng: np.random.Generator) -> list[Check]:
    """The eleven checks, and a twelfth where there is a surrogate. At least one image must be right when clean, and every attack of the campaign must have run."""
    clean, main = items.clean, campaign.main
    right = np.flatnonzero(clean.right)
    some = promises.probed(right, items.inputs.seed)
    single, iterative = (everywhere(campaign, name, main) for name in ("fgsm", "pgd"))
    checks = [
        _gradients_exist(single.zero_gradients[right]),
        _promise_kept(items, campaign, some),
        _repeats_itself(clean, items.again()),
        _no_silent_success(single, iterative, right),
        _claims_hold(single, iterative, right),
        _converged(items, campaign, iterative),
        _unbounded_breaks_all(items, campaign, some),
        _larger_epsilon(campaign),
        _iterative_beats_single(single, iterative),
        _noise_is_weaker(items, campaign, iterative.robust, rng),
        _gradients_beat_queries(campaign),
    ]
    return [*checks, _gradients_beat_a_copy(campaign)] if (TRANSFER, main) in campaign.hits else checks


def everywhere(campaign: Campaign, name: str, threat: Threat) -> Measured:
    """A cheap attack on the whole sample: as it was run, or run for this check alone; what it breaks counts as ever."""
    if (name, threat) not in campaign.measured:
        rows = np.arange(len(campaign.items.clean.labels))
        if threat in campaign.settings.threats:
            campaign.one(name, threat, rows)
        else:
            spends = ROWS[name].spends(campaign.settings)
            campaign.measured[name, threat] = campaign.items.attacked(name, threat, rows, spends)
    return campaign.measured[name, threat]


def _gradients_exist(zero: np.ndarray) -> Check:
    share = float(zero.mean())
    return Check(
        "masking_zero_gradient",
        "the gradient at the clean image is not zero",
        f"zero for {percent(share, ZERO_SHARE)} of {counted(len(zero), 'image')}",
        f"at most {limit_percent(ZERO_SHARE)}",
        share > ZERO_SHARE,
        share,
        ZERO_SHARE,
        "The loss is flat: attack the difference of logits, and pass gradients straight through rounding and signs.",
    )


def _promise_kept(items: Items, campaign: Campaign, rows: np.ndarray) -> Check:
    """Shattered gradients point anywhere: every attack that follows them is a random walk, and all of them agree."""
    step = PROMISE_STEP * campaign.main.epsilon
    share = promises.broken(items.promises(rows, campaign.main.norm, step))
    return Check(
        "masking_shattered",
        "a small step gains what the gradient promises",
        f"less than {limit_percent(promises.KEPT)} of it for {percent(share)} of {counted(len(rows), 'image')}",
        f"at most {limit_percent(promises.BREAKING)}",
        share > promises.BREAKING,
        share,
        promises.BREAKING,
        "The surface is rough: follow the gradient averaged over small noise in the pixels, and ask with many more queries.",
        view="smoothed",
    )


def _repeats_itself(clean: CleanSample, again: np.ndarray) -> Check:
    # Of each image by itself, and of the classes that compete: one far logit must not hide what the others do.
    best = np.sort(np.where(np.isfinite(clean.logits), clean.logits, 0.0), axis=1)[:, -2:]
    scale = np.maximum(np.abs(best).max(axis=1, keepdims=True), 1.0)
    close = np.abs(again - clean.logits) <= 1e-4 * np.maximum(scale, np.abs(clean.logits) * FAR_LOGIT)
    same = (close | (np.isnan(again) & np.isnan(clean.logits)) | (again == clean.logits)).all(axis=1)
    differ = float((~same).mean())
    return Check(
        "masking_random",
        "the same image gets the same answer twice",
        f"{percent(differ)} of the images differ",
        limit_percent(0.0),
        differ > 0,
        differ,
        0.0,
        "The model is random at inference: attack its expectation (average the gradient over draws).",
        view="expectation",
    )


def _no_silent_success(single: Measured, iterative: Measured, right: np.ndarray) -> Check:
    silent = [float((found.wrong & ~found.claimed)[right].mean()) for found in (single, iterative)]
    share = max(silent)
    return Check(
        "masking_silent",
        "what an attack calls a failure is one",
        f"{percent(share, TOLERANCE)} of its survivors are wrong when asked again",
        f"at most {limit_percent(TOLERANCE)}",
        share > TOLERANCE,
        share,
        TOLERANCE,
        "The attack does not see its own success: compare what it is shown with what is deployed.",
        view="expectation",
    )


def _claims_hold(single: Measured, iterative: Measured, right: np.ndarray) -> Check:
    """Transfer failure: what guides the attack is broken, and what is audited is not."""
    empty = [
        float((found.claimed & ~found.wrong & (found.faults == 0))[right].mean())
        for found in (single, iterative)
    ]
    share = max(empty)
    return Check(
        "masking_transfer",
        "what an attack calls a success is one",
        f"{percent(share, TOLERANCE)} are right when asked again",
        f"at most {limit_percent(TOLERANCE)}",
        share > TOLERANCE,
        share,
        TOLERANCE,
        "Attack and audit see different models, or a random one: average over draws; the images stay counted as broken.",
        view="expectation",
    )


def _converged(items: Items, campaign: Campaign, iterative: Measured) -> Check:
    """More steps change nothing. A loss that still rises is common on honest networks, and harmless unless it gets there."""
    main, (steps, attempts) = campaign.main, ROWS["pgd"].spends(campaign.settings)
    left = np.flatnonzero(campaign.left(main))
    moving = left if steps < LEAST_STEPS else left[iterative.unconverged[left] > MOVING]
    spends = (max(LONGER * steps, LEAST_STEPS), attempts)
    broken = 0
    if len(moving):
        longer = items.attacked("pgd", main, moving, spends, pictures=True)
        campaign.enter("pgd", main, moving, longer)
        broken = int((~longer.robust).sum())
    share = broken / len(items.clean.labels)
    return Check(
        "masking_converged",
        "more steps of PGD break nothing that is left",
        f"{spends[0]} steps broke {broken} of the {len(moving)} that had not converged, of {counted(len(left), 'image')} left",
        f"at most {FEW} images, or {limit_percent(TOLERANCE)} of the sample",
        broken > FEW and share > TOLERANCE,
        share,
        TOLERANCE,
        "Attack with more steps until more of them change nothing.",
        view="",
    )


def _unbounded_breaks_all(items: Items, campaign: Campaign, rows: np.ndarray) -> Check:
    # One attempt: given enough of them, a random walk through the whole cube breaks everything, too.
    steps, _ = ROWS["pgd"].spends(campaign.settings)
    unbounded = items.attacked("pgd", UNBOUNDED, rows, (2 * steps, 1))
    left = int(unbounded.robust.sum())
    return Check(
        "masking_unbounded",
        "an unbounded attack breaks every image",
        f"{left} of {counted(len(unbounded.robust), 'image')} resist epsilon = 1",
        "0",
        left > 0,
        float(left),
        0.0,
        "The attack does not find what must exist: no robust accuracy of this run can be believed.",
    )


def _larger_epsilon(campaign: Campaign) -> Check:
    """Of PGD alone: the ledger's own curve cannot rise."""
    clean, main = campaign.items.clean, campaign.main
    threats = set(campaign.settings.threats)
    if sum(threat.norm == main.norm for threat in threats) == 1:
        # One epsilon says nothing about a trend: a second one is measured for this check alone.
        wider = 2 * main.epsilon if main.norm == "l2" else min(2 * main.epsilon, 1.0)
        threats.add(Threat(norm=main.norm, epsilon=wider))
    rise = 0.0
    for norm in sorted({threat.norm for threat in threats}):
        rising = sorted((t for t in threats if t.norm == norm), key=lambda threat: threat.epsilon)
        left = [float(everywhere(campaign, "pgd", threat).robust.mean()) for threat in rising]
        rise = max([rise, *np.diff([float(clean.right.mean()), *left]).tolist()])
    return Check(
        "masking_epsilon",
        "a larger epsilon never helps the model",
        f"accuracy under PGD rises by {percent(rise)} at most, over {counted(len(threats), 'threat')}",
        f"at most {limit_percent(TOLERANCE)}",
        rise > TOLERANCE,
        rise,
        TOLERANCE,
        "Attack with more steps and restarts; look for rounding, clipping or randomness inside the model.",
    )


def _iterative_beats_single(single: Measured, iterative: Measured) -> Check:
    lead = float(iterative.robust.mean() - single.robust.mean())
    return Check(
        "masking_iterative",
        "many steps are at least as strong as one",
        f"{percent(iterative.robust.mean())} left by PGD, {percent(single.robust.mean())} by FGSM",
        f"at most {limit_percent(TOLERANCE)} more left by PGD",
        lead > TOLERANCE,
        lead,
        TOLERANCE,
        "The loss surface is rough: average gradients over transformations, or use a gradient-free attack.",
    )


def _noise_is_weaker(
    items: Items, campaign: Campaign, iterative: np.ndarray, rng: np.random.Generator
) -> Check:
    """Noise of full size: a random corner of the L-inf ball, a random direction of the L2 sphere."""
    clean, threat = items.clean, campaign.main
    noise = rng.standard_normal(clean.images.shape)
    if threat.norm == "linf":
        noise = threat.epsilon * np.sign(noise)
    else:
        noise = noise * (threat.epsilon / np.sqrt(np.square(noise).sum(axis=(1, 2, 3), keepdims=True)))
    noisy = project(clean.images, clean.images + noise, threat)
    answers = clean.right & items.right("noise", noisy)
    campaign.count("random noise", np.arange(len(answers)), noisy, clean.right & ~answers)
    lead = float(iterative.mean() - answers.mean())
    return Check(
        "masking_noise",
        "random noise is weaker than the gradient",
        f"{percent(answers.mean())} right under noise, {percent(iterative.mean())} under PGD",
        "no lower under noise",
        lead > 0,
        lead,
        0.0,
        "The gradient misleads the attack: use a gradient-free attack before believing the numbers.",
    )


def _gradients_beat_queries(campaign: Campaign) -> Check:
    """Square on what gradients left, at the main threat: as it was run, or on some of it for this check alone."""
    name, main = "square", campaign.main
    ran = [tally for tally in campaign.tallies if (tally.attack, tally.threat) == (name, main)]
    if ran:
        given, broken = ran[0].given, ran[0].broken
        total = len(campaign.items.clean.labels)
    else:
        rows = promises.probed(np.flatnonzero(campaign.left(main)), campaign.items.inputs.seed)
        found = campaign.one(name, main, rows)
        given, broken = len(rows), 0 if found is None else int((~found.robust).sum())
        total = max(given, 1)
    share = broken / total
    return Check(
        "masking_queries",
        "queries alone break nothing that gradients left",
        f"Square broke {broken} of {counted(given, 'image')} that were left",
        f"at most {FEW} images, or {limit_percent(BLACK_BOX_SHARE)} of the sample",
        broken > FEW and share > BLACK_BOX_SHARE,
        share,
        BLACK_BOX_SHARE,
        "The gradient hides what a random search finds: use more queries, and gradients of a smoother version of the model.",
    )


def _gradients_beat_a_copy(campaign: Campaign) -> Check:
    """Images made on the surrogate, beside all that the model's own gradient found within the main threat, these checks included."""
    main, hits = campaign.main, campaign.hits
    broken = hits[TRANSFER, main] & campaign.items.clean.right
    given = left = campaign.items.clean.right
    for (name, at), found in hits.items():
        if ROWS[name].knowledge == "white box" and at.norm == main.norm and at.epsilon <= main.epsilon:
            left = left & ~found
    news = int((broken & left).sum())
    share = news / len(given)
    return Check(
        "masking_surrogate",
        "images made on another model break nothing that the own gradient left",
        f"they broke {news} of {counted(int(left.sum()), 'image')} that were left",
        f"at most {FEW} images, or {limit_percent(BLACK_BOX_SHARE)} of the sample",
        news > FEW and share > BLACK_BOX_SHARE,
        share,
        BLACK_BOX_SHARE,
        "A copy of another model knows more of this model's weaknesses than its own gradient: attack with more steps, and look for "
        "what hides the gradient.",
        view="",
    )


def switch(campaign: Campaign, checks: list[Check]) -> list[str]:
    """Attack what is left once more as the raised checks advise; returns the views that were used.

    A view is an honest guess at where the gradient went: what it finds is asked of the model itself, as ever.
    """
    views = sorted({check.view for check in checks if check.raised})
    for view in views:
        for threat in campaign.settings.threats:
            if not campaign.settings.is_full(threat):
                continue
            for name in ("apgd_ce", "apgd_t"):
                rows = np.flatnonzero(campaign.left(threat))
                campaign.one(name, threat, rows, view, harder=1 if view else 4)
    if views and "square" not in campaign.settings.attacks:
        for threat in filter(campaign.settings.is_full, campaign.settings.threats):
            campaign.one("square", threat, np.flatnonzero(campaign.left(threat)))
    return views
